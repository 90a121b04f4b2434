"""What the README and the page on usage promise: every snippet of Python runs, every command line is accepted."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from istapp.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "book/how_to_use.md")}


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


SNIPPETS = [pytest.param(code, id=f"{page}-{n}") for page in PAGES for n, code in enumerate(blocks(page, "python"), 1)]
LINES = {line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()}
COMMANDS = sorted(line for line in LINES if line.startswith("istapp "))


def quick(code: str) -> str:
    """Swap slow parts for quick ones of the same kind: two photographs instead of all, few iterations."""
    code = code.replace('methods.get("fista")', 'methods.get("fista", iterations=3)')
    return code.replace('"photos"', 'datasets.load("photos", images=["chelsea", "camera"])')


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippet_runs(code: str) -> None:
    """Each Python block is complete: it runs as it stands and what it calls an estimate is an image."""
    names: dict = {}
    exec("from istapp.images import datasets\n" + quick(code), names)
    if "estimate" in names:
        assert names["estimate"].shape == names["image"].shape
        assert torch.isfinite(names["estimate"]).all()
    else:
        assert all(row["psnr"] > 3 for row in names["rows"]) and names["rows"]


def test_both_pages_show_the_same_baseline() -> None:
    """The five lines are written once and shown twice."""
    assert blocks("README.md", "python")[0] == blocks("book/how_to_use.md", "python")[0]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_is_accepted(line: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Each command line runs, with a small image, a quick method and one ratio in the place of the long ones."""
    image = tmp_path / "small.png"
    _corner(image)
    quicker = line.replace("IMAGE", str(image)).replace("FILE.png", str(tmp_path / "out.png"))
    quicker = quicker.replace("OTHER_FOLDER", str(tmp_path / "out")).replace("FOLDER", str(tmp_path))
    quicker = quicker.replace("--dataset photos", f"--dataset {tmp_path}").replace("10,30,50", "10")
    quicker = quicker.replace("fista", "linear")
    if line.startswith("istapp reproduce"):
        quicker = quicker.replace("reproduce", "reproduce --minutes 0")  # tells what it would do, and writes nothing
    if line.startswith("istapp train"):
        quicker = quicker.replace("--minutes 60 --device cuda", "--minutes 0")  # begins nothing, on any machine
    code = main(shlex.split(quicker, comments=True)[1:])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert printed.out.strip()
    made = tmp_path / ("out/small.png" if "FOLDER" in line else "out.png")
    assert made.exists() == ("--out" in line and not line.startswith("istapp train"))


def _corner(path: Path) -> None:
    from PIL import Image

    with Image.open(ROOT / "data" / "photos" / "camera.png") as photo:
        photo.crop((200, 60, 280, 130)).save(path)


def test_files_that_the_readme_names_exist() -> None:
    """Links within the repository and folders of the table lead somewhere."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", PAGES["README.md"])
    folders = re.findall(r"^\| `(\w+/)` \|", PAGES["README.md"], re.MULTILINE)
    missing = [name for name in links + folders if not (ROOT / name).exists()]
    assert links and folders and not missing


def test_the_picture_is_not_older_than_the_cover() -> None:
    """The README's picture was computed by the cover's present cells and with the present weights."""
    import picture

    assert picture.stored_key() == picture.key(), "make book && make picture"

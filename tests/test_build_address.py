"""`make address` writes one address everywhere, again and again, and takes no other kind of address."""

import re
import shutil
from pathlib import Path

import pytest
from books import ROOT, enter
from pipeline import BuildError
from pipeline.address import write_address

URL = "https://github.com/someone/a-book"
WHERE = ("_config.yml", "README.md", "CITATION.cff", "book/setup_cell.py")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files that the address stands in, and of the table of contents, which the build works on."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    (tmp_path / "book").mkdir()
    for name in (*WHERE, "_toc.yml", *(path.relative_to(ROOT) for path in (ROOT / "book").glob("*.md"))):
        shutil.copy(ROOT / name, tmp_path / name)
    enter(tmp_path, monkeypatch)
    return tmp_path


def texts(folder: Path) -> dict[str, str]:
    """Every file of the copy that the address belongs into."""
    paths = [folder / name for name in WHERE] + sorted((folder / "notebooks").glob("*.ipynb"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def test_address_is_written_everywhere_and_once(copy):
    assert URL in write_address(URL)
    first = texts(copy)
    for name, text in first.items():
        assert URL in text, name
    assert 'colab_url: "https://colab.research.google.com"' in first["_config.yml"]
    assert re.search(r"^  use_issues_button: true", first["_config.yml"], re.M)
    assert re.search(rf'^repository-code: "{URL}"$', first["CITATION.cff"], re.M)
    assert first["README.md"].startswith("# ") and first["README.md"].count("badge.svg") == 2
    opened = re.search(r"blob/main/(\S+?)\)", first["README.md"])[1]
    assert (copy / opened).exists()
    write_address(URL + ".git/")
    assert texts(copy) == first


def test_address_moves(copy):
    write_address(URL)
    once = texts(copy)
    other = "https://github.com/other/fork"
    write_address(other)
    assert texts(copy) == {
        name: text.replace(URL, other).replace("someone/a-book", "other/fork") for name, text in once.items()
    }


def test_other_addresses_are_refused(copy):
    before = texts(copy)
    for url in ("", "github.com/a/b", "https://github.com/someone", f"{URL}/tree/main", 'https://github.com/a/b"'):
        with pytest.raises(BuildError, match="https://github.com/OWNER/NAME"):
            write_address(url)
    assert texts(copy) == before

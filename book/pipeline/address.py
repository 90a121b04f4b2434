"""One address: write the repository's address wherever it belongs, as often as it changes.

`_config.yml` (buttons for the repository, for feedback and for Colab), the setup cell and its copy in every chapter,
CITATION.cff, and a line of badges below the README's title and its clone command.
"""

import json
import re
from pathlib import Path

from pipeline import ROOT, BuildError
from pipeline.notebooks import chapters, read

FORM = r"https://github\.com/[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+"
COLAB = "https://colab.research.google.com"
SETUP = ROOT / "book" / "setup_cell.py"


def substitute(path: Path, *rules: tuple[str, str]) -> None:
    """Replace what each pattern matches in a file.

    Raises:
        BuildError: the file has lost the place where the address belongs.
    """
    text = path.read_text(encoding="utf-8")
    for pattern, replacement in rules:
        text, count = re.subn(pattern, replacement, text, flags=re.M)
        if not count:
            raise BuildError(f"{path.relative_to(ROOT)}: no line for the address ({pattern})")
    path.write_text(text, encoding="utf-8")


def write_setup_cells() -> None:
    """Copy the setup cell into every chapter."""
    lines = SETUP.read_text(encoding="utf-8").rstrip("\n").splitlines(keepends=True)
    for notebook in chapters():
        page = read(notebook)
        for cell in page["cells"]:
            if "setup" in cell["metadata"].get("tags", []):
                cell["source"] = lines
        notebook.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def badges(url: str) -> str:
    """The README's line of badges."""
    name = url.removeprefix("https://github.com/")
    first = next(notebook for notebook in chapters() if notebook.name[:2].isdigit())
    opened = f"{COLAB}/github/{name}/blob/main/{first.relative_to(ROOT).as_posix()}"
    return (
        f"[![book]({url}/actions/workflows/book.yml/badge.svg)]({url}/actions/workflows/book.yml) "
        f"[![open the first chapter in Colab]({COLAB}/assets/colab-badge.svg)]({opened})"
    )


def write_address(url: str) -> str:
    """Write `url` everywhere; returns the line to print.

    Raises:
        BuildError: `url` is not the plain address of a GitHub repository.
    """
    url = url.removesuffix("/").removesuffix(".git")
    if not re.fullmatch(FORM, url):
        raise BuildError(f"{url!r} is no repository address; write URL=https://github.com/OWNER/NAME")
    substitute(
        ROOT / "_config.yml",
        (r'^(  url: )".*?"', rf'\1"{url}"'),
        (r'^(  colab_url: )".*?"', rf'\1"{COLAB}"'),
        (r"^(  use_repository_button: )\w+", r"\1true"),
        (r"^(  use_issues_button: )\w+", r"\1true"),
    )
    substitute(SETUP, (r'^(ADDRESS = )".*?"', rf'\1"{url}"'))
    write_setup_cells()
    substitute(ROOT / "CITATION.cff", (r"^(title: .*\n)(repository-code: .*\n)?", rf'\1repository-code: "{url}"\n'))
    substitute(
        ROOT / "README.md",
        (r"\A(# .*\n)(\n\[!\[book\].*\n)?", rf"\1\n{badges(url)}\n"),
        (r"(?<=^git clone )\S+", url),
    )
    return f"make address: {url} is written; commit the change"

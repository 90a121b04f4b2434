"""A book of two small chapters for the tests of the build: written, built by its own command line, and edited."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
Cells = list[tuple[str, str, dict]]
CHAPTER: Cells = [
    ("markdown", "# A trial\n\nOld words.\n\n**Minutes to run:** one\n\n$$x = \\Phi y \\tag{1.1}$$\n\nSo (1.1).", {}),
    ("code", 'profile = "laptop"', {"tags": ["parameters"]}),
    ("code", "import matplotlib.pyplot as plt\nfrom istapp.words import ANSWER", {}),
    ("code", "print(profile, ANSWER, open('../data/words.txt').read())", {}),
    ("code", "figure = plt.imshow([[0, 1]])", {
        "mystnb": {"figure": {"caption": "Two pixels.", "name": "fig-01"}, "image": {"alt": "a dark and a light one"}},
    }),
]  # fmt: skip
#: A chapter in a subfolder, with a picture beside it, that shows what most chapters do not: source text.
SOURCE: Cells = [
    ("markdown", "# Source\n\n![a single dot](dot.png)\n\n[a page](../aside.md)", {}),
    ("code", 'profile = "laptop"', {"tags": ["parameters"]}),
    ("code", "import inspect, sys\nfrom istapp import told, words", {}),
    ("code", "print(inspect.getsource(words), sys.executable)", {}),
    ("code", "print(told.summary())", {}),
]
COVER = "# Cover\n\n[The trial](../notebooks/01_trial.ipynb).\n"
TOC = """format: jb-book
root: book/trial_cover
chapters:
  - file: notebooks/01_trial
  - file: notebooks/more/02_source
  - file: notebooks/aside
"""
WORDS = '"""Words."""\n\nANSWER = 41.96  # nearly\n'
TOLD = """'''A docstring of two lines, which the
second of the chapters shows to its reader.'''


def summary():
    return " ".join(__doc__.split())
"""


def write_notebook(path: Path, cells: Cells) -> None:
    """Write a notebook of (kind, source, metadata)."""
    written = [
        {"cell_type": kind, "id": f"c{n}", "metadata": metadata, "source": source}
        | ({"outputs": [], "execution_count": None} if kind == "code" else {})
        for n, (kind, source, metadata) in enumerate(cells)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": written, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), encoding="utf-8")


def write_chapter(book: Path, cells: Cells) -> None:
    """Write the first chapter."""
    write_notebook(book / "notebooks" / "01_trial.ipynb", cells)


def write_book(book: Path, toc: str = TOC) -> Path:
    """Write the sources of a small book, with the project's own build and no claims, into the new folder `book`."""
    shutil.copytree(ROOT / "book", book / "book", ignore=shutil.ignore_patterns("__pycache__", "claims"))
    for name in ("_config.yml", "CITATION.cff", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, book)
    for folder in ("istapp", "notebooks/more", "data/photos"):
        (book / folder).mkdir(parents=True)
    (book / "istapp" / "words.py").write_text(WORDS)
    (book / "istapp" / "told.py").write_text(TOLD)
    (book / "constraints.txt").write_text("# no version: the small book is computed with what is there\n")
    (book / "pyproject.toml").write_text('[project]\nname = "istapp"\nversion = "7.8"\n')
    (book / "data" / "words.txt").write_text("forty-two")
    (book / "data" / "unread.txt").write_text("nobody reads this")
    (book / "book" / "trial_cover.md").write_text(COVER)
    (book / "_toc.yml").write_text(toc)
    write_chapter(book, CHAPTER)
    write_notebook(book / "notebooks" / "more" / "02_source.ipynb", SOURCE)
    shutil.copy(ROOT / "data" / "photos" / "ATTRIBUTION.csv", book / "data" / "photos")
    shutil.copy(ROOT / "data" / "photos" / "chelsea.png", book / "notebooks" / "more" / "dot.png")
    (book / "notebooks" / "aside.md").write_text("# Aside\n\nA page beside the chapters.\n")
    return book


def command(*arguments: str) -> list[str]:
    """The build's command line, to be run in a book's folder."""
    return [sys.executable, "book/build.py", *arguments]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without image sets."""
    return {name: value for name, value in os.environ.items() if name != "ISTAPP_DATA"} | more


def build(book: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
    """Run the build's command line of the book, with more variables in its environment."""
    return subprocess.run(command(*arguments), cwd=book, capture_output=True, text=True, env=environment(**more))


def enter(book: Path, patch: pytest.MonkeyPatch) -> None:
    """Let the build's functions in this process work on `book`, as its own command line does in another."""
    importlib.import_module("build")
    for name, module in list(sys.modules.items()):
        for word, value in vars(module).items() if name.partition(".")[0] in ("build", "pipeline") else ():
            if isinstance(value, Path) and value.is_relative_to(ROOT):
                patch.setattr(module, word, book / value.relative_to(ROOT))
    patch.delenv("ISTAPP_DATA", raising=False)


def faults(command: str = "publish") -> list[str]:
    """Run `publish` or `packed` of the book that was entered; returns what is wrong with it, a line each."""
    program = sys.modules["build"]
    try:
        getattr(program, command)()
    except program.BuildError as error:
        return str(error).splitlines()
    return []

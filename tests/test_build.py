"""The build on a book of one small chapter: what it shows, what makes a chapter stale, and what stops it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("build")  # one worker builds the book for all tests of this file

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = [
    ("markdown", "# A trial\n\nOld words.\n\n**Minutes to run:** about one\n\n$$x = \\Phi y \\tag{1.1}$$", {}),
    ("code", 'profile = "laptop"', {"tags": ["parameters"]}),
    ("code", "import matplotlib.pyplot as plt\nfrom istapp.book import glue\nfrom istapp.words import ANSWER", {}),
    ("code", "glue('answer', ANSWER)\nprint(profile, open('../data/words.txt').read())", {}),
    ("code", "figure = plt.imshow([[0, 1]])", {
        "mystnb": {"figure": {"caption": "Two pixels.", "name": "fig-01"}, "image": {"alt": "a dark and a light one"}},
    }),
]  # fmt: skip
COVER = "# Cover\n\n[The trial](../notebooks/01_trial.ipynb): {glue:text}`../notebooks/01_trial.ipynb::answer:.1f`.\n"
TOC = "format: jb-book\nroot: book/trial_cover\nchapters:\n  - file: notebooks/01_trial\n"


def write_chapter(book: Path, cells: list[tuple[str, str, dict]]) -> None:
    """Write the chapter's notebook."""
    written = [
        {"cell_type": kind, "id": f"c{n}", "metadata": metadata, "source": source}
        | ({"outputs": [], "execution_count": None} if kind == "code" else {})
        for n, (kind, source, metadata) in enumerate(cells)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": written, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (book / "notebooks" / "01_trial.ipynb").write_text(json.dumps(notebook), encoding="utf-8")


def build(book: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the build's command line of the copy."""
    command = [sys.executable, "book/build.py", *arguments]
    clean = {name: value for name, value in os.environ.items() if name != "ISTAPP_DATA"}
    return subprocess.run(command, cwd=book, capture_output=True, text=True, env=clean)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The small book after its first build."""
    book = tmp_path_factory.mktemp("build") / "trial"
    shutil.copytree(ROOT / "book", book / "book", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_config.yml", "CITATION.cff", "README.md"):
        shutil.copy(ROOT / name, book)
    for folder in ("istapp", "notebooks", "data"):
        (book / folder).mkdir()
    shutil.copy(ROOT / "istapp" / "book.py", book / "istapp")
    (book / "istapp" / "words.py").write_text("ANSWER = 41.96\n")
    (book / "data" / "words.txt").write_text("forty-two")
    (book / "data" / "unread.txt").write_text("nobody reads this")
    (book / "book" / "trial_cover.md").write_text(COVER)
    (book / "_toc.yml").write_text(TOC)
    write_chapter(book, CHAPTER)
    done = build(book, "book")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("make book: done in")
    return book


@pytest.fixture
def book(built: Path, tmp_path: Path) -> Path:
    """A copy of the built book to be edited."""
    return Path(shutil.copytree(built, tmp_path / "trial"))


def test_page_shows_outputs_minutes_and_local_mathematics(built):
    page = (built / "build" / "html" / "notebooks" / "01_trial.html").read_text(encoding="utf-8")
    assert "laptop forty-two" in page
    assert "<strong>Minutes to run:</strong> 0." in page and "measured on one core (profile laptop)" in page
    assert 'alt="a dark and a light one"' in page
    assert "_static/mathjax/tex-svg-full.js" in page and '"sens"' in page  # a macro of the notation table
    assert "papermill" not in page and "injected" not in page and "colab" not in page.lower()
    assert "42.0" in (built / "build" / "html" / "book" / "trial_cover.html").read_text(encoding="utf-8")


def test_key_holds_what_was_read_and_no_more(built):
    record = json.loads((built / "build" / "executed" / "01_trial.json").read_text())
    key = record["key"]
    assert record["processor_seconds"] > 0
    assert list(key["data"]) == ["data/words.txt"]
    assert list(key["modules"]) == ["istapp/book.py", "istapp/words.py"]
    assert key["parameters"] == {"profile": "laptop"} and len(key["cells"]) == 4


def test_nothing_changed_nothing_done(book):
    before = (book / "build" / "html" / "index.html").stat().st_mtime_ns
    done = build(book, "book")
    assert "1 of 1 chapters are up to date" in done.stdout and "the pages are up to date" in done.stdout
    assert (book / "build" / "html" / "index.html").stat().st_mtime_ns == before
    assert build(book, "publish").returncode == 0 and (book / "build" / "html" / ".nojekyll").exists()


def test_edited_markdown_is_shown_without_execution(book):
    write_chapter(book, [("markdown", CHAPTER[0][1].replace("Old", "New"), {}), *CHAPTER[1:]])
    assert build(book, "publish").returncode == 0
    page = (book / "build" / "html" / "notebooks" / "01_trial.html").read_text(encoding="utf-8")
    assert "New words" in page and "laptop forty-two" in page


@pytest.mark.parametrize(
    "what", ["code cell 2", "module istapp/words.py", "module istapp/new.py", "data file data/words.txt"]
)
def test_publish_refuses_a_stale_key_by_name(book, what):
    if what == "code cell 2":
        kind, source, metadata = CHAPTER[2]
        write_chapter(book, [*CHAPTER[:2], (kind, f"{source}  # edited", metadata), *CHAPTER[3:]])
    else:
        (book / what.split()[-1]).write_text("ANSWER = 43\n")
    done = build(book, "publish")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[0] == f"01_trial.ipynb is stale: {what} changed"
    assert not (book / "build" / "html" / ".nojekyll").exists()


def test_unread_data_does_not_make_a_chapter_stale(book):
    (book / "data" / "unread.txt").write_text("still nobody")
    assert build(book, "publish").returncode == 0


def test_address_brings_colab_buttons_that_lead_to_the_source(book):
    assert build(book, "address", "https://github.com/someone/a-book").returncode == 0
    assert build(book, "publish").returncode == 0
    page = (book / "build" / "html" / "notebooks" / "01_trial.html").read_text(encoding="utf-8")
    (button,) = set(re.findall(r'href="(https://colab[^"]*)"', page))
    assert button == "https://colab.research.google.com/github/someone/a-book/blob/main/notebooks/01_trial.ipynb"


def test_failing_cell_is_named_and_the_good_result_stays(book):
    write_chapter(book, [*CHAPTER, ("code", "assert 1 > 2, 'not so'", {})])
    done = build(book, "book")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "01_trial.ipynb" in done.stderr and "AssertionError: not so" in done.stderr
    page = (book / "build" / "html" / "notebooks" / "01_trial.html").read_text(encoding="utf-8")
    assert "laptop forty-two" in page
    assert "never executed" not in build(book, "publish").stderr


def test_undeclared_parameter_is_an_error(book):
    write_chapter(book, [CHAPTER[0], ("code", 'profil = profile = "laptop"', {}), *CHAPTER[2:]])
    done = build(book, "book")
    assert done.returncode == 1 and "01_trial.ipynb declares no parameter profile" in done.stderr


def test_a_warning_of_sphinx_stops_the_build_and_is_shown(book):
    (book / "book" / "trial_cover.md").write_text(COVER + "\n[nowhere](nowhere.md)\n")
    done = build(book, "book")
    assert done.returncode == 1 and "nowhere.md" in done.stderr
    assert "trial_cover" in (book / "build" / "html" / "index.html").read_text()


def test_weights_read_by_native_code_belong_to_the_key(tmp_path):
    from safetensors.torch import save_file
    from torch import ones

    weights, record = tmp_path / "data" / "w.safetensors", tmp_path / "reads"
    weights.parent.mkdir()
    save_file({"a": ones(1)}, weights, {"istapp": "{}"})
    environment = {
        "ISTAPP_READS": str(record),
        "ISTAPP_READS_UNDER": str(tmp_path),
        "PYTHONPATH": f"{ROOT}/book/kernel",
    }
    code = f"from istapp import weights; weights.load({str(weights)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | environment, cwd=ROOT)
    assert str(weights) in record.read_text().splitlines()

"""`make publish` hands over what the build computed and wrote, and nothing that anybody changed afterwards."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from books import CHAPTER, build, faults, write_chapter
from pipeline import BuildError, execute, keys, notebooks, pages

pytestmark = pytest.mark.xdist_group("build")

PAGE = "build/html/notebooks/01_trial.html"
EXECUTED = "build/executed/01_trial"
EDITED = "01_trial.ipynb is stale: its executed copy in build/executed was changed afterwards"


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    """An edit of one file of a book."""

    def edit(book: Path) -> None:
        text = (book / name).read_text(encoding="utf-8")
        assert old in text
        (book / name).write_text(text.replace(old, new), encoding="utf-8")

    return edit


def other_versions(book: Path) -> None:
    """Pin another numpy than the chapters were computed with."""
    (book / "constraints.txt").write_text("numpy==1.0\n# a remark\nunheard-of==3\n")


WRONG = {
    "an edited page": (replaced(PAGE, "forty-two", "forty-three"), f"{PAGE} was changed after the build"),
    "a deleted page": (lambda book: (book / PAGE).unlink(), f"{PAGE} was deleted after the build"),
    "an added file": (
        lambda book: (book / "build" / "html" / "more.js").write_text("1"),
        "build/html/more.js was added after the build",
    ),
    "a linked folder": (
        lambda book: (book / "build" / "html" / "more").symlink_to(book / "data"),
        "build/html/more was added after the build",
    ),
    "a remote script": (
        replaced(PAGE, "</head>", '<script src="https://x.example/a.js"></script></head>'),
        f"{PAGE} was changed after the build",
    ),
    "an edited output": (replaced(f"{EXECUTED}.ipynb", "forty-two", "forty-three"), EDITED),
    "edited minutes": (replaced(f"{EXECUTED}.json", '"processor_seconds": ', '"processor_seconds": 9'), EDITED),
    "an edited record": (replaced(f"{EXECUTED}.json", "laptop", "smoke"), EDITED),
    "a broken record": (lambda book: (book / f"{EXECUTED}.json").write_text("[]"), EDITED),
    "no record": (lambda book: (book / f"{EXECUTED}.json").unlink(), "01_trial.ipynb is stale: never executed"),
    "other versions": (
        other_versions,
        f"01_trial.ipynb is stale: computed with numpy {keys.version('numpy')}, constraints.txt has 1.0",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_pages_are_refused_by_name(book, what):
    edit, reason = WRONG[what]
    edit(book)
    assert faults()[0] == reason
    assert not (book / "build" / "html" / ".nojekyll").exists()


def test_the_command_says_so_and_fails(book):
    (book / PAGE).unlink()
    done = build(book, "publish")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[0] == f"{PAGE} was deleted after the build"
    assert done.stderr.splitlines()[-1] == "make publish: FAILED"


def test_book_mends_an_edited_page_and_publish_takes_it_then(book, monkeypatch):
    good = shutil.copytree(book / "build" / "html", book / "again")  # what Sphinx would write once more
    replaced(PAGE, "forty-two", "forty-three")(book)
    monkeypatch.setattr(pages, "sphinx", lambda: good)
    pages.write(strict=False)
    assert "forty-two" in (book / PAGE).read_text(encoding="utf-8")
    assert faults() == []


def test_a_fault_of_the_pages_is_refused_even_if_the_build_noted_it(book):
    replaced(PAGE, "</head>", '<script src="https://x.example/a.js"></script></head>')(book)
    noted = json.loads((book / "build" / "html.json").read_text())
    noted["files"]["notebooks/01_trial.html"] = hashlib.sha256((book / PAGE).read_bytes()).hexdigest()
    (book / "build" / "html.json").write_text(json.dumps(noted))
    assert faults() == ["notebooks/01_trial.html: loads from another host: https://x.example/a.js"]


def executed(book: Path, profile: str) -> Path:
    """Execute the book's first chapter in this process."""
    chapter = book / "notebooks" / "01_trial.ipynb"
    with mock.patch.dict(os.environ):
        execute.execute(chapter, {"profile": profile})
    return chapter


def test_chapters_of_another_profile_are_shown_to_their_reader_and_not_published(book):
    shown = json.dumps(pages.merged(executed(book, "smoke")))
    assert "smoke 41.96 forty-two" in shown and "(profile smoke)" in shown
    assert faults()[0] == "01_trial.ipynb is stale: parameter profile changed from smoke to laptop"


def test_a_picture_without_alt_text_is_a_warning_to_its_author_and_not_published(book, capfd):
    write_chapter(book, [*CHAPTER[1:4], ("code", "plt.plot([1, 2])\nplt.show()", {})])  # without a title, too
    executed(book, "laptop")
    pages.write(strict=False)
    asked = "01_trial.ipynb, code cell 4 (`plt.plot([1, 2])`): a picture without alt text; write into this cell's meta"
    assert f"warning: {asked}" in capfd.readouterr().err
    page = (book / PAGE).read_text(encoding="utf-8")
    assert "<title>01 trial" in page
    alt = re.search(r'<img[^>]*alt="([^"]*nobody[^"]*)"', page)
    assert alt[1] == "The picture of code cell 4, which nobody has described yet"
    pages.write(strict=False)
    said = capfd.readouterr()
    assert "up to date" in said.out and said.err.startswith(f"warning: {asked}")  # as long as it is so
    (fault,) = faults()
    assert fault.startswith(asked)


def test_two_builds_at_once_do_not_meet(book):
    from build import alone

    with alone(), pytest.raises(BuildError, match="another build is at work here"), alone():
        raise AssertionError("both are at work")
    with alone():
        assert notebooks.chapters()

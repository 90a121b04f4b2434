"""`make publish` hands over what the build computed and wrote, and nothing that anybody changed afterwards."""

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from books import CHAPTER, build, write_chapter
from pipeline import keys

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
    done = build(book, "publish")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[0] == reason
    assert not (book / "build" / "html" / ".nojekyll").exists()


def test_book_mends_an_edited_page_and_publish_takes_it_then(book):
    replaced(PAGE, "forty-two", "forty-three")(book)
    assert "writing the pages" in build(book, "book").stdout
    assert "forty-two" in (book / PAGE).read_text(encoding="utf-8")
    assert build(book, "publish").returncode == 0


def test_publish_writes_pages_that_are_not_there(book):
    shutil.rmtree(book / "build" / "html")
    assert build(book, "publish").returncode == 0
    assert "forty-two" in (book / PAGE).read_text(encoding="utf-8")


def test_a_fault_of_the_pages_is_refused_even_if_the_build_noted_it(book):
    replaced(PAGE, "</head>", '<script src="https://x.example/a.js"></script></head>')(book)
    noted = json.loads((book / "build" / "html.json").read_text())
    noted["files"]["notebooks/01_trial.html"] = hashlib.sha256((book / PAGE).read_bytes()).hexdigest()
    (book / "build" / "html.json").write_text(json.dumps(noted))
    done = build(book, "publish")
    assert done.returncode == 1
    assert "notebooks/01_trial.html: loads from another host: https://x.example/a.js" in done.stderr


def test_chapters_of_another_profile_are_shown_to_their_reader_and_not_published(book):
    assert build(book, "book", "--profile", "smoke").returncode == 0
    assert "profile smoke" in (book / PAGE).read_text(encoding="utf-8")
    assert "01_trial.ipynb is stale: parameter profile changed from smoke to laptop" in build(book, "publish").stderr


def test_a_picture_without_alt_text_is_a_warning_to_its_author_and_not_published(book):
    write_chapter(book, [*CHAPTER[1:4], ("code", "plt.plot([1, 2])\nplt.show()", {})])  # without a title, too
    done = build(book, "book")
    assert done.returncode == 0, done.stderr
    asked = 'code cell 4 (`plt.plot([1, 2])`): a picture without alt text; write into this cell\'s metadata: {"mystnb":'
    assert f"warning: 01_trial.ipynb, {asked}" in done.stderr and len(done.stderr.splitlines()) == 1
    page = (book / PAGE).read_text(encoding="utf-8")
    assert "<title>01 trial" in page
    alt = re.search(r'<img[^>]*alt="([^"]*nobody[^"]*)"', page)
    assert alt[1] == "The picture of code cell 4, which nobody has described yet"
    assert "warning:" in build(book, "book").stderr  # as long as it is so
    done = build(book, "publish")
    assert done.returncode == 1 and f"01_trial.ipynb, {asked}" in done.stderr


def test_two_builds_at_once_do_not_meet(book):
    with (book / "build" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = build(book, "publish")
        assert done.returncode == 1 and "another build is at work here" in done.stderr
    assert build(book, "publish").returncode == 0

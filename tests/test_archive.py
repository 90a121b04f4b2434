"""The archive of the small book: whole, the same bytes again, and able to be unpacked, checked and read anywhere."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from books import ROOT, build, enter, faults
from browser import Browser, needs_chromium
from looks import complaints
from pipeline import archive, pdf

pytestmark = pytest.mark.xdist_group("build")


@pytest.fixture(scope="module")
def packed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small book, packed; a reader's unfinished run lies in it."""
    book = Path(shutil.copytree(built, tmp_path_factory.mktemp("archive") / "trial"))
    (book / "runs").mkdir()
    (book / "runs" / "state.pt").write_text("unfinished")
    (book / "data" / "run.sh").write_text("#!/bin/sh\n")
    (book / "data" / "run.sh").chmod(0o755)
    done = build(book, "archive")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"make archive: {book / 'build' / 'istapp-7.8.zip'} (")
    return book / "build" / "istapp-7.8.zip"


@pytest.fixture
def unpacked(packed: Path, tmp_path: Path) -> Path:
    """The archive on a stick: its one folder."""
    subprocess.run(["unzip", "-q", packed, "-d", tmp_path / "stick"], check=True)
    (folder,) = (tmp_path / "stick").iterdir()
    return folder


def checked(folder: Path) -> subprocess.CompletedProcess:
    """Check the hashes as START_HERE.html says."""
    command = ["sha256sum", "-c", "--quiet", archive.SUMS]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_everything_is_in_it_and_nothing_else(unpacked: Path) -> None:
    """Pages and sources, not what a reader has lying about, nor what the build made on its way."""
    names = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    expected = {"START_HERE.html", "SHA256SUMS", "book/index.html", "book/notebooks/01_trial.html", "source/README.md"}
    expected |= {"source/notebooks/01_trial.ipynb", "source/data/words.txt", "source/istapp/words.py"}
    assert expected <= names
    assert not [name for name in names if re.search(r"runs|/build/|^source/.*/\.|pycache", name)]
    assert (unpacked / "source" / "data" / "run.sh").stat().st_mode & 0o100


def test_every_file_is_held_by_its_hash(unpacked: Path) -> None:
    """All are as they were packed; one letter less is seen, and so is a file that is gone."""
    listed = (unpacked / archive.SUMS).read_text().splitlines()
    names = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert {line[66:] for line in listed} == names - {archive.SUMS}
    assert checked(unpacked).returncode == 0 and not checked(unpacked).stdout
    page = unpacked / "book" / "notebooks" / "01_trial.html"
    page.write_bytes(page.read_bytes()[:-1])
    assert "book/notebooks/01_trial.html: FAILED" in checked(unpacked).stdout
    (unpacked / "source" / "README.md").unlink()
    assert checked(unpacked).returncode == 1 and "source/README.md" in checked(unpacked).stdout


def test_links_of_the_first_page_lead_somewhere(unpacked: Path) -> None:
    """Every one, in the folder as it was unpacked."""
    page = (unpacked / archive.START).read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', page)
    assert "book/index.html" in links and "Version 7.8" in page
    assert [link for link in links if not (unpacked / link).exists()] == []


def test_the_same_files_make_the_same_bytes(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At another hour, and over an older archive."""
    enter(packed.parents[1], monkeypatch)
    before = packed.read_bytes()
    assert faults("packed") == []
    assert packed.read_bytes() == before
    assert not list(packed.parent.glob("*.part"))


def test_stale_pages_are_not_archived(book: Path) -> None:
    """The archive is that of pages which could be published."""
    (book / "data" / "words.txt").write_text("forty-three")
    assert faults("packed")[0] == "01_trial.ipynb is stale: data file data/words.txt changed"
    assert not (book / "build" / "istapp-7.8.zip").exists()


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["a/what?.html"], "refuses such a name"),
        (["a/con.txt"], "refuses such a name"),
        (["a/end."], "refuses such a name"),
        (["a" * 200], "too long a path"),
        (["a/Page.html", "a/page.html"], "where capitals do not count"),
    ],
)
def test_names_that_a_stick_refuses_are_told(names: list[str], fault: str) -> None:
    """Before anything is packed."""
    (found,) = archive.name_faults(names)
    assert fault in found


def test_names_of_this_project_are_taken_everywhere() -> None:
    """Whatever lies in the checkout that git keeps."""
    names = [f"istapp-0.1.0/source/{path.relative_to(ROOT).as_posix()}" for path in archive.sources()]
    assert len(names) > 300 and archive.name_faults(names) == []


@needs_chromium
def test_the_book_opens_from_the_stick(unpacked: Path, tmp_path: Path) -> None:
    """By two clicks, without a network and without a complaint."""
    with Browser(tmp_path / "profile") as tab:
        tab.open(unpacked / archive.START)
        assert tab.requests() == [(unpacked / archive.START).as_uri()] and complaints(tab) == []
        index = unpacked / tab.value("document.querySelector('a.read').getAttribute('href')")
        first = re.search(r'http-equiv="Refresh" content="0; url=(.+?)"', index.read_text())[1]
        tab.open(index.parent / first)
        assert tab.value("document.querySelector('article h1').textContent").startswith("Cover")
        assert all(url.startswith("file:") for url in tab.requests()) and complaints(tab) == []


# ---- the PDF ----


@pytest.fixture
def whole(book: Path) -> Path:
    """The small book's pages as one document."""
    page = book / "build" / "html" / "notebooks" / "01_trial.html"
    folded = (
        '<details class="hide"><summary>Show the code</summary>x</details><details><summary>Hint</summary>y</details>'
    )
    page.write_text(page.read_text(encoding="utf-8").replace("</article>", f"{folded}</article>"), encoding="utf-8")
    file = book / "build" / "book.html"
    file.write_text(pdf.whole(pdf.contents()), encoding="utf-8")
    return file


def test_links_between_pages_lead_into_the_document(whole: Path) -> None:
    """To a page, to an equation; a picture is found where it lies; no id stands there twice."""
    text = whole.read_text(encoding="utf-8")
    ids = re.findall(r' id="([^"]+)"', text)
    links = re.findall(r'<a [^>]*href="#([^"]+)"', text)
    assert len(ids) == len(set(ids)) and {"p0", "p1", "p1-equation-1-1"} <= set(ids)
    assert set(links) <= set(ids) and {"p1", "p1-equation-1-1"} <= set(links)
    pictures = re.findall(r'<img[^>]* src="([^"]+)"', text)
    assert pictures and all((whole.parent / picture).exists() for picture in pictures)


@needs_chromium
def test_mathematics_of_the_document_is_typeset(whole: Path, tmp_path: Path) -> None:
    """From disk, and folded things stand open."""
    with Browser(tmp_path / "profile") as tab:
        tab.open(whole)
        tab.wait("document.documentElement.dataset.equations", 30)
        assert tab.value("document.querySelectorAll('mjx-container').length") > 0
        assert tab.value("document.querySelectorAll('details:not([open])').length") == 0
        heads = "[...document.querySelectorAll('summary')].map((each) => [each.textContent, each.checkVisibility()])"
        assert tab.value(heads) == [["Show the code", False], ["Hint", True]]
        assert all(url.startswith("file:") for url in tab.requests()) and complaints(tab) == []


@needs_chromium
def test_the_book_is_printed(packed: Path) -> None:
    """A PDF with a page or more for each page of the book and the contents before them."""
    book = packed.parents[1]
    done = build(book, "pdf")
    assert done.returncode == 0, done.stderr
    printed = (book / "build" / "istapp-7.8.pdf").read_bytes()
    assert printed.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", printed)) >= 5
    titles = re.findall(rb"/Title \(([^)]*)\)", printed)
    assert b"Cover" in titles and b"Aside" in titles, titles


def test_without_chromium_it_is_skipped_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, not as a failure: a reader without it has done nothing wrong."""
    from build import printed

    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert printed().startswith("make pdf: skipped: no chromium here")

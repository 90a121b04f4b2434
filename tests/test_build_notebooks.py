"""A file that is no notebook costs one line that names the chapter; what is not in the book costs nothing."""

import json
from pathlib import Path

import pytest
from books import CHAPTER, TOC, build, enter, faults, write_book, write_chapter
from pipeline import BuildError, notebooks

pytestmark = pytest.mark.xdist_group("build")


@pytest.fixture
def chapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound chapter, seen by the build's own functions."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(notebooks, "TOC", tmp_path / "_toc.yml")
    write_chapter(tmp_path, CHAPTER)
    return tmp_path / "notebooks" / "01_trial.ipynb"


def changed(sound: str, **fields: object) -> bytes:
    """The notebook with other fields at the top."""
    return json.dumps(json.loads(sound) | fields).encode()


BROKEN = {
    "no kernel": (lambda text: changed(text, metadata={}), " has no kernel (metadata.kernelspec); open it with"),
    "another language": (
        lambda text: changed(text, metadata={"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}),
        " has a kernel of another language",
    ),
    "merge markers": (
        lambda text: f"{{\n<<<<<<< HEAD\n{text[1:]}\n=======\n>>>>>>> theirs\n".encode(),
        ", line 2: a merge marker (<<<<<<< HEAD)",
    ),
    "byte order mark": (lambda text: b"\xef\xbb\xbf" + text.encode(), " begins with a byte order mark"),
    "cut off": (lambda text: text[:300].encode(), ", line 1: no JSON, so no notebook"),
    "empty": (lambda text: b"", ", line 1: no JSON, so no notebook"),
    "latin-1": (lambda text: "é".encode("latin-1"), " is not UTF-8"),
    "a list": (lambda text: b"[]", " is no notebook of format 4"),
    "nothing": (lambda text: b"null", " is no notebook of format 4"),
    "a cell without source": (
        lambda text: changed(text, cells=[{"cell_type": "code", "id": "a", "metadata": {}}]),
        " is no notebook of format 4: 'source' is a required property",
    ),
}


def test_each_folded_cell_says_what_waits_in_it():
    own = {"mystnb": {"code_prompt_show": "Look", "figure": {"name": "fig-a"}}}
    kinds = [("x = 1", ["hide-input"], {}), ("# Solution 1.3: no", ["hide-cell"], {}), ("assert x", ["hide-cell"], {})]
    kinds += [("x = 1", ["hide-input"], own), ("x = 1", [], {})]
    cells = [{"cell_type": "code", "source": text, "metadata": more | {"tags": tags}} for text, tags, more in kinds]
    notebooks.label_folded({"cells": cells})
    shown = [cell["metadata"].get("mystnb", {}).get("code_prompt_show") for cell in cells]
    assert shown == ["Show the code", "Show solution 1.3", "Show this check", "Look", None]
    assert cells[1]["metadata"]["mystnb"]["code_prompt_hide"] == "Hide solution 1.3"
    assert cells[3]["metadata"]["mystnb"]["figure"] == {"name": "fig-a"}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_notebook_is_named_in_one_line(chapter, what):
    broken, said = BROKEN[what]
    text = chapter.read_text(encoding="utf-8")
    assert notebooks.read(chapter)
    chapter.write_bytes(broken(text))
    with pytest.raises(BuildError, match="^01_trial.ipynb") as refused:
        notebooks.read(chapter)
    line = str(refused.value)
    assert said in line and len(line.splitlines()) == 1


def test_chapters_are_those_of_the_table_of_contents_in_its_order(chapter):
    for name in ("Untitled", "a", "b"):
        (chapter.parent / f"{name}.ipynb").write_text("")
    (chapter.parent / "page.md").write_text("# Page\n")
    listed = ("b", "01_trial.ipynb", "page", "a")
    notebooks.TOC.write_text("format: jb-article\nroot: notebooks/page\nsections:\n" + "".join(
        f"  - file: notebooks/{name}\n" for name in listed if name != "page"
    ))  # fmt: skip
    assert [path.name for path in notebooks.chapters()] == ["b.ipynb", "01_trial.ipynb", "a.ipynb"]


@pytest.mark.parametrize(
    ("toc", "said"),
    [
        (TOC + "  - file: notebooks/nowhere\n", "names the page notebooks/nowhere, which does not exist"),
        ("format: jb-book\n", "_toc.yml: "),
        ("a: [", "_toc.yml: "),
        ("", "_toc.yml: "),
    ],
)
def test_a_wrong_table_of_contents_is_named(chapter, toc, said):
    notebooks.TOC.write_text(toc)
    for name in ("notebooks/more/02_source.ipynb", "notebooks/aside.md", "book/trial_cover.md"):
        (notebooks.ROOT / name).parent.mkdir(exist_ok=True)
        (notebooks.ROOT / name).touch()
    with pytest.raises(BuildError) as refused:
        notebooks.chapters()
    assert said in str(refused.value) and len(str(refused.value).splitlines()) == 1


def test_the_build_names_each_broken_chapter_and_executes_none(tmp_path, monkeypatch):
    book = write_book(tmp_path / "book")
    (book / "notebooks" / "01_trial.ipynb").write_text("<<<<<<< HEAD\n")
    (book / "notebooks" / "more" / "02_source.ipynb").write_text("")
    done = build(book, "book")
    first, second, last = done.stderr.splitlines()
    assert first.startswith("01_trial.ipynb, line 1: a merge marker")
    assert second.startswith("more/02_source.ipynb, line 1: no JSON")
    assert done.returncode == 1 and last == "make book: FAILED"
    enter(book, monkeypatch)
    assert faults() == [first, second]


def test_the_line_on_what_a_figure_was_made_of_goes_under_its_caption() -> None:
    picture = {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {}}
    origin = {"output_type": "display_data", "data": {"text/html": "<p>rows</p>"}, "metadata": {"istapp": "origin"}}
    figure = {"cell_type": "code", "metadata": {"mystnb": {"figure": {"caption": "A."}}}, "outputs": [picture, origin]}
    table = {"cell_type": "code", "metadata": {}, "outputs": [origin]}
    notebooks.caption_origins({"cells": [figure, table]})
    assert figure["outputs"] == [picture] and table["outputs"] == [origin]
    assert figure["metadata"]["mystnb"]["figure"]["caption"] == "A.\n\n<p>rows</p>"

"""The build on a book of two small chapters: what it shows, what makes a chapter stale, and what stops it."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from books import CHAPTER, COVER, ROOT, TOLD, WORDS, build, faults, write_chapter
from pipeline import BuildError, execute, keys, notebooks
from pipeline.address import write_address

pytestmark = pytest.mark.xdist_group("build")  # one worker builds the book for all tests of this file


def test_page_shows_outputs_minutes_and_local_mathematics(built):
    page = (built / "build" / "html" / "notebooks" / "01_trial.html").read_text(encoding="utf-8")
    assert "laptop 41.96 forty-two" in page
    assert "<strong>Minutes to run:</strong> 0." in page and "measured on one core (profile laptop)" in page
    assert 'alt="a dark and a light one"' in page
    assert "_static/mathjax/tex-svg-full.js" in page and '"sens"' in page  # a macro of the notation table
    assert 'id="equation-1-1"' in page and 'href="#equation-1-1"' in page
    assert '<span class="section-number">1. </span>A trial' in page and ">Fig. 1.1 <" in page
    assert "papermill" not in page and "injected" not in page and "colab" not in page.lower()
    assert "issues/new" not in page, "without an address nobody could be told"


def test_key_holds_what_was_read_and_no_more(built):
    record = json.loads((built / "build" / "executed" / "01_trial.json").read_text())
    key = record["key"]
    assert record["processor_seconds"] > 0
    assert list(key["data"]) == ["data/words.txt"]
    assert {"python", "matplotlib", "numpy"} <= key["libraries"].keys() and "istapp" not in key["libraries"]
    assert list(key["modules"]) == ["istapp/told.py", "istapp/words.py"]
    assert key["parameters"] == {"profile": "laptop"} and len(key["cells"]) == 4


def test_what_lies_beside_the_chapters_is_part_of_the_book(built):
    html = built / "build" / "html" / "notebooks"
    assert "A page beside the chapters" in (html / "aside.html").read_text(encoding="utf-8")
    page = (html / "more" / "02_source.html").read_text(encoding="utf-8")
    assert 'alt="a single dot"' in page and sys.executable in page  # by this very Python, not by a foreign kernel
    assert not (html / "Untitled.html").exists()


def test_nothing_changed_nothing_done(book):
    before = (book / "build" / "html" / "index.html").stat().st_mtime_ns
    done = build(book, "book")
    assert "2 of 2 chapters are up to date" in done.stdout and "the pages are up to date" in done.stdout
    assert (book / "build" / "html" / "index.html").stat().st_mtime_ns == before
    assert build(book, "publish").returncode == 0 and (book / "build" / "html" / ".nojekyll").exists()


def test_publish_writes_pages_anew_with_the_new_text_the_old_outputs_and_buttons_that_lead_to_the_source(book):
    write_chapter(book, [("markdown", CHAPTER[0][1].replace("Old", "New"), {}), *CHAPTER[1:]])
    write_address("https://github.com/someone/a-book")
    shutil.rmtree(book / "build" / "html")
    assert faults() == []
    page = (book / "build" / "html" / "notebooks" / "01_trial.html").read_text(encoding="utf-8")
    assert "New words" in page and "laptop 41.96 forty-two" in page
    assert 'href="https://github.com/someone/a-book/issues/new?title=' in page
    (button,) = set(re.findall(r'href="(https://colab[^"]*)"', page))
    assert button == "https://colab.research.google.com/github/someone/a-book/blob/main/notebooks/01_trial.ipynb"


@pytest.mark.parametrize(
    "what", ["code cell 2", "module istapp/words.py", "module istapp/new.py", "data file data/words.txt"]
)
def test_publish_refuses_a_stale_key_by_name(book, what):
    if what == "code cell 2":
        kind, source, metadata = CHAPTER[2]
        write_chapter(book, [*CHAPTER[:2], (kind, f"{source}  # edited", metadata), *CHAPTER[3:]])
    else:
        (book / what.split()[-1]).write_text("ANSWER = 43\n")
    assert faults()[0] == f"01_trial.ipynb is stale: {what} changed"
    assert not (book / "build" / "html" / ".nojekyll").exists()


@pytest.mark.parametrize(
    ("module", "new"),
    [("words", WORDS.replace("Words.", "Others.").replace("nearly", "about")), ("told", TOLD.replace("two", "few"))],
)
def test_comments_and_docstrings_make_only_a_chapter_stale_that_shows_them(book, module, new):
    (book / "istapp" / f"{module}.py").write_text(new)
    assert faults()[0] == f"more/02_source.ipynb is stale: data file istapp/{module}.py changed"


def test_of_a_module_the_code_counts_and_where_they_are_asked_for_docstrings():
    plain = 'def f(a):\n    """Say."""\n    return a\n'
    other = plain.replace("Say", "Tell")
    assert keys.code_digest(plain, False) == keys.code_digest(f"# a comment\n\n{other}", False)
    assert keys.code_digest(plain, True) != keys.code_digest(other, True)
    assert keys.code_digest(plain, False) != keys.code_digest(plain.replace("return a", 'return "a"'), False)


@pytest.mark.parametrize("cell", ["help(words)", "print(words.__doc__)", "print(inspect.getdoc(words))"])
def test_a_cell_that_asks_for_docstrings_makes_them_count(book, cell):
    write_chapter(book, [*CHAPTER, ("code", cell, {})])
    chapter = book / "notebooks" / "01_trial.ipynb"
    before = keys.key(chapter, {}, set(), set())["modules"]
    (book / "istapp" / "words.py").write_text(WORDS.replace("Words.", "Other words."))
    after = keys.key(chapter, {}, set(), set())["modules"]
    assert [name for name in before if before[name] != after[name]] == ["istapp/words.py"]


def test_unread_data_does_not_make_a_chapter_stale(book):
    (book / "data" / "unread.txt").write_text("still nobody")
    assert faults() == []


def test_failing_cell_is_named_and_the_good_result_stays(book):
    write_chapter(book, [*CHAPTER, ("code", "assert 1 > 2, 'not so'", {})])
    done = build(book, "book")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "01_trial.ipynb" in done.stderr and "AssertionError: not so" in done.stderr
    page = (book / "build" / "html" / "notebooks" / "01_trial.html").read_text(encoding="utf-8")
    assert "laptop 41.96 forty-two" in page
    assert "never executed" not in " ".join(faults())


def test_undeclared_parameter_is_an_error(book):
    write_chapter(book, [CHAPTER[0], ("code", 'profil = profile = "laptop"', {}), *CHAPTER[2:]])
    with pytest.raises(BuildError, match="01_trial.ipynb declares no parameter profile"):
        execute.run(book / "notebooks" / "01_trial.ipynb", {"profile": "laptop"}, book / "output.ipynb")


def test_a_warning_of_sphinx_stops_the_build_and_is_shown(book):
    (book / "book" / "trial_cover.md").write_text(COVER + "\n[nowhere](nowhere.md) by (1.9)\n")
    said = faults()
    assert any("nowhere.md" in line for line in said)
    assert "book/trial_cover.md:5: WARNING: “(1.9)” leads nowhere: no such equation in the book" in said
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
    code = f"from istapp.method import weights; weights.load({str(weights)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | environment, cwd=ROOT)
    assert str(weights) in record.read_text().splitlines()


def test_the_authors_weights_belong_to_the_key_of_who_asks_for_them(monkeypatch):
    (chapter,) = (n for n in notebooks.chapters() if n.name.startswith("06"))
    monkeypatch.delenv("ISTAPP_OFFICIAL", raising=False)
    without = keys.key(chapter, {}, set(), set())
    monkeypatch.setenv("ISTAPP_OFFICIAL", "/there")
    changed = keys.changes(without, keys.key(chapter, {}, set(), set()))
    assert len(changed) == 1 and "ISTAPP_OFFICIAL" in changed[0]


def test_data_that_changes_under_a_running_chapter_is_no_good_result(tmp_path, monkeypatch):
    monkeypatch.setenv("ISTAPP_DATA", str(tmp_path))
    monkeypatch.setattr(execute, "EXECUTED", tmp_path / "e")
    monkeypatch.setattr(execute, "FAILED", tmp_path / "f")

    def run(notebook, parameters, output):
        output.write_text("{}")
        time.sleep(0.05)
        (tmp_path / "rows.csv").write_text("new")
        return {"ISTAPP_DATA/rows.csv"}, {"python"}

    monkeypatch.setattr(execute, "run", run)
    with pytest.raises(BuildError, match="changed while it ran"):
        execute.execute(notebooks.chapters()[0], {})

"""Every notebook: it runs, its form is what readers and the book rely on, and its equations are numbered in pairs."""

import csv
import json
import os
import re
import statistics
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
from pipeline.execute import run
from pipeline.notebooks import chapters

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = chapters()
CHAPTERS = [path for path in NOTEBOOKS if path.name[:2].isdigit()]  # the cover is a notebook, but no chapter
CODE = re.compile(r"```.*?```|`[^`]*`", re.S)
TAG = re.compile(r"\\tag\{([^}]*)\}")
REFERENCE = re.compile(r"\(([1-9]\d?\.\d{1,2})\)")
MYST = re.compile(r"^\s*(?:```+|:::+)\s*\{|\{[a-z][a-z:-]*\}`", re.M)


def named(paths: list[Path]) -> pytest.MarkDecorator:
    """Parametrise a test over notebooks, by their names."""
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def cells(path: Path, kind: str | None = None) -> list[dict]:
    """The cells of one kind, or all, with their sources as one string and their tags as a list."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        cell | {"source": "".join(cell["source"]), "tags": cell["metadata"].get("tags", [])}
        for cell in found
        if kind in (None, cell["cell_type"])
    ]


def prose(path: Path) -> str:
    """The Markdown of a notebook without its code spans and blocks."""
    return CODE.sub("", "\n\n".join(cell["source"] for cell in cells(path, "markdown")))


def lines(cell: dict) -> int:
    """Lines of a cell that are not blank."""
    return sum(bool(line.strip()) for line in cell["source"].splitlines())


def test_there_are_chapters():
    assert CHAPTERS


def test_table_of_contents_names_every_page_and_no_other():
    named = set(re.findall(r"(?:file|root): (\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8")))
    notebooks = [path for path in (ROOT / "notebooks").glob("*.ipynb") if not path.name.startswith("Untitled")]
    pages = [*notebooks, *(ROOT / "book").glob("*.md")]
    assert named == {path.relative_to(ROOT).with_suffix("").as_posix() for path in pages}


def test_no_two_figures_share_a_name():
    figures = [cell["metadata"].get("mystnb", {}).get("figure", {}) for path in NOTEBOOKS for cell in cells(path)]
    names = [figure["name"] for figure in figures if "name" in figure]
    assert len(names) == len(set(names)) > 0


@named(NOTEBOOKS)
def test_runs_in_profile_smoke(path, tmp_path):
    output = tmp_path / path.name
    with mock.patch.dict(os.environ):
        run(path, {"profile": "smoke"}, output)
    for cell in cells(output, "code"):
        pictures = [o for o in cell["outputs"] if any(t.startswith("image/") for t in o.get("data", {}))]
        figure = cell["metadata"].get("mystnb", {})
        told = any(
            o["output_type"] == "stream" for o in cell["outputs"]
        )  # a sentence where there is nothing to draw yet
        right = len(pictures) == 1 or (not pictures and told) if "figure" in figure else not pictures
        assert right, f"{len(pictures)} pictures from: {cell['source']}"


@named(NOTEBOOKS)
def test_is_stored_clean(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and notebook["nbformat_minor"] >= 5
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert not {"papermill", "widgets"} & notebook["metadata"].keys()
    assert all(
        not cell["outputs"] and cell["execution_count"] is None for cell in notebook["cells"] if "outputs" in cell
    )
    identities = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identities)) == len(identities)


@named(NOTEBOOKS)
def test_begins_with_title_setup_and_parameters(path):
    title, *_ = cells(path)
    setup, parameters, *_ = cells(path, "code")
    assert title["cell_type"] == "markdown" and title["source"].startswith("# ")
    assert "setup" in setup["tags"] and {"hide-input", "remove-input"} & set(setup["tags"])
    assert setup["source"] == (ROOT / "book" / "setup_cell.py").read_text(encoding="utf-8").rstrip("\n")
    assert "parameters" in parameters["tags"] and re.match(r'profile = "laptop"', parameters["source"])


@named([path for path in NOTEBOOKS if path.stem != "cover"])
def test_device_and_minutes_are_said_before_anything_runs(path):
    """A GPU is asked of Colab where the chapter says what it is good for, and nowhere else."""
    first, *_ = cells(path)
    device = re.search(r"^\*\*Device:\*\* (.+)  \n\*\*Minutes to run:\*\* \S", first["source"], re.M)
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert device and metadata.get("accelerator") == ("GPU" if "a GPU for" in device[1] else None)
    assert "a GPU for" not in device[1] or "--device cuda" in prose(path) + str(cells(path))


@named([*CHAPTERS, ROOT / "notebooks" / "add_your_own.ipynb"])
def test_what_a_reader_wrote_can_be_kept(path):
    (keep,) = [cell for cell in cells(path, "code") if "save" in cell["tags"]]
    assert keep["source"] == (ROOT / "book" / "save_cell.py").read_text(encoding="utf-8").rstrip("\n")
    assert "remove-cell" in keep["tags"], "a page has nothing to keep"


@named(NOTEBOOKS)
def test_headings_form_a_tree(path):
    levels = [len(marks) for marks in re.findall(r"^(#{1,6}) \S", prose(path), re.M)]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels


@named(NOTEBOOKS)
def test_markdown_renders_in_jupyter_github_and_colab(path):
    assert not MYST.findall(
        prose(path) + "\n".join(re.findall(r"^```.*$", "\n".join(c["source"] for c in cells(path)), re.M))
    )
    with (ROOT / "book" / "notation.csv").open(encoding="utf-8", newline="") as table:
        own = {row["macro"].lstrip("\\") for row in csv.DictReader(table)} - {""}
    used = set(re.findall(r"\\([A-Za-z]+)", prose(path)))
    assert not own & used, "macros of the notation table are known on the pages of book/ only"


def test_code_in_the_text_fits_the_page():
    """The page shows 80 columns of code; a linter looks at the cells, and this at what the text shows."""
    pages = {path.name: "\n\n".join(cell["source"] for cell in cells(path, "markdown")) for path in NOTEBOOKS}
    shown = [(name, line) for name, text in pages.items() for line in re.findall(r"^    .+", text, re.M)]
    pages |= {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")}
    for name, text in pages.items():
        blocks = re.findall(r"^```(.*)\n((?:(?!```).*\n)*)```", text, re.M)
        shown += [(name, line) for kind, block in blocks if "{" not in kind for line in block.splitlines()]
    assert {name for name, _ in shown} > {"how_to_use.md", "12_ledger.ipynb"}
    assert not [(name, line) for name, line in shown if len(line) > 80]


@named(CHAPTERS)
def test_code_cells_are_short(path):
    counts = [lines(cell) for cell in cells(path, "code") if "setup" not in cell["tags"]]
    assert max(counts) <= 30 and statistics.median(counts) <= 8, counts  # of 80 columns


@named(NOTEBOOKS)
def test_no_cell_shows_what_its_writer_did_not_mean(path):
    """An editor's cell mark is a line of the page, and a last line that writes a file prints how many characters."""
    for cell in cells(path, "code"):
        assert not re.search(r"^# ?%%", cell["source"], re.M), cell["source"]
        last = cell["source"].rstrip().rpartition("\n")[2]
        assert not re.match(r"\w[\w.]*\.write(_text|_bytes)?\(.*\)$", last), last


@named(NOTEBOOKS)
def test_figures_have_captions_and_alt_texts(path):
    for figure in (cell["metadata"]["mystnb"] for cell in cells(path, "code") if "mystnb" in cell["metadata"]):
        assert figure["figure"]["name"].startswith("fig-") and len(figure["figure"]["caption"].split()) >= 5
        assert len(figure["image"]["alt"].split()) >= 5 and figure["image"]["alt"] != figure["figure"]["caption"]


@named(NOTEBOOKS)
def test_a_file_can_be_written_below_a_folder_with_a_space(path):
    targets = re.findall(r"^%%writefile (.+)", "\n".join(cell["source"] for cell in cells(path, "code")), re.M)
    assert all(re.fullmatch(r'"[^"]+"', target) for target in targets), targets


@named(CHAPTERS)
def test_equations_are_numbered_in_pairs(path):
    number = str(int(path.name[:2]))
    tags = TAG.findall(prose(path))
    assert len(set(tags)) == len(tags)
    assert all(re.fullmatch(rf"{number}\.\d+", tag) for tag in tags), tags
    known = {tag for other in CHAPTERS for tag in TAG.findall(prose(other))}
    text = prose(path) + "\n".join(cell["source"] for cell in cells(path, "code"))
    references = set(REFERENCE.findall(prose(path)))
    assert not references - known, f"no such equation: {references - known}"
    alone = set(tags) - set(REFERENCE.findall(text))
    assert not alone, f"never referred to: {alone}"


@named(CHAPTERS)
def test_exercises_have_folded_solutions(path):
    number = int(path.name[:2])
    solutions = {}
    for cell in cells(path, "code"):
        if found := re.match(rf"# Solution {number}\.(\d+)", cell["source"]):
            solutions[found[1]] = cell
    exercises = set(re.findall(rf"Exercise {number}\.(\d+)", prose(path)))
    assert len(exercises) >= 4 and exercises == solutions.keys()
    assert all("hide-cell" in cell["tags"] for cell in solutions.values())
    assert prose(path).count("<details>") >= 4, "every exercise has a hint to unfold"


@named(CHAPTERS)
def test_says_what_it_asks_for_and_what_comes(path):
    text = prose(path)
    assert len(re.findall(r"^\*\*Minutes to run:\*\* \S", text, re.M)) == 1
    assert re.search(r"need to know", text, re.I)
    assert re.search(r"^##+ Summary", text, re.M) and re.search(r"^##+ What comes next", text, re.M)


@named(CHAPTERS)
def test_numbered_equations_break_lines_as_sphinx_lets_them(path):
    r"""Sphinx wraps a formula with `\\` in `split`, where MathJax refuses `\tag`; `\cr` breaks lines as well."""
    formulas = re.findall(r"\$\$(.+?)\$\$", prose(path), re.DOTALL)
    assert not [formula for formula in formulas if TAG.search(formula) and r"\\" in formula]

"""The pages beside the chapters: one notation for all, every module documented, every work cited."""

import csv
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from istapp.images.registry import Entry

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(BOOK.glob("*.md"))}
with (BOOK / "notation.csv").open(newline="", encoding="utf-8") as table:
    NOTATION = list(csv.DictReader(table))
MACROS = {row["macro"] for row in NOTATION}


def test_notation_defines_each_macro_once() -> None:
    """A macro is a backslash and letters, stands for LaTeX between dollars, and is explained."""
    assert len(MACROS) == len(NOTATION)
    for row in NOTATION:
        assert re.fullmatch(r"\\[A-Za-z]+", row["macro"])
        assert re.fullmatch(r"\$[^$]+\$", row["latex"])
        assert row["meaning"] and row["shape"]


@pytest.mark.parametrize("row", NOTATION, ids=lambda row: row["macro"])
def test_each_symbol_appears_in_its_chapter(row: dict[str, str]) -> None:
    """The chapter that the table sends to does use the symbol."""
    chapter = BOOK / re.search(r"\((.+)\)", row["where"])[1]
    if not chapter.exists():
        pytest.skip(f"{chapter.name} does not exist")
    text = chapter.read_text(encoding="utf-8").replace("\\\\", "\\")
    assert row["latex"].strip("$") in text


def test_chapters_do_not_use_the_macros() -> None:
    """Colab and JupyterLab know nothing of the table, so the chapters spell their LaTeX out."""
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        used = set(re.findall(r"\\\\([A-Za-z]+)", notebook.read_text(encoding="utf-8")))
        assert not used & {macro[1:] for macro in MACROS}, notebook.name


def test_every_module_is_on_the_api_page() -> None:
    """Each module of the package that a reader can import is documented, and none that does not exist."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "istapp").rglob("*.py")
        if not path.stem.startswith("_") or path.stem == "__init__"
    }
    documented = set(re.findall(r"automodule:: (\S+)", PAGES["api.md"]))
    assert documented == modules


def test_fields_of_named_tuples_are_not_called_aliases_on_the_api_page() -> None:
    """Python's own docstring of such a field, "Alias for field number 0", tells a reader nothing."""
    derivations = pytest.importorskip("extensions.derivations")
    lines = [Entry.file.__doc__ or ""]
    assert lines == ["Alias for field number 0"]
    name = "istapp.images.registry.Entry.file"
    derivations._link(SimpleNamespace(srcdir=ROOT), "attribute", name, Entry.file, {}, lines)
    assert not any(lines)


def test_no_page_lists_a_source_that_cannot_be_shown() -> None:
    """Python's builtins have no source, and a short name of a type belongs to them."""
    derivations = pytest.importorskip("extensions.derivations")
    env = SimpleNamespace(_viewcode_modules={"builtins": False, "istapp": ("code", {}, {}, "")})
    derivations._forget_without_source(None, env)
    assert list(env._viewcode_modules) == ["istapp"]


def test_every_work_is_cited_and_every_citation_known() -> None:
    """The bibliography lists what the pages cite, no more and no less."""
    works = set(re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text(encoding="utf-8"), re.MULTILINE))
    cited = {
        key.strip()
        for page in PAGES.values()
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", page)
        for key in keys.split(",")
    }
    assert works == cited


def test_every_photograph_is_attributed() -> None:
    """Each bundled photograph has a row with author and licence, and each row a photograph."""
    with (ROOT / "data" / "photos" / "ATTRIBUTION.csv").open(newline="", encoding="utf-8") as rows:
        attributed = {row["file"]: row for row in csv.DictReader(rows)}
    assert set(attributed) == {path.name for path in (ROOT / "data" / "photos").glob("*.png")}
    assert all(row["author"] and row["licence"] for row in attributed.values())

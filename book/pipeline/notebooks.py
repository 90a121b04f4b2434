"""Which notebooks are chapters, what is wrong with one of them, and which of its pictures nobody has described."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline import ROOT, BuildError

TOC = ROOT / "_toc.yml"
FOLDER = ROOT / "notebooks"
MERGE_MARKER = re.compile(r"^(<{7}|={7}|>{7})( .*)?$", re.M)
NOT_SHOWN = {"remove-cell", "remove_cell", "remove-output", "remove_output"}
ALT = '{"mystnb": {"image": {"alt": "what the picture shows"}}}'


def chapters() -> list[Path]:
    """The notebooks that `_toc.yml` names, in its order; others beside them are none of the book's business.

    Raises:
        BuildError: the table of contents is not one, or names a page that does not exist.
    """
    import yaml
    from sphinx_external_toc.parsing import MalformedError, parse_toc_yaml

    try:
        contents = parse_toc_yaml(TOC)
    except (MalformedError, yaml.YAMLError, OSError, ValueError) as error:
        raise BuildError(f"_toc.yml: {' '.join(str(error).split())}") from None
    found = [ROOT / f"{page.removesuffix('.ipynb')}.ipynb" for page in contents]
    found += [path for pattern in contents.globs() for path in sorted(ROOT.glob(f"{pattern}.ipynb"))]
    for page, notebook in zip(contents, found):
        if not any(notebook.with_suffix(suffix).exists() for suffix in (".ipynb", ".md", ".rst")):
            raise BuildError(f"_toc.yml names the page {page}, which does not exist")
    return [notebook for notebook in dict.fromkeys(found) if notebook.exists()]


def name(notebook: Path) -> str:
    """What a chapter is called in messages and below `build/executed`: its path below `notebooks`."""
    return notebook.relative_to(FOLDER if notebook.is_relative_to(FOLDER) else ROOT).as_posix()


def read(notebook: Path) -> dict:
    """The content of a chapter.

    Raises:
        BuildError: the file is no notebook that can be executed; one line that names it and says why.
    """
    import nbformat

    data = notebook.read_bytes()
    if data.startswith(codecs.BOM_UTF8):
        raise BuildError(f"{name(notebook)} begins with a byte order mark; save it as UTF-8 without one")
    try:
        text = data.decode("utf-8")
        if marker := MERGE_MARKER.search(text):
            line = text.count("\n", 0, marker.start()) + 1
            raise BuildError(f"{name(notebook)}, line {line}: a merge marker ({marker[0]}); finish the merge first")
        page = json.loads(text)
        nbformat.validate(page, version=4)
    except UnicodeDecodeError as error:
        raise BuildError(f"{name(notebook)} is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise BuildError(f"{name(notebook)}, line {error.lineno}: no JSON, so no notebook ({error.msg})") from None
    except (nbformat.ValidationError, AttributeError, TypeError, KeyError) as error:
        why = str(error).strip().partition("\n")[0]
        raise BuildError(f"{name(notebook)} is no notebook of format 4: {why}") from None
    kernel = page["metadata"].get("kernelspec")
    if not kernel or kernel.get("language", "python") != "python":
        has = "a kernel of another language" if kernel else "no kernel (metadata.kernelspec)"
        raise BuildError(f"{name(notebook)} has {has}; open it with `make lab`, choose Python 3 (ipykernel), save it")
    return page


def check() -> None:
    """Read every chapter.

    Raises:
        BuildError: with one line for each that cannot be executed.
    """
    found = []
    for notebook in chapters():
        try:
            read(notebook)
        except BuildError as error:
            found.append(str(error))
    if found:
        raise BuildError("\n".join(found))


def code_cells(page: dict) -> list[dict]:
    """The code cells, in order; messages count them from one."""
    return [cell for cell in page["cells"] if cell["cell_type"] == "code"]


def label_folded(page: dict) -> None:
    """Say on each folded cell what waits in it, where its own metadata do not."""
    for cell in code_cells(page):
        tags = {tag.replace("_", "-") for tag in cell["metadata"].get("tags", [])}
        solution = re.match(r"# Solution (\d+\.\d+)", "".join(cell["source"]))
        if {"hide-cell", "hide-input"} & tags:
            what = f"solution {solution[1]}" if solution else "this check" if "hide-cell" in tags else "the code"
            own = cell["metadata"].setdefault("mystnb", {})
            own.setdefault("code_prompt_show", f"Show {what}")
            own.setdefault("code_prompt_hide", f"Hide {what}")


def caption_origins(page: dict) -> None:
    """Move the line on what a figure was made of into the figure, under its caption; Sphinx makes it a second one."""
    for cell in code_cells(page):
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        origins = [output for output in cell["outputs"] if output.get("metadata", {}).get("istapp") == "origin"]
        if figure and origins:
            cell["outputs"] = [output for output in cell["outputs"] if output not in origins]
            figure["caption"] = "\n\n".join([figure["caption"], "".join(origins[-1]["data"]["text/html"])])


def undescribed(page: dict) -> Iterator[tuple[int, dict]]:
    """Number and content of each executed code cell that shows a picture without an alt text."""
    for number, cell in enumerate(code_cells(page), 1):
        shown = [kind for output in cell["outputs"] for kind in output.get("data", {}) if kind.startswith("image/")]
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt") or ""
        if shown and not alt.strip() and not NOT_SHOWN & set(cell["metadata"].get("tags", [])):
            yield number, cell


def ask_for_alt(notebook: Path, number: int, cell: dict) -> str:
    """The line that tells a chapter's author where which alt text is missing."""
    first = "".join(cell["source"]).strip().partition("\n")[0]
    where = f"{name(notebook)}, code cell {number} (`{first}`)"
    return f"{where}: a picture without alt text; write into this cell's metadata: {ALT}"

"""Sphinx extension: in the API page, a docstring's "Chapter 02" becomes a link to that chapter.

Modules say in their docstrings which chapter derives them. Each function and class of such a module gets a closing line
with the same link, unless its own docstring already names a chapter. A chapter that is not in the book fails the build.
Types of other packages are named in signatures but not linked: their documentation is not part of this book.
"""

import inspect
import re
from pathlib import Path

import torch.utils.flop_counter  # noqa: F401  # before autodoc's stand-in for Triton, which it takes for a real one
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_CHAPTER = re.compile(r"\b[Cc]hapter (\d\d)\b")
_EXAMPLE = re.compile(r"^(?!\.\.)(\S.*)\n\n(?=    \S)", re.MULTILINE)
_FIELD = re.compile(r"Alias for field number \d+")
_DERIVED = {"class", "function"}
#: Packages whose types are named and not linked; then what is imported for type checkers only, or a short name.
_FOREIGN = {
    "abc", "argparse", "collections", "matplotlib", "nn", "np", "numpy", "os", "pathlib", "torch", "typing", "xml",
}  # fmt: skip
_FOREIGN |= {"Axes", "Figure", "Row"}
_VARIABLE = re.compile(r"(\w+\.)*[A-Z]")  # of a type: it has no place to link to
_PROSE: dict[str, list[str]] = {}


def linked(text: str, chapters: dict[str, str]) -> str:
    """Turn every "chapter NN" of `text` into a reST link to the document that `chapters` has for NN.

    Raises:
        KeyError: there is no such chapter.
    """
    return _CHAPTER.sub(lambda found: f":doc:`{found.group()} </{chapters[found[1]]}>`", text)


def closing(what: str, obj: object, lines: list[str]) -> list[str]:
    """Return the lines that tell where `obj` is derived; none where its docstring says so or nobody does."""
    is_builder = getattr(obj, "__name__", "") == "build"  # a method's entry in the registry, nothing to derive
    if what not in _DERIVED or is_builder or _CHAPTER.search("\n".join(lines)):
        return []
    named = _CHAPTER.search(getattr(inspect.getmodule(obj), "__doc__", None) or "")
    verb = "Asked" if ".exercises." in (getattr(obj, "__module__", None) or "") else "Derived"
    return ["", f"{verb} in chapter {named[1]}."] if named else []


def _keep(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    # Of a short comment, "one thing: another", Napoleon would make a type and a description. It is prose.
    if what in {"attribute", "data", "property"} and "\n\n" not in "\n".join(lines).strip():
        _PROSE[name] = list(lines)


def _link(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    names = sorted(path.stem for path in Path(app.srcdir, "notebooks").glob("[0-9][0-9]_*.ipynb"))
    chapters = {stem[:2]: f"notebooks/{stem}" for stem in names}
    lines[:] = _PROSE.pop(name, lines)
    if _FIELD.fullmatch("\n".join(lines).strip()):  # Python's own words for a field of a named tuple tell nothing
        lines[:] = []
    text = "\n".join(lines + closing(what, obj, lines))
    if what == "module":  # what stands indented there is code, and reads better without marks in the source
        text = _EXAMPLE.sub(r"\1\n\n::\n\n", text)
    lines[:] = linked(text, chapters).split("\n")


def _foreign(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contents: nodes.TextElement
) -> nodes.TextElement | None:
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    return contents if target.split(".")[0] in _FOREIGN or _VARIABLE.fullmatch(target) else None


def _forget_without_source(app: Sphinx, env: BuildEnvironment) -> None:
    # A short name of another type, such as list[int], belongs to Python's builtins, whose source nobody can show. The
    # list of sources would lead to a page that is not there.
    sources = vars(env).get("_viewcode_modules", {})
    for name in [name for name, source in sources.items() if not source]:
        del sources[name]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("autodoc-process-docstring", _keep, priority=400)
    # After napoleon (priority 500), which rewrites the sections of a docstring.
    app.connect("autodoc-process-docstring", _link, priority=600)
    app.connect("missing-reference", _foreign)
    app.connect("env-check-consistency", _forget_without_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

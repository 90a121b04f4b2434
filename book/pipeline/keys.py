"""The key of an executed chapter: everything its outputs depend on, so that a stale page is seen and named.

A key holds one hash per code cell, the parameters, the versions of the libraries that the chapter imported, one hash
per file of `istapp`, and one per file that it read of the checkout or ISTAPP_DATA and per folder of data that it
listed. Markdown, captions and tags are not part of it. Of a module only the code counts: comments and docstrings change
nothing that a chapter computes. Where they can be seen nevertheless, they count:

- a chapter that opens a module's file, as `inspect.getsource` and a warning's quotation do, has read that file;
- so has one of whose outputs a piece of text stands in a docstring of that file, however it came there;
- a cell that asks for docstrings, by `help` or `__doc__`, makes those of all modules count for its chapter.

A code cell counts as it stands, for its last semicolon hides a value and `%%writefile` copies its comments.
"""

import ast
import hashlib
import os
import platform
import re
from functools import cache
from importlib import metadata
from pathlib import Path

from pipeline import ROOT, notebooks

Key = dict[str, dict[str, str]]
PARTS = {
    "cells": "code cell",
    "parameters": "parameter",
    "libraries": "library",
    "modules": "module",
    "data": "data file",
}
SAID = {"parameters", "libraries"}  # parts whose values a person understands
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
ASKS_FOR_DOCSTRINGS = re.compile(r"__doc__|\bgetdoc\b|\bhelp\(|\bpydoc\b")
QUOTED = 32  # so many letters from the beginning of a line of a docstring stand in an output by no accident
PINS = ROOT / "constraints.txt"
OPTIONAL = ("ISTAPP_OFFICIAL",)  # of the environment: set, it belongs to the key of a chapter that names it


def digest(path: Path) -> str:
    """Hash of a file's bytes, or of the names in a folder; "missing" where there is neither."""
    if path.is_dir():
        content = "\n".join(sorted(p.name for p in path.iterdir())).encode()
    elif path.is_file():
        content = path.read_bytes()
    else:
        return "missing"
    return hashlib.sha256(content).hexdigest()[:16]


@cache
def code_digest(source: str, with_docstrings: bool) -> str:
    """Hash of what Python makes of `source`: its syntax tree without comments, layout and, if asked, docstrings."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return hashlib.sha256(source.encode()).hexdigest()[:16]
    for node in ast.walk(tree):
        if not with_docstrings and isinstance(node, DOCUMENTED):
            node.body = [part for part in node.body if _text(part) is None]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _text(part: ast.stmt) -> str | None:
    """The text of a statement that is nothing else, such as a docstring."""
    value = part.value if isinstance(part, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _sources() -> dict[str, str]:
    paths = sorted((ROOT / "istapp").rglob("*.py"))
    return {label(path): path.read_text(encoding="utf-8", errors="surrogateescape") for path in paths}


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


@cache
def _docstring_lines(source: str) -> set[str]:
    try:
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, DOCUMENTED)]
    except SyntaxError:
        return set()
    texts = [text for node in nodes for part in node.body if (text := _text(part))]
    lines = {_letters(line) for text in texts for line in text.splitlines()}
    return {line[:QUOTED] for line in lines if len(line) >= QUOTED}


def quoted(page: dict) -> set[str]:
    """Labels of the modules whose docstrings an executed chapter shows: by `help`, on a command line, in a table."""
    outputs = [output for cell in notebooks.code_cells(page) for output in cell["outputs"]]
    texts = [output.get("text", "") for output in outputs]
    texts += [text for output in outputs for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    shown = _letters(" ".join("".join(text) for text in texts))
    return {name for name, source in _sources().items() if any(line in shown for line in _docstring_lines(source))}


@cache
def version(library: str) -> str:
    """The installed version without a build suffix (CPU and GPU builds of torch are one); "missing" where it is not."""
    if library == "python":
        return ".".join(platform.python_version_tuple()[:2])
    try:
        return metadata.version(library).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "missing"


def _canonical(library: str) -> str:
    return re.sub(r"[-_.]+", "-", library).lower()


#: The installed distributions by the modules that they hold: reading all their metadata takes a second.
distributions = cache(metadata.packages_distributions)


def libraries(imported: set[str]) -> set[str]:
    """The installed distributions to which top-level modules belong, and Python; `istapp` is hashed file by file."""
    owners = (owner for name in imported for owner in distributions().get(name, []))
    return {"python"} | {_canonical(owner) for owner in owners} - {"istapp"}


def pins() -> dict[str, str]:
    """The versions that `constraints.txt` fixes, by library; none where the book has no such file."""
    lines = PINS.read_text(encoding="utf-8").splitlines() if PINS.exists() else []
    found = (re.match(r"([\w.-]+)==([\w.!]+)", line) for line in lines)
    return {_canonical(pin[1]): pin[2] for pin in found if pin}


def data_roots() -> dict[str, Path]:
    """Folders of data, whose files and listings belong to a key when read, by the name that stands for them in it."""
    roots = {"data": ROOT / "data"}
    if folder := os.environ.get("ISTAPP_DATA"):
        roots["ISTAPP_DATA"] = Path(folder).resolve()
    return roots


def roots() -> dict[str, Path]:
    """Folders whose files belong to a key when a chapter opens them: the data, and the sources beside it."""
    return data_roots() | {name: ROOT / name for name in ("istapp", "notebooks", "book")}


def label(path: Path) -> str:
    """`path` as a key names it, the same on every machine: data/photos/cat.png, ISTAPP_DATA/Set11/boats.png."""
    for name, root in roots().items():
        if path.is_relative_to(root):
            return (Path(name) / path.relative_to(root)).as_posix()
    raise ValueError(f"{path} lies below none of the folders that a key knows")


def labels(paths: set[Path]) -> set[str]:
    """The labels of what a chapter has read. Importing lists the source folders: that counts for data only."""
    data = data_roots().values()
    return {label(path) for path in paths if path.is_file() or any(path.is_relative_to(root) for root in data)}


def located(name: str) -> Path:
    """The file that `label` named; below an unset ISTAPP_DATA it does not exist."""
    top, _, rest = name.partition("/")
    return roots().get(top, Path("/nowhere")) / rest


def key(notebook: Path, parameters: dict[str, str], reads: set[str], used: set[str]) -> Key:
    """The key that `notebook` has now, if it read what the labels `reads` name, with the libraries `used`."""
    sources = ["".join(cell["source"]) for cell in notebooks.code_cells(notebooks.read(notebook))]
    asks = any(ASKS_FOR_DOCSTRINGS.search(source) for source in sources)
    return {
        "cells": {f"{n}": hashlib.sha256(source.encode()).hexdigest()[:16] for n, source in enumerate(sources, 1)},
        "parameters": {name: str(value) for name, value in parameters.items()}
        | {name: "set" for name in OPTIONAL if os.environ.get(name) and any(name in each for each in sources)},
        "libraries": {name: version(name) for name in sorted(used)},
        "modules": {name: code_digest(source, asks) for name, source in _sources().items()},
        "data": {name: digest(located(name)) for name in sorted(reads)},
    }


def changes(old: Key, new: Key) -> list[str]:
    """What differs, in words: "code cell 3 changed", "parameter profile changed from smoke to laptop"."""
    found = []
    for part, word in PARTS.items():
        for name in sorted(old[part].keys() | new[part].keys(), key=lambda n: (len(n), n)):
            before, after = old[part].get(name, "none"), new[part].get(name, "none")
            if before != after:
                found.append(f"{word} {name} changed" + (f" from {before} to {after}" if part in SAID else ""))
    return found


def unpinned(key: Key) -> list[str]:
    """Libraries of a key in other versions than `constraints.txt` fixes, in words."""
    fixed = pins()
    return [
        f"computed with {name} {used}, constraints.txt has {fixed[name]}"
        for name, used in key["libraries"].items()
        if fixed.get(name, used).partition("+")[0] != used
    ]

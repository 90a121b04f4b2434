"""The key of an executed chapter: everything its outputs depend on, so that a stale page is seen and named.

A key holds one hash per code cell, the parameters, one hash per file of `istapp` and one per file or folder below
`data/` or ISTAPP_DATA that the chapter read. Markdown, captions and tags are not part of it.
"""

import hashlib
import json
import os
from pathlib import Path

from pipeline import ROOT

Key = dict[str, dict[str, str]]
PARTS = {"cells": "code cell", "parameters": "parameter", "modules": "module", "data": "data file"}


def digest(path: Path) -> str:
    """Hash of a file's bytes, or of the names in a folder; "missing" where there is neither."""
    if path.is_dir():
        content = "\n".join(sorted(p.name for p in path.iterdir())).encode()
    elif path.is_file():
        content = path.read_bytes()
    else:
        return "missing"
    return hashlib.sha256(content).hexdigest()[:16]


def data_roots() -> dict[str, Path]:
    """Folders whose files belong to a key when read, by the name that stands for them in it."""
    roots = {"data": ROOT / "data"}
    if folder := os.environ.get("ISTAPP_DATA"):
        roots["ISTAPP_DATA"] = Path(folder).resolve()
    return roots


def label(path: Path) -> str:
    """`path` as a key names it, the same on every machine: data/photos/cat.png, ISTAPP_DATA/Set11/boats.png."""
    for name, root in data_roots().items():
        if path.is_relative_to(root):
            return (Path(name) / path.relative_to(root)).as_posix()
    raise ValueError(f"{path} lies below none of the data folders")


def located(name: str) -> Path:
    """The file that `label` named; below an unset ISTAPP_DATA it does not exist."""
    top, _, rest = name.partition("/")
    return data_roots().get(top, Path("/nowhere")) / rest


def code_cells(notebook: Path) -> list[str]:
    """Sources of the code cells, in order."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def key(notebook: Path, parameters: dict[str, str], reads: list[str]) -> Key:
    """The key that `notebook` has now, if it read what the labels `reads` name."""
    cells = {f"{n}": hashlib.sha256(c.encode()).hexdigest()[:16] for n, c in enumerate(code_cells(notebook), 1)}
    modules = sorted((ROOT / "istapp").rglob("*.py"))
    return {
        "cells": cells,
        "parameters": {name: str(value) for name, value in parameters.items()},
        "modules": {p.relative_to(ROOT).as_posix(): digest(p) for p in modules},
        "data": {name: digest(located(name)) for name in sorted(reads)},
    }


def changes(old: Key, new: Key) -> list[str]:
    """What differs, in words: "code cell 3 changed", "module istapp/solvers.py changed"."""
    return [
        f"{word} {name} changed"
        for part, word in PARTS.items()
        for name in sorted(old[part].keys() | new[part].keys(), key=lambda n: (len(n), n))
        if old[part].get(name) != new[part].get(name)
    ]

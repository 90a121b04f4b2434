"""The floors of the package: a file imports from its own floor or from those below, never in a circle."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

#: What lies on each floor, from the ground up; a folder is one room.
FLOORS = (
    {"basics", "metrics"},
    {"sampling", "images"},
    {"solvers", "method"},
    {"methods", "training"},
    {"experiments"},
    {"paper"},
    {"figures", "exercises"},
    {"commands", "__main__"},
)
PACKAGE = ROOT / "istapp"
FILES = sorted(PACKAGE.rglob("*.py"))


def module(path: Path) -> str:
    """Return the name by which a file is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path) for path in FILES}


def imported(path: Path, lazily: bool = True) -> set[str]:
    """Return the package's modules that a file imports, those inside functions included if `lazily`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if lazily else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "istapp":
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found.add(inner if inner in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name in MODULES}
    return found - {"istapp"}


def floor(name: str) -> int:
    """Return on which floor a module lies."""
    room = name.split(".")[1]
    return next(level for level, rooms in enumerate(FLOORS) if room in rooms)


def test_every_entry_has_its_floor() -> None:
    entries = {path.name for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "data")}
    rooms = {Path(name).stem for name in entries} - {"README", "__init__"}
    assert rooms == set().union(*FLOORS)
    assert len(entries) <= 16


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_run_downwards(path: Path) -> None:
    if path != PACKAGE / "__init__.py":
        upwards = {name for name in imported(path) if floor(name) > floor(module(path))}
        assert not upwards


def test_no_imports_run_in_a_circle() -> None:
    """Some order has each file after all that it imports when it is loaded."""
    waiting = {module(path): imported(path, lazily=False) - {module(path)} for path in FILES}
    while waiting:
        free = {name for name, needs in waiting.items() if not needs & waiting.keys()}
        assert free, f"these import each other: {sorted(waiting)}"
        waiting = {name: needs for name, needs in waiting.items() if name not in free}

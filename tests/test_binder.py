"""What mybinder.org and NeuroLibre are told: packages that the chapters run on, and sets that can be fetched."""

import ast
import json
import os
import re

import pytest
from books import ROOT
from pipeline import keys, notebooks

BINDER = ROOT / "binder"
#: Names by which packages are imported, where these are not their own.
IMPORTED = {"PIL": "pillow", "skimage": "scikit-image", "pywt": "pywavelets"}


def wanted() -> set[str]:
    """The packages that the environment is to have."""
    lines = (BINDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {line.lower() for line in lines if re.match(r"[A-Za-z]", line)}


def imports() -> set[str]:
    """What the chapters and the module import that is neither Python's nor this project's."""
    import sys

    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "istapp").rglob("*.py")]
    for path in notebooks.chapters():
        cells = notebooks.code_cells(notebooks.read(path))
        sources += [text for cell in cells if not (text := "".join(cell["source"])).startswith("%%")]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"istapp", "google"}


def test_every_import_of_the_chapters_is_in_the_environment() -> None:
    """All but what is optional, and what comes with a package that is there."""
    along = {"bm3d", "triton"}  # an extra of the module; a part of torch's GPU build
    along |= {"scipy", "cycler", "IPython", "matplotlib_inline"}  # parts of scikit-image, matplotlib, ipykernel
    missing = {name for name in imports() if IMPORTED.get(name, name).lower() not in wanted()} - along
    assert missing == set() and "torch" in imports()


def test_every_package_has_a_version() -> None:
    """Each is pinned by the constraints that the requirements name."""
    assert "-c ../constraints.txt" in (BINDER / "requirements.txt").read_text(encoding="utf-8")
    assert wanted() <= keys.pins().keys()
    assert (BINDER / "runtime.txt").read_text() == "python-3.11\n"


def test_the_module_is_installed_and_nothing_beside_it() -> None:
    """The script is run as a program."""
    script = BINDER / "postBuild"
    assert os.access(script, os.X_OK) and "--no-deps" in script.read_text(encoding="utf-8")


def test_the_sets_are_fetched_by_the_books_own_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement runs as it stands once its folder is put in, and asks for sets that the book knows."""
    told = json.loads((BINDER / "data_requirement.json").read_text(encoding="utf-8"))
    assert told.keys() == {"src", "dst", "projectName"} and not os.path.isabs(told["dst"])
    asked = []
    monkeypatch.setattr("istapp.images.datasets.download", asked.append)
    monkeypatch.setenv("XDG_CACHE_HOME", "before")
    exec(told["src"].replace("_dst", repr("some/folder")), {})
    from istapp.images import registry

    assert os.environ["XDG_CACHE_HOME"] == "some/folder"
    assert asked and all(registry.SETS[name].address for name in asked)

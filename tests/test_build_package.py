"""The package: complete when installed, and on a bare machine in need of nothing but its four dependencies."""

import pkgutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, copy_sources

import istapp

#: Triton comes with PyTorch for an Nvidia GPU, and these kernels are imported there alone.
FOR_A_GPU = {"istapp.method.kernels"}
MODULES = [module.name for module in pkgutil.walk_packages(istapp.__path__, "istapp.") if module.name not in FOR_A_GPU]
GUARD = """
import builtins, importlib, sys
allowed = {"istapp", "torch", "numpy", "PIL", "safetensors"} | sys.stdlib_module_names
real = builtins.__import__
def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    if importer.partition(".")[0] == "istapp" and not level and name.partition(".")[0] not in allowed:
        raise ImportError(f"{importer} imports {name}")
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = guarded
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_modules_import_on_a_bare_machine():
    subprocess.run([sys.executable, "-c", GUARD, *MODULES], check=True, cwd=ROOT)


def test_what_is_for_a_gpu_needs_triton_alone_and_nobody_imports_it_at_the_top():
    guard = GUARD.replace('"istapp",', '"istapp", "triton",').replace("in sys.argv[1:]", "in ()")
    for name in FOR_A_GPU:
        stand_in = "import sys; from unittest.mock import MagicMock\n" + "".join(
            f"sys.modules['{part}'] = MagicMock()\n" for part in ("triton", "triton.language")
        )
        code = f"{guard}{stand_in}importlib.import_module('{name}')"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    code = f"{GUARD}assert not set({sorted(FOR_A_GPU)}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, *MODULES], check=True, cwd=ROOT)


def test_the_guard_notices_other_packages(tmp_path):
    (tmp_path / "istapp").mkdir()
    (tmp_path / "istapp" / "__init__.py").write_text("")
    (tmp_path / "istapp" / "figures.py").write_text("import matplotlib\n")
    done = subprocess.run([sys.executable, "-c", GUARD, "istapp.figures"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "istapp.figures imports matplotlib" in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a copy of the sources, unpacked; an earlier one has left results that were deleted since."""
    checkout = copy_sources(tmp_path_factory.mktemp("wheel") / "checkout")
    left = checkout / "build" / "lib" / "istapp" / "data" / "results" / "deleted.csv"
    left.parent.mkdir(parents=True)
    left.write_text("method,psnr\n")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*command, checkout / "dist", checkout], check=True)
    (built,) = (checkout / "dist").glob("*.whl")
    zipfile.ZipFile(built).extractall(checkout.parent / "site")
    return checkout.parent / "site"


def test_wheel_holds_every_module_and_all_data(wheel):
    sources = [path.relative_to(ROOT) for path in (ROOT / "istapp").rglob("*.py")]
    data = [path.relative_to(ROOT) for path in (ROOT / "data").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    expected = sources + [Path("istapp") / path for path in data]
    assert not [str(path) for path in expected if not (wheel / path).exists()]


def test_wheel_holds_no_deleted_results(wheel):
    assert not (wheel / "istapp" / "data" / "results" / "deleted.csv").exists()


def test_installed_package_works_away_from_the_checkout(wheel, tmp_path):
    code = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from istapp.basics import paths
from istapp.images import datasets
assert paths.DATA.is_relative_to(sys.argv[1]), paths.DATA
print(datasets.photo("chelsea").size)
"""
    done = subprocess.run([sys.executable, "-c", code, wheel], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "(300, 451)\n", done.stderr


def test_dependencies_have_lower_bounds_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"] + project["optional-dependencies"]["chapters"]:
        assert ">=" in requirement and not set("<=!~,") & set(requirement.replace(">=", "")), requirement


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=lambda command: command[0])
def test_the_linter_finds_nothing_in_module_chapters_and_tests(command):
    whole = [sys.executable, "-m", "ruff", *command, "--no-cache", ROOT]
    done = subprocess.run(whole, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_types_of_module_and_build_fit():
    whole = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    done = subprocess.run(whole, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout

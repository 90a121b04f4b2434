"""The chapters in Colab, without Colab: its list of packages, a stub of its module, a clone redirected to a copy."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import papermill
import pytest
from conftest import ROOT, copy_sources
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pipeline.notebooks import chapters

URL = "https://github.com/someone/a-book"
#: Colab's module for files, in which a reader chooses what lies in a folder and downloads are noted.
FILES = """
from pathlib import Path

def upload():
    chosen = {{file.name: file.read_bytes() for file in Path({chosen}).iterdir()}}
    for name, data in chosen.items():  # Colab leaves them in the working folder, too
        Path(name).write_bytes(data)
    return chosen

def download(name):
    with open("downloads.txt", "a") as noted:
        print(Path(name).name, file=noted)
"""
#: The part by which Colab asks the browser for the notebook.
MESSAGE = """
def blocking_request(kind, timeout_sec=None):
    assert kind == "get_ipynb"
    cells = [{"cell_type": "markdown", "metadata": {}, "source": ["# Your own photograph\\n", "mine"]}]
    return {"ipynb": {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 0}}
"""
pytestmark = pytest.mark.xdist_group("colab")


def frozen() -> dict[str, str]:
    """Colab's packages and their versions."""
    lines = (ROOT / "tests" / "colab_runtime_freeze.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def with_dependencies(names: list[str]) -> set[str]:
    """The packages `names` and all they need, as far as they are installed here."""
    found, waiting = set(), [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        try:
            needed = [Requirement(line) for line in metadata.requires(name) or []] if name not in found else []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        waiting += [canonicalize_name(r.name) for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def bare_environment(folder: Path, visible: set[str]) -> Path:
    """Make an environment that sees, of the packages installed here, those in `visible` only; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    here, mirror = Path(sysconfig.get_paths()["purelib"]), folder / "mirror"
    mirror.mkdir()
    for name in visible:
        tops = {file.parts[0] for file in metadata.files(name) or []} - {"..", "__pycache__"}
        for top in tops:
            if (here / top).exists() and not (mirror / top).exists():
                (mirror / top).symlink_to(here / top)
    (site_packages(folder) / "mirror.pth").write_text(f"{mirror}\n")
    return folder / "env" / "bin" / "python"


def site_packages(folder: Path) -> Path:
    """Where the bare environment's own packages go."""
    return next((folder / "env" / "lib").glob("python*/site-packages"))


@pytest.fixture(scope="module")
def colab(tmp_path_factory) -> Path:
    """A folder with a copy of the project at its address, and an environment and a kernel as Colab has them."""
    folder = tmp_path_factory.mktemp("colab")
    copy = copy_sources(folder / "origin")
    subprocess.run([sys.executable, "book/build.py", "address", URL], cwd=copy, check=True)
    git = ["git", "-c", "user.name=reader", "-c", "user.email=reader@example.org", "-C", copy]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "a copy"]):
        subprocess.run([*git, *command], check=True)
    has = [name for name in frozen() if canonicalize_name(name) not in ("istapp", "myst-nb", "papermill")]
    python = bare_environment(folder, with_dependencies([*has, "pip", "setuptools", "ipykernel"]))
    stub = folder / "stub"
    (stub / "google" / "colab").mkdir(parents=True)
    (stub / "google" / "colab" / "__init__.py").touch()
    (stub / "google" / "colab" / "files.py").write_text(FILES.format(chosen=repr(str(folder / "chosen"))))
    (stub / "google" / "colab" / "_message.py").write_text(MESSAGE)
    (folder / "chosen").mkdir()
    (stub / "sitecustomize.py").write_text("import google.colab\n")  # as Colab's kernel does
    redirect = {"COUNT": "1", "KEY_0": f"url.{copy.as_uri()}.insteadOf", "VALUE_0": URL}
    kernel = folder / "share" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    specification = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Colab",
        "language": "python",
        "env": {"PYTHONPATH": str(stub)} | {f"GIT_CONFIG_{name}": value for name, value in redirect.items()},
    }
    (kernel / "kernel.json").write_text(json.dumps(specification))
    return folder


def execute(colab: Path, notebook: Path) -> None:
    """Run a notebook in the stub of Colab, in an empty folder, as a reader who opens it there."""
    shutil.rmtree(colab / "content", ignore_errors=True)
    (colab / "content").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(colab / "share"))
        for variable in ("ISTAPP_DATA", "ISTAPP_OFFICIAL", "PYTHONPATH"):
            patch.delenv(variable, raising=False)
        papermill.execute_notebook(
            notebook, colab / "output.ipynb", {"profile": "smoke"}, kernel_name="colab", cwd=colab / "content",
            progress_bar=False,
        )  # fmt: skip


def imports() -> list[str]:
    """Every import of every chapter."""
    sources = [
        "".join(cell["source"])
        for path in chapters()
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code" and not "".join(cell["source"]).startswith("%%")  # a file, not code
    ]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    return sorted({ast.unparse(node) for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))})


@pytest.fixture(scope="module")
def opened(colab: Path) -> Path:
    """Colab's folder after chapter 13 with its upload switched on, up to the photograph.

    All imports of all chapters come before it, and the cell that keeps what a reader wrote comes after it.
    """
    notebook = json.loads((colab / "origin" / "notebooks" / "13_your_own_photograph.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in code]
    opens = next(n for n, source in enumerate(sources) if "original = opened(photo, upload)" in source)
    kept = next(n for n, source in enumerate(sources) if "work.save(keep)" in source)
    assert 'keep = ""' in sources[kept]
    code[kept]["source"] = sources[kept].replace('keep = ""', 'keep = "download"')
    asked = next(n for n in range(opens) if "upload = False" in sources[n])
    code[asked]["source"] = sources[asked].replace("upload = False", "upload = True")
    looks = "assert (original.name, original.size, original.colour) == ('mine', (300, 451), True), original"
    every = code[opens] | {"id": "imports", "source": "\n".join(imports())}
    looked = code[opens] | {"id": "looks", "source": looks}
    notebook["cells"] = [*code[:2], every, *code[2 : opens + 1], looked, code[kept]]
    (colab / "chapter.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    shutil.copy(ROOT / "data" / "photos" / "chelsea.png", colab / "chosen" / "mine.png")
    execute(colab, colab / "chapter.ipynb")
    return colab


def test_a_chapter_runs_in_colab_and_every_one_finds_its_imports(opened):
    installed = {path.name.partition("-")[0] for path in site_packages(opened).glob("*.dist-info")}
    assert installed == {"istapp"}, "the setup cell installs the package and nothing else"
    assert (opened / "content" / "istapp-book" / "istapp").is_dir()


def test_a_photograph_is_taken_from_the_reader_and_work_is_kept(opened):
    (file,) = (opened / "content").glob("your-own-photograph-*.ipynb")
    assert json.loads(file.read_text())["cells"][0]["source"] == ["# Your own photograph\n", "mine"]
    assert (opened / "content" / "downloads.txt").read_text().split() == [file.name]


@pytest.mark.verify
@pytest.mark.parametrize("chapter", chapters(), ids=lambda path: path.stem)
def test_every_chapter_runs_in_colab(chapter, colab):
    execute(colab, colab / "origin" / "notebooks" / chapter.name)


@pytest.mark.parametrize("demand", [None, "numpy>=99"])
def test_installation_replaces_nothing_of_colabs(tmp_path, demand):
    """With all extras wanted, pip installs the package alone over Colab's list, and fails where that falls short."""
    installers = {"pip", "setuptools"}  # real ones, since they must work
    python = bare_environment(tmp_path, installers)
    for name, version in ((name, version) for name, version in frozen().items() if name not in installers):
        info = site_packages(tmp_path) / f"{re.sub('[-.]+', '_', name)}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    copy = copy_sources(tmp_path / "checkout")
    if demand:
        project = copy / "pyproject.toml"
        project.write_text(project.read_text().replace("numpy>=1.26", demand))
    command = [python, "-m", "pip", "install", "--quiet", "--dry-run", "--no-index", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--report", tmp_path / "report.json", f"{copy}[chapters]"],
        capture_output=True, text=True, env={**os.environ, "PIP_FIND_LINKS": ""},
    )  # fmt: skip
    if demand:
        assert done.returncode and "numpy>=99" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / "report.json").read_text())
        assert [item["metadata"]["name"] for item in report["install"]] == ["istapp"]

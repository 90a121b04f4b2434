"""What several test files share: the folders of official files and image sets, and copies of the checkout."""

import os
import shutil
from pathlib import Path

import pytest
from books import build, enter, write_book
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before any test imports torch: threads of two workers spin

settings.register_profile("untimed", deadline=None)  # a busy machine is no bug
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parents[1]
NOT_SOURCES = shutil.ignore_patterns(
    ".git", ".venv", "build", "runs", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)


def copy_sources(to: Path) -> Path:
    """Copy the project's sources, as a clone would have them, to the new folder `to`."""
    return Path(shutil.copytree(ROOT, to, ignore=NOT_SOURCES))


def _folder(variable: str, what: str) -> Path:
    given = os.environ.get(variable)
    if not given or not Path(given).is_dir():
        pytest.skip(f"{variable} does not name a folder with {what}")
    return Path(given)


@pytest.fixture(scope="session")
def official_dir() -> Path:
    """Folder of the official checkpoints and sampling matrices; skips where ISTAPP_OFFICIAL is not set."""
    return _folder("ISTAPP_OFFICIAL", "the official weights")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the image sets; skips where ISTAPP_DATA is not set."""
    return _folder("ISTAPP_DATA", "the image sets")


@pytest.fixture
def whole_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every training as whole, whatever weights lie in this checkout."""
    monkeypatch.setattr("istapp.paper.results.trained", lambda run: 1.0)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with two files of rows, a curve and their ledger, for tests to copy."""
    from test_results import store, whole

    from istapp.paper import ledger

    folder = tmp_path_factory.mktemp("recorded")
    store(folder / "main.csv", whole("28.4000", ratio="10", ssim=""))
    store(folder / "other.csv", whole("20.0000", ratio="10", ssim="", run="ista-net-pp-laptop"))
    (folder / "other.curve.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("istapp.paper.results.trained", lambda run: 1.0)
        ledger.write(folder)
    return folder


@pytest.fixture
def results_folder(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_training: None) -> Path:
    """A copy of the recorded results, which the module takes for its own."""
    monkeypatch.setattr("istapp.basics.paths.RESULTS", tmp_path)
    return Path(shutil.copytree(recorded, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project's sources to be edited at will."""
    return copy_sources(tmp_path / "checkout")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small book after its first build, beside an unfinished notebook and a foreign kernel that is called python3."""
    folder = tmp_path_factory.mktemp("build")
    book = write_book(folder / "trial")
    (book / "notebooks" / "Untitled.ipynb").write_text("")
    foreign = folder / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text('{"argv": ["/bin/false"], "display_name": "Foreign", "language": "python"}')
    done = build(book, "book", JUPYTER_PATH=str(folder / "jupyter"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("make book: done in")
    return book


@pytest.fixture
def book(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the built book to be edited, which the build's functions in this process work on."""
    copy = Path(shutil.copytree(built, tmp_path / "trial"))
    enter(copy, monkeypatch)
    return copy

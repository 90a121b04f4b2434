"""Where the project's own files lie, and how a file is written so that a good one is never lost."""

import os
from collections.abc import Callable
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

#: The folder of photos, weights and results, `data/` of a checkout or `istapp/data` where a wheel was installed.
DATA = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent / "data"
PHOTOS = DATA / "photos"
WEIGHTS = DATA / "weights"
RESULTS = DATA / "results"

#: Unfinished training state, kept out of version control.
RUNS = Path(os.environ.get("ISTAPP_RUNS", "runs"))


def write_atomically(path: str | Path, writer: Callable[[Path], None]) -> None:
    """Let `writer` fill a file beside `path`, then rename it over `path`.

    A full disk, an exception or Ctrl-C leaves whatever was at `path` untouched. The parent folder is created.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, since some writers choose their format by it.
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        writer(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)

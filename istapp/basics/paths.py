"""Where the project's own files lie, and how a file is written so that a good one is never lost."""

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from istapp.basics.errors import UserError, reason

_PACKAGE = Path(__file__).resolve().parents[1]

#: The folder of photos, weights and results, `data/` of a checkout or `istapp/data` where a wheel was installed.
DATA = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent / "data"
PHOTOS = DATA / "photos"
WEIGHTS = DATA / "weights"
RESULTS = DATA / "results"


def _runs() -> Path:
    """Return where training leaves what is unfinished, the same from wherever a command is called."""
    if os.environ.get("ISTAPP_RUNS"):
        return Path(os.environ["ISTAPP_RUNS"]).absolute()
    if DATA.parent != _PACKAGE:  # a checkout
        return DATA.parent / "runs"
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state, "istapp").absolute()


#: Unfinished training state, kept out of version control.
RUNS = _runs()


def write_atomically(path: str | Path, writer: Callable[[Path], object]) -> None:
    """Let `writer` fill a file beside `path`, then rename it over `path`.

    A full disk, an exception or Ctrl-C leaves whatever was at `path` untouched. The parent folder is created. Where
    `path` is a symbolic link the file that it points to is written, and the link stays.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, since some writers choose their format by it; the name may be as long as names can be.
    suffix = path.suffix if len(path.suffix) < 20 else ""
    beside = path.with_name(f".{path.stem[:40]}.{os.getpid()}{suffix}")
    try:
        writer(beside)
        if path.exists():
            shutil.copymode(path, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows to a CSV file, beside and then renamed.

    Raises:
        OSError: the file cannot be written.
        ValueError: a row has another column.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, lambda beside: beside.write_text(text.getvalue(), encoding="utf-8"))


def read_table(path: str | Path, columns: Sequence[str], what: str = "") -> list[dict[str, str]]:
    """Return the rows of a CSV file as text, with these columns and no others; none where there is no file.

    Where it is said `what` the file is to be, other columns are refused; else they are dropped, or left empty.

    Raises:
        OSError: the file cannot be read.
        UserError: it is another kind of file.
    """
    if not Path(path).exists():
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if what and tuple(reader.fieldnames or ()) != tuple(columns):
            raise UserError(f"{path} is not {what}: its columns are not {','.join(columns)}")
        return [{column: row.get(column) or "" for column in columns} for row in reader]


def refuse_unwritable(path: str | Path, folder: bool = False) -> None:
    """Find out before any work whether a file, or files in a `folder`, could be written there; nothing is left.

    Raises:
        UserError: they cannot.
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path))
        if folder and target.exists() and not target.is_dir():
            raise UserError(f"{path} is a file; name a folder")
        if not folder and target.is_dir():
            raise UserError(f"{path} is a folder; name a file")
        if not folder and target.exists() and not target.is_file():
            raise UserError(f"{path} is a device or a pipe; name a file")
        if target.exists() and not os.access(target, os.W_OK):
            raise UserError(f"cannot write {path}: it is write-protected")
        first = target if folder else target.parent
        there = next(each for each in (first, *first.parents) if each.exists())
        if not there.is_dir():
            raise UserError(f"cannot write {path}: {there} is not a folder")
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(bytes(4096))
            probe.flush()
    except OSError as error:
        raise UserError(f"cannot write {path}: {reason(error)}") from None

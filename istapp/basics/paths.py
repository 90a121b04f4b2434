"""Where the project's own files lie, and how a file is written so that a good one is never lost."""

import csv
import io
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from istapp.basics.errors import UserError, reason

_PACKAGE = Path(__file__).resolve().parents[1]

#: The folder of photos, weights and results, `data/` of a checkout or `istapp/data` where a wheel was installed.
DATA = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent / "data"
PHOTOS = DATA / "photos"
WEIGHTS = DATA / "weights"
RESULTS = DATA / "results"


def weights_of(run: str) -> Path:
    """Return where the weights of a finished run lie in the project, whether they are there or not."""
    return WEIGHTS / f"{run}.safetensors"


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
        OSError: the folder or the file cannot be written; it names the file.
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
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # a full disk, which does not say of what
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


def write_records(path: str | Path, records: Sequence[Any], add: bool = False) -> None:
    """Write dataclasses, all of one kind, to a CSV file, `add`: behind its rows; floats with six digits.

    Raises:
        OSError: the file cannot be written.
        UserError: rows are to be added, and what is there is no table.
    """
    columns = [field.name for field in fields(records[0])]
    if add and Path(path).exists() and not set(columns) & set(read_text(path).partition("\n")[0].strip().split(",")):
        raise UserError(f"{path} is another table: it has none of the columns {','.join(columns)}")
    texts = [{k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in asdict(each).items()} for each in records]
    write_table(path, columns, [*(read_table(path, columns) if add else []), *texts])


def read_table(
    path: str | Path, columns: Sequence[str], what: str = "", numbers: Sequence[str] = (), failed: str = ""
) -> list[dict[str, str]]:
    """Return the rows of a CSV file as text, with these columns and no others; none where there is no file.

    Where it is said `what` the file is to be, other columns are refused; else they are dropped, or left empty. In the
    columns `numbers` stand finite numbers, or the word for what `failed`.

    Raises:
        UserError: the file cannot be read, is of another kind, ends within a row, or holds a number that is none; the
            message names the line.
    """
    if not Path(path).exists():
        return []
    rows = parse_table(read_text(path), path, *([columns] if what else []), what=what)
    found = []
    for where, row in rows:
        found.append({column: row.get(column, "") for column in columns})
        for column in numbers:
            if not (is_number(text := found[-1][column]) or failed and text == failed):
                raise UserError(no_number(where, column, text))
    return found


def is_number(text: str) -> bool:
    """Tell whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def no_number(where: str, column: str, text: str) -> str:
    """Return what to say of a row where a number should stand and does not."""
    return f"{where}: {column} is '{text[:40]}', which is no number; delete that line and take the row again"


def read_text(path: str | Path) -> str:
    """Return the text of a file, its line ends as they are.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def parse_table(
    text: str, path: str | Path, *headers: Sequence[str], what: str = ""
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every row in the text of a CSV file, and before it where it stands, as ``FILE, line 3``.

    `headers` are the columns that it may have, whichever where none are given; `path` and `what` the file is are for
    errors.

    Raises:
        UserError: it has other columns or ends within a row, or one of `headers` is asked for and a line is empty; the
            message names the line.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = tuple(next(reader, ()))
        if headers and header not in map(tuple, headers):
            raise UserError(f"{path} is not {what}: its columns are not {','.join(headers[0])}")
        for values in reader:
            where = f"{path}, line {reader.line_num}"
            if not values and headers:
                raise UserError(f"{where} is empty: the file was edited; delete that line")
            if not values:
                continue
            if len(values) != len(header):
                raise UserError(
                    f"{where} has {len(values)} of {len(header)} columns: the file was cut off or edited; put back the "
                    "whole file, or delete that line and take the row again"
                )
            yield where, dict(zip(header, values))
    except csv.Error as error:
        raise UserError(f"cannot read {path}: line {reader.line_num}: {error}") from None


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

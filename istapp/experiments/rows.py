"""Rows of results: what each column says, one reader that trusts no file, and one writer that loses no row.

A row is a reconstruction of one image. Names say what it is called; `pixels`, `weights` and `code` say what it was made
of (`identity`), so that two folders of one name, or two states of one file, are never taken for each other.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from istapp.basics.errors import UserError
from istapp.basics.paths import is_number, no_number, parse_table, read_text, write_table

#: What a row was made of: hashes of the image's pixels, of the tensors, of code and options. Empty where rows that were
#: taken before these columns cannot tell.
IDENTITY = ("pixels", "weights", "code")

#: The columns of a result file. `ratio` is in percent; `seed` is the sampling matrix's; `run` the experiment's id.
COLUMNS = (
    "method", "dataset", "image", "ratio", "seed", "psnr", "ssim", "seconds", "run", "variant", "provenance", *IDENTITY
)  # fmt: skip

#: Files of these columns are read as well, and written with all of them.
FORMER_COLUMNS = tuple(name for name in COLUMNS if name not in IDENTITY)

#: What a row is called: it takes the place of the row that has the same in all of these.
NAME = ("method", "dataset", "image", "ratio", "seed", "run", "variant")

Row = dict[str, str]


def name_of(row: Row) -> tuple[str, ...]:
    """Return what a row is called."""
    return tuple(row[column] for column in NAME)


def is_header(line: str) -> bool:
    """Tell whether a file that begins with this line holds rows of results."""
    return tuple(line.strip().split(",")) in (COLUMNS, FORMER_COLUMNS)


def read_rows(path: str | Path) -> list[Row]:
    """Return the rows of a result file as text, each with every one of `COLUMNS`.

    Raises:
        UserError: the file cannot be read, has other columns, ends within a row, or holds a number that is none; the
            message names the line.
    """
    return parse(read_text(path), path)


def parse(text: str, path: str | Path) -> list[Row]:
    """Return the rows in the text of a result file, as `read_rows` does; `path` says in errors where it came from.

    Raises:
        UserError: as `read_rows`.
    """
    found = parse_table(text, path, COLUMNS, FORMER_COLUMNS, what="a file of results")
    return [_checked(dict.fromkeys(COLUMNS, "") | row, where) for where, row in found]


def _checked(row: Row, where: str) -> Row:
    for column, may_be_empty in (("ratio", False), ("psnr", False), ("ssim", True), ("seconds", False)):
        exact = column == "psnr" and row[column] == "inf"  # two equal images
        if not (is_number(row[column]) or exact or (may_be_empty and not row[column])):
            raise UserError(no_number(where, column, row[column]))
    return row


def put(path: str | Path, row: Row, beside: Collection[str] = ()) -> None:
    """Store a row in a file that other processes may be writing to as well: theirs stay.

    The row takes the place of a row of its name, unless that one's pixels are among `beside`: those of further images
    that bear the same name in the same set.

    Raises:
        UserError: what lies at `path` is no file of results.
        OSError: it cannot be written; what was there is untouched.
    """
    path = Path(path)
    with _alone_in(path.parent):
        stored = read_rows(path) if path.exists() else []
        kept: list[Row] = []
        for old in stored:
            if name_of(old) != name_of(row) or (old["pixels"] != row["pixels"] and old["pixels"] in beside):
                kept.append(old)
            elif row not in kept:
                kept.append(row)
        write_rows(path, kept if row in kept else [*kept, row])


def write_rows(path: str | Path, rows: Iterable[Row]) -> None:
    """Write rows to a file, beside and then renamed; without a lock, see `put`.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    write_table(path, COLUMNS, rows)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes of this project from writing to files of a folder, until the block is left.

    The folder itself is locked: no file is left over, and the system frees the lock of a process that died. Where there
    are no such locks (Windows, some network drives), the row is still put into the file as it is at that moment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

"""How the book is made: execute what changed, lay the pages out, write the HTML, check it."""

from pathlib import Path

#: The checkout; every path of the build is relative to it, so that a copy in a test builds itself.
ROOT = Path(__file__).resolve().parents[2]


class BuildError(Exception):
    """What a reader of the terminal must know; shown as it is, without a traceback."""

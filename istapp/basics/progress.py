"""The one line of progress on a terminal, and how long the rest will take."""

import math
import sys
import time
from collections.abc import Callable
from typing import Self


def line(text: str, log: bool = False) -> None:
    """Show one line of progress on standard error, in place of the one before.

    Where that is no terminal, such as the log of a cluster's job, only what is for the `log` is written, line by line.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"\r\x1b[K{text[:200]}", end="", file=sys.stderr, flush=True)
    elif sys.stderr is not None and log:
        print(text, file=sys.stderr, flush=True)


def time_left(seconds: float) -> str:
    """Return a time as text, in seconds or minutes: ``42 s left``."""
    return f"{seconds:.0f} s left" if seconds < 100 else f"{seconds / 60:.0f} min left"


class Progress:
    """Shows how much of `total` is done and how long the rest will take, twice a second at most."""

    def __init__(self, what: str, total: float) -> None:
        """Begin to count the time; `what` stands in front of each line."""
        self.what, self.total = what, total
        self.start, self.shown = time.monotonic(), -math.inf

    def left(self, done: float) -> str:
        """Return how long the rest will take at the speed so far, as text; empty where nothing is done yet."""
        if not done:
            return ""
        return time_left((time.monotonic() - self.start) / done * (self.total - done))

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away, also on Ctrl-C."""
        line("")

    def show(self, done: float, about: str | Callable[[], str] = "") -> None:
        """Tell that `done` of the total is done, and something about it, which is asked for only when it is shown."""
        now = time.monotonic()
        if now - self.shown > 0.5 or done >= self.total:
            self.shown = now
            told = about if isinstance(about, str) else about()
            parts = [f"{self.what} {100 * done / self.total:.0f} %", self.left(done), told]
            line(", ".join(filter(None, parts)))
        if done >= self.total:
            line("")

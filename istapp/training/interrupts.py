"""Signals: a stop that waits for the step at hand, and a deadline that waits for nothing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class StopAsked:
    """While active, Ctrl-C and SIGTERM ask for a stop after the current step instead of breaking it off."""

    def __enter__(self) -> "StopAsked":
        self.asked = False
        self._before: dict[int, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        except ValueError:  # not in the main thread: no signals arrive there
            pass
        return self

    def _ask(self, *_: object) -> None:
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Overdue(Exception):
    """A way was not done when its time was over."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise Overdue inside the context after some seconds; outside the main thread nothing can."""
    if seconds <= 0:
        raise Overdue
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(*_: object) -> None:
        """Interrupt whatever runs."""
        raise Overdue

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again, should a library have swallowed the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

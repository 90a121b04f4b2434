"""Two networks against each other, as chapters 08, 09 and 10 put it: which rows, what interval, and which word."""

from collections.abc import Iterable

from istapp.paper import results
from istapp.paper.results import Difference, Row


def rows_of(rows: Iterable[Row], run: str, dataset: str, percent: float = 10) -> list[Row]:
    """Return a run's rows on a set at a ratio in percent, with the sampling matrix of seed 0; none if not yet run."""
    return results.select(rows, run=run, dataset=dataset, ratio=percent, seed="0", variant="")


def word(difference: Difference) -> str:
    """Return what the interval says of the first of two: better, worse, or that it cannot tell."""
    if not difference.resolved:
        return "not resolved at this size"
    return "better" if difference.low > 0 else "worse"


def interval(difference: Difference, digits: int = 3) -> str:
    """Return the 95 % interval in dB, such as ``[+0.154, +0.288]``."""
    return f"[{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"


def said(difference: Difference, digits: int = 2) -> str:
    """Return mean, interval and word: ``+0.22 dB [+0.15, +0.29], better``."""
    return f"{difference.mean:+.{digits}f} dB {interval(difference, digits)}, {word(difference)}"


def compared(rows: Iterable[Row], one: str, other: str, dataset: str, percent: float = 10) -> Difference | None:
    """Return how much better one run is than another, image by image; None where one has no rows."""
    ours, theirs = (rows_of(rows, run, dataset, percent) for run in (one, other))
    return results.difference(ours, theirs) if ours and theirs else None

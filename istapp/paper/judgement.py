"""How a number of the paper gets ours beside it and a verdict.

A published number is judged in one of three ways. *Measured*: the mean of rows of a run with the paper's
configuration, within 0.1 dB or two deviations (`results.verdict`). *Built*: parameters counted in the network itself.
*Arithmetic*: the paper's own numbers against each other. Beside stand, and decide nothing, the laptop edition and what
the authors' released weights give in our evaluation.

`tabulated` has the numbers of the tables, `statements` those of the text; chapter 12 shows the lot.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import fmean

from istapp import methods, paper
from istapp.basics.errors import UserError
from istapp.experiments.campaigns import ALL
from istapp.paper import results
from istapp.paper.results import EXCEEDED, NOT_MEASURABLE, NOT_REPRODUCED, NOT_RUN, REPRODUCED, Row

#: The verdicts, best first.
VERDICTS = (EXCEEDED, REPRODUCED, NOT_REPRODUCED, NOT_RUN, NOT_MEASURABLE)

#: Rows by method and set, so that each of some hundred numbers need not look at all of them.
Rows = Mapping[tuple[str, str], Sequence[Row]]

#: Why a set cannot be repeated that the registry does not hold.
NO_PROTOCOL = "the paper does not say how it took {}'s photographs, and their full size is no registered set"


@dataclass(frozen=True)
class Entry:
    """One published number.

    Attributes:
        id: where it stands, such as ``table1/Set11/10/ista-net-pp``.
        where: the same for people.
        what: what the number is.
        unit: ``dB``, ``s``, ``million`` or ``numbers`` of parameters, or empty.
        published: as printed.
        ours: what it is compared with, None while there is nothing.
        edition: ``paper``, ``built`` or ``arithmetic`` where that judged it, ``laptop`` where only that stands beside.
        laptop: the laptop edition's number.
        released: what the authors' released weights give in our evaluation; they trained them, we only measured.
        spread: standard deviation of ours, None where unknown.
        verdict: one of `VERDICTS`.
        note: the reason, the command, or what to bear in mind.
        run: the experiments behind ours.
        provenance: commit and weights behind ours.
        sources: what was measured for it, with its rows, by what it is called: ours, laptop edition, released weights.
    """

    id: str
    where: str
    what: str
    unit: str
    published: float
    ours: float | None = None
    edition: str = ""
    laptop: float | None = None
    released: float | None = None
    spread: float | None = None
    verdict: str = NOT_RUN
    note: str = ""
    run: str = ""
    provenance: str = ""
    sources: tuple[tuple[str, "Measured"], ...] = field(default=(), compare=False, repr=False)

    @property
    def difference(self) -> float | None:
        """Ours minus published."""
        return None if self.ours is None else self.ours - self.published


@dataclass(frozen=True)
class Measured:
    """A number made of rows: value, spread, whether every image is in it, where the rows come from, and the rows."""

    value: float
    spread: float | None
    whole: bool
    run: str
    provenance: str
    rows: tuple[Row, ...] = field(default=(), compare=False, repr=False)


def grouped(rows: Iterable[Row]) -> Rows:
    """Sort rows by method and set."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["method"], row["dataset"]), []).append(row)
    return found


def measure(rows: Rows, method: str, dataset: str, ratio: float, edition: str, run: str | None = None,
            variant: str = "") -> Measured | None:  # fmt: skip
    """Return `results.cell` of one edition, or None while there is none."""
    cell = results.cell(rows.get((method, dataset), ()), method, dataset, ratio, run, variant, edition)
    if cell is None:
        return None
    origin = "; ".join(sorted({row["provenance"] for row in cell.rows}))
    return Measured(cell.psnr, cell.spread, cell.whole, cell.run, origin, cell.rows)


def released(rows: Rows, method: str, dataset: str, ratio: float) -> Measured | None:
    """Return what the authors' released weights give on a whole set, as published; None while no rows say so."""
    own = [row for row in rows.get((method, dataset), ()) if row["run"] == results.RELEASED]
    variants = sorted({row["variant"] for row in own} - {"blockwise"})
    found = [measure(rows, method, dataset, ratio, "paper", results.RELEASED, variant) for variant in variants]
    return next((cell for cell in found if cell and cell.whole), None)


def _joined(parts: Sequence[Measured], value: float, spread: float | None) -> Measured:
    runs, origins = (dict.fromkeys(getattr(p, name) for p in parts) for name in ("run", "provenance"))
    return Measured(value, spread, all(p.whole for p in parts), "; ".join(runs), "; ".join(origins),
                    tuple(row for p in parts for row in p.rows))  # fmt: skip


def mean(parts: Sequence[Measured | None]) -> Measured | None:
    """Return the mean of measured numbers; its spread is at most the mean of theirs, whatever their correlation."""
    there = [part for part in parts if part is not None]
    if len(there) < len(parts) or not there:
        return None
    spreads = [part.spread for part in there if part.spread is not None]
    return _joined(there, fmean(p.value for p in there), fmean(spreads) if len(spreads) == len(there) else None)


def minus(a: Measured | None, b: Measured | None) -> Measured | None:
    """Return the difference of two measured numbers, their spreads taken as independent."""
    if a is None or b is None:
        return None
    known = a.spread is not None and b.spread is not None
    return _joined([a, b], a.value - b.value, math.hypot(a.spread or 0, b.spread or 0) if known else None)


def largest(parts: Sequence[Measured | None]) -> Measured | None:
    """Return the largest of measured numbers, None while one is missing."""
    return None if None in parts or not parts else max((p for p in parts if p), key=lambda p: p.value)


def judged(entry: Entry, ours: Measured | None, laptop: Measured | None, command: str, reason: str = "") -> Entry:
    """Fill in an entry: its verdict, or what to run, or (given a `reason`) why it cannot be measured."""
    beside = laptop.value if laptop and laptop.whole else None
    sources = [(name, each) for name, each in (("ours", ours), ("laptop edition", laptop)) if each]
    entry = replace(entry, laptop=beside, edition="laptop" if beside is not None else "",
                    sources=(*sources, *entry.sources))  # fmt: skip
    if ours is not None and ours.whole:
        verdict = results.verdict(entry.published, ours.value, ours.spread)
        entry = replace(entry, ours=ours.value, spread=ours.spread, edition="paper", verdict=verdict, run=ours.run,
                        provenance=ours.provenance, note=_training(ours.run))  # fmt: skip
    elif not reason:
        partly = "some images are missing; " if ours else ""
        return replace(entry, note=partly + command)
    return replace(entry, verdict=NOT_MEASURABLE, note=reason) if reason else entry


def _training(runs: str) -> str:
    sets = dict.fromkeys(ALL[run].training_set for run in runs.split("; ") if run in ALL)
    return f"trained on {' and '.join(sets)}" if sets else ""


def command(method: str, dataset: str, ratio: float, run: str = "") -> str:
    """Return what would make the rows of a cell, in words where there is no command yet."""
    candidates = [ALL[run]] if run in ALL else [
        e for e in ALL.values()
        if not run and e.method == method and e.main and ratio in e.ratios and results.edition(e.id) == "paper"
    ]  # fmt: skip
    if candidates:
        then = "" if dataset in candidates[0].tests else f", then evaluate it on {dataset}"
        return f"istapp train {candidates[0].id}{then}"
    try:
        kind = methods.class_of(method).kind
    except (UserError, ImportError):
        return f"{method} is not in the module yet"
    if kind == "network":
        return f"no experiment trains {method} for this yet"
    options = f"--dataset {dataset} --ratios {100 * ratio:g} --out data/results/{method}.csv"
    return f"istapp evaluate --method {method} {options}"


def arithmetic(id_: str, where: str, what: str, published: float, ours: float, within: float = 0.0051,
               unit: str = "dB", note: str = "") -> Entry:  # fmt: skip
    """Judge a printed number by other printed ones: the same within rounding, or not."""
    verdict = REPRODUCED if abs(ours - published) <= within else NOT_REPRODUCED
    return Entry(f"arithmetic/{id_}", where, what, unit, published, ours, "arithmetic", verdict=verdict, note=note)


@cache
def counts(method: str) -> tuple[int, ...]:
    """Return the parameters of the networks that a method needs for five ratios, none while it is not there."""
    try:
        network = methods.class_of(method)
    except (UserError, ImportError):
        return ()
    build: Callable[..., methods.Method] = network
    if "ratio" in inspect.signature(network).parameters:
        return tuple(build(ratio=ratio).parameter_count for ratio in paper.RATIOS)
    return (build().parameter_count,)

"""How a number of the paper gets ours beside it and its verdicts.

Beside a printed number stand up to four measured ones, its `Witnesses`: our own run at the paper's size, one of that
size after a part of its training, the laptop edition, and the authors' released weights. `verdicts` has the rules.

`tabulated` has the numbers of the tables, `statements` those of the text; chapter 12 and the status page show the lot.
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
from istapp.paper import results, verdicts
from istapp.paper.results import Row

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
        kind: ``cell`` for a PSNR in a table, ``average`` for a mean of such, ``claim`` for a measured number of the
            text, ``count``, ``sum`` for the paper's own arithmetic, ``time``.
        ours: our own, of a run at the paper's size whose training is whole, counted or added up; None while there is
            none.
        part: that of a network of the paper's size after a part of its training.
        laptop: the laptop edition's.
        released: what the authors' released weights give in our evaluation; they trained them, we only measured.
        spread: standard deviation of ours in the same unit, None where unknown.
        verdicts: one or two of `verdicts.VERDICTS`: what the released weights say, and what our own run says.
        note: the reason, or what to bear in mind.
        command: what would make ours, where it is missing and can be made.
        run: the experiments behind ours, or behind what stands beside.
        provenance: commit and weights behind ours.
        sources: what was measured for it, with its rows, by what it is called: ours, part, laptop, released.
    """

    id: str
    where: str
    what: str
    unit: str
    published: float
    kind: str = "claim"
    ours: float | None = None
    part: float | None = None
    laptop: float | None = None
    released: float | None = None
    spread: float | None = None
    verdicts: tuple[str, ...] = (verdicts.NOT_RUN,)
    note: str = ""
    command: str = ""
    run: str = ""
    provenance: str = ""
    sources: tuple[tuple[str, "Measured"], ...] = field(default=(), compare=False, repr=False)

    @property
    def difference(self) -> float | None:
        """Ours minus published."""
        return None if self.ours is None else self.ours - self.published

    @property
    def verdict(self) -> str:
        """The verdicts as text, that of the released weights first."""
        return "; ".join(self.verdicts)


@dataclass(frozen=True)
class Measured:
    """A number made of rows: value, spread, whether every image is in it, where the rows come from, and the rows."""

    value: float
    spread: float | None
    whole: bool
    run: str
    provenance: str
    rows: tuple[Row, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Witnesses:
    """What was measured for one printed number: see `Entry`."""

    ours: Measured | None = None
    part: Measured | None = None
    laptop: Measured | None = None
    released: Measured | None = None


def grouped(rows: Iterable[Row]) -> Rows:
    """Sort rows by method and set."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["method"], row["dataset"]), []).append(row)
    return found


def measure(rows: Rows, method: str, dataset: str, ratio: float, edition: str, run: str | None = None,
            variant: str | None = None) -> Measured | None:  # fmt: skip
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


def witnesses(rows: Rows, method: str, dataset: str, ratio: float) -> Witnesses:
    """Return what a method's default networks and the authors' weights give on a set at a CS ratio in (0, 1]."""
    ours, part, laptop = (measure(rows, method, dataset, ratio, edition) for edition in results.EDITIONS)
    return Witnesses(ours, part, laptop, released(rows, method, dataset, ratio))


def of_runs(rows: Rows, method: str, dataset: str, ratio: float, paper_run: str, laptop_run: str = "",
            variant: str | None = None) -> Witnesses:  # fmt: skip
    """Return what two named runs give, one of the paper's size and, if there is one, its laptop edition."""
    ours, part = (measure(rows, method, dataset, ratio, edition, paper_run, variant) for edition in ("paper", "part"))
    laptop = measure(rows, method, dataset, ratio, "laptop", laptop_run, variant) if laptop_run else None
    return Witnesses(ours, part, laptop)


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


def minus(parts: Sequence[Measured | None]) -> Measured | None:
    """Return the difference of two measured numbers, their spreads taken as independent."""
    a, b = parts
    if a is None or b is None:
        return None
    known = a.spread is not None and b.spread is not None
    return _joined([a, b], a.value - b.value, math.hypot(a.spread or 0, b.spread or 0) if known else None)


def largest(parts: Sequence[Measured | None]) -> Measured | None:
    """Return the largest of measured numbers, None while one is missing."""
    return None if None in parts or not parts else max((p for p in parts if p), key=lambda p: p.value)


def combined(how: Callable[[Sequence[Measured | None]], Measured | None], parts: Sequence[Witnesses]) -> Witnesses:
    """Return what `mean`, `minus` or `largest` makes of several numbers, witness by witness."""
    return Witnesses(*(how([getattr(part, name) for part in parts]) for name in Witnesses.__dataclass_fields__))


def judged(entry: Entry, found: Witnesses, command: str, reason: str = "") -> Entry:
    """Fill in an entry: what was measured, its verdicts, what to run for ours; or why it cannot be measured."""
    own = {name: each for name in Witnesses.__dataclass_fields__ if (each := getattr(found, name))}
    whole = {name: each for name, each in own.items() if each.whole}
    entry = replace(entry, **{name: each.value for name, each in whole.items()},
                    sources=(*own.items(), *entry.sources))  # fmt: skip
    if reason:
        return replace(entry, verdicts=(verdicts.NOT_MEASURABLE,), note=reason)
    said, notes = [], []
    if theirs := whole.get("released"):
        said.append(verdicts.reproduction(entry.published, theirs.value, theirs.spread))
        off = f"released weights {theirs.value - entry.published:+.2f} dB"
        notes += [off] * (said[0] == verdicts.NOT_REPRODUCED)
    shown = next((name for name in ("ours", "part", "laptop") if name in whole), "")
    if shown in ("ours", "part"):
        mine = whole[shown]
        said.append(verdicts.replication(entry.published, mine.value, mine.spread, shown == "ours"))
        notes += _training(mine.run)
    elif not said:
        said.append(verdicts.LAPTOP if shown else verdicts.NOT_RUN)
    if said[1:] == [verdicts.PART]:
        said.pop()  # what decides nothing adds nothing to a verdict
    notes += ["some images are missing"] * ("ours" in own.keys() - whole.keys())
    entry = replace(entry, verdicts=tuple(said), note="; ".join(notes), run=whole[shown].run if shown else "")
    if shown != "ours":
        return replace(entry, command=command)
    return replace(entry, spread=whole["ours"].spread, provenance=whole["ours"].provenance)


def _training(runs: str) -> list[str]:
    """Return on which images runs were trained, and on how much of their pixels where that is not all."""
    own = [run for run in runs.split("; ") if run in ALL]
    sets = dict.fromkeys(ALL[run].training_set for run in own)
    said = [f"trained on {' and '.join(sets)}"] if sets else []
    return said + [f"{run}: {share}" for run in dict.fromkeys(own) if (share := results.share(run))]


def command(method: str, dataset: str, ratio: float, run: str = "") -> str:
    """Return what would make the rows of a cell, in words where there is no command yet."""
    candidates = [ALL[run]] if run in ALL else [
        e for e in ALL.values()
        if not run and e.method == method and e.main and ratio in e.ratios and e.edition == "paper"
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
    said = verdicts.ADDS_UP if abs(ours - published) <= within else verdicts.DOES_NOT_ADD_UP
    return Entry(f"arithmetic/{id_}", where, what, unit, published, "sum", ours, verdicts=(said,), note=note)


def counted(entry: Entry, ours: float | None, within: float = 0.0) -> Entry:
    """Judge a number by what the module or the registered sets hold: the same within rounding, or not."""
    entry = replace(entry, kind="count", ours=ours)
    if ours is None:
        return replace(entry, verdicts=(verdicts.NOT_MEASURABLE,), note="there is nothing to count it in")
    same = abs(ours - entry.published) <= within + 1e-12
    return replace(entry, verdicts=(verdicts.COUNTED if same else verdicts.COUNTED_OTHERWISE,))


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

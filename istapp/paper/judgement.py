"""What stands beside a number of the paper, and the verdicts that follow.

Beside a printed number stand up to four measured ones, its `Witnesses`: our own run at the paper's size, one of that
size after a part of its training, the laptop edition, and the authors' released weights. `verdicts` has the words and
their rules, `entries` the printed numbers, `ledger` what is stored and printed of them.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from istapp.experiments.campaigns import ALL, Experiment
from istapp.paper import results, verdicts
from istapp.paper.results import Cell, Row

#: Rows by method and set, so that each of some hundred numbers need not look at all of them.
Rows = Mapping[tuple[str, str], Sequence[Row]]


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
    sources: tuple[tuple[str, Cell], ...] = field(default=(), compare=False, repr=False)

    @property
    def difference(self) -> float | None:
        """Ours minus published."""
        return None if self.ours is None else self.ours - self.published

    @property
    def verdict(self) -> str:
        """The verdicts as text, that of the released weights first."""
        return "; ".join(self.verdicts)


@dataclass(frozen=True)
class Witnesses:
    """What was measured for one printed number: see `Entry`."""

    ours: Cell | None = None
    part: Cell | None = None
    laptop: Cell | None = None
    released: Cell | None = None

    def there(self) -> dict[str, Cell]:
        """Return what there is, by its name."""
        return {name: cell for name in self.__dataclass_fields__ if (cell := getattr(self, name))}


def grouped(rows: Iterable[Row]) -> Rows:
    """Sort rows by method and set."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["method"], row["dataset"]), []).append(row)
    return found


def released(rows: Rows, method: str, dataset: str, ratio: float) -> Cell | None:
    """Return what the authors' released weights give on a whole set, as published; None while no rows say so."""
    own = [row for row in rows.get((method, dataset), ()) if row["run"] == results.RELEASED]
    forms = sorted({row["variant"] for row in own} - {"blockwise"})
    found = (results.cell(own, method, dataset, ratio, results.RELEASED, form) for form in forms)
    return next((cell for cell in found if cell and cell.whole), None)


def witnesses(rows: Rows, method: str, dataset: str, ratio: float) -> Witnesses:
    """Return what a method's default networks and the authors' weights give on a set at a CS ratio in (0, 1]."""
    own = rows.get((method, dataset), ())
    ours, part, laptop = (results.cell(own, method, dataset, ratio, wanted=edition) for edition in results.EDITIONS)
    return Witnesses(ours, part, laptop, released(rows, method, dataset, ratio))


def of_runs(
    rows: Rows, runs: Iterable[Experiment], dataset: str, ratio: float, variant: str = "", theirs: Cell | None = None
) -> Witnesses:
    """Return what named runs give, one of each edition at most, and `theirs` of the released weights."""
    cells = [results.cell(rows.get((e.method, dataset), ()), e.method, dataset, ratio, e.id, variant) for e in runs]
    by = {cell.edition: cell for cell in cells if cell}
    return Witnesses(by.get("paper"), by.get("part"), by.get("laptop"), theirs)


Combination = Callable[[Sequence[Cell | None]], Cell | None]


def _joined(parts: Sequence[Cell], value: float, spread: float | None) -> Cell:
    runs = "; ".join(dict.fromkeys(part.run for part in parts))
    rows = tuple(row for part in parts for row in part.rows)
    return Cell(value, spread, runs, parts[0].edition, rows, all(part.whole for part in parts))


def mean(parts: Sequence[Cell | None]) -> Cell | None:
    """Return the mean of measured numbers; its spread is at most the mean of theirs, whatever their correlation."""
    there = [part for part in parts if part is not None]
    if len(there) < len(parts) or not there:
        return None
    spreads = [part.spread for part in there if part.spread is not None]
    return _joined(there, fmean(p.psnr for p in there), fmean(spreads) if len(spreads) == len(there) else None)


def minus(parts: Sequence[Cell | None]) -> Cell | None:
    """Return the difference of two measured numbers, their spreads taken as independent."""
    a, b = parts
    if a is None or b is None:
        return None
    known = a.spread is not None and b.spread is not None
    return _joined([a, b], a.psnr - b.psnr, math.hypot(a.spread or 0, b.spread or 0) if known else None)


def largest(parts: Sequence[Cell | None]) -> Cell | None:
    """Return the largest of measured numbers, None while one is missing."""
    return None if None in parts or not parts else max((p for p in parts if p), key=lambda p: p.psnr)


def combined(how: Combination, parts: Sequence[Witnesses]) -> Witnesses:
    """Return what `mean`, `minus` or `largest` makes of several numbers, witness by witness."""
    return Witnesses(*(how([getattr(part, name) for part in parts]) for name in Witnesses.__dataclass_fields__))


def judged(entry: Entry, found: Witnesses, command: str, reason: str = "", rises: bool = True) -> Entry:
    """Fill in an entry: what was measured, its verdicts, what to run for ours; or why it cannot be measured.

    Args:
        entry: the printed number.
        found: what was measured for it.
        command: what would make ours.
        reason: why nobody can measure it, or nothing.
        rises: whether the rest of a training could only raise the number, so that a part of it may speak. The rest
            could lower a difference: it might be the other network that learns from it.
    """
    own = found.there()
    whole = {name: cell for name, cell in own.items() if cell.whole}
    entry = replace(entry, **{name: cell.psnr for name, cell in whole.items()}, sources=tuple(own.items()))
    if reason:
        return replace(entry, verdicts=(verdicts.NOT_MEASURABLE,), note=reason)
    said, notes = [], []
    if theirs := whole.get("released"):
        said.append(verdicts.reproduction(entry.published, theirs.psnr, theirs.spread))
        off = f"released weights {theirs.psnr - entry.published:+.2f} dB"
        notes += [off] * (said[0] == verdicts.NOT_REPRODUCED)
    shown = next((name for name in ("ours", "part", "laptop") if name in whole), "")
    if shown in ("ours", "part"):
        mine = whole[shown]
        whole_training = shown == "ours"
        verdict = verdicts.replication(entry.published, mine.psnr, mine.spread, whole_training)
        said.append(verdict if whole_training or rises else verdicts.PART)
        notes += _training(mine.run)
    elif not said:
        said.append(verdicts.LAPTOP if shown else verdicts.NOT_RUN)
    if said[1:] == [verdicts.PART]:
        said.pop()  # what decides nothing adds nothing to a verdict
    notes += ["some images are missing"] * ("ours" in own.keys() - whole.keys())
    entry = replace(entry, verdicts=tuple(said), note="; ".join(notes), run=whole[shown].run if shown else "")
    if shown != "ours":
        return replace(entry, command=command)
    origins = dict.fromkeys(row["provenance"] for row in whole["ours"].rows)
    return replace(entry, spread=whole["ours"].spread, provenance="; ".join(sorted(origins)))


def _training(runs: str) -> list[str]:
    """Return on which images runs were trained, and on how much of their pixels where that is not all."""
    own = [run for run in runs.split("; ") if run in ALL]
    sets = dict.fromkeys(ALL[run].training_set for run in own)
    said = [f"trained on {' and '.join(sets)}"] if sets else []
    return said + [f"{run}: {share}" for run in dict.fromkeys(own) if (share := results.share(run))]


def arithmetic(id_: str, where: str, what: str, published: float, ours: float, within: float = 0.0051,
               unit: str = "dB", note: str = "") -> Entry:  # fmt: skip
    """Judge a printed number by other printed ones: the same within rounding, or not."""
    said = verdicts.ADDS_UP if abs(ours - published) <= within else verdicts.DOES_NOT_ADD_UP
    return Entry(f"arithmetic/{id_}", where, what, unit, published, "sum", ours, verdicts=(said,), note=note)


def counted(entry: Entry, ours: float, within: float = 0.0) -> Entry:
    """Judge a number by what the module or the registered sets hold: the same within rounding, or not."""
    same = abs(ours - entry.published) <= within + 1e-12
    said = verdicts.COUNTED if same else verdicts.COUNTED_OTHERWISE
    return replace(entry, kind="count", ours=ours, verdicts=(said,))

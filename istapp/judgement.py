"""How a number of the paper gets ours beside it and a verdict, and so every number of Tables 1 to 4.

A published number is judged in one of three ways. *Measured*: the mean of rows of a run with the paper's
configuration, within 0.1 dB or two deviations (`results.verdict`). *Built*: parameters counted in the network itself.
*Arithmetic*: the paper's own numbers against each other. Beside stand, and decide nothing, the laptop edition and what
the authors' released weights give in our evaluation. Chapter 12 shows the lot.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean

from istapp import methods, paper, registry, results
from istapp.errors import UserError
from istapp.experiments import ALL
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.results import EXCEEDED, NOT_MEASURABLE, NOT_REPRODUCED, NOT_RUN, REPRODUCED, Row

#: The verdicts, best first.
VERDICTS = (EXCEEDED, REPRODUCED, NOT_REPRODUCED, NOT_RUN, NOT_MEASURABLE)

#: Rows by method and set, so that each of some hundred numbers need not look at all of them.
Rows = Mapping[tuple[str, str], Sequence[Row]]

#: Rows of `seconds.csv`, see `istapp.benchmarks`.
Timings = Sequence[Mapping[str, str]]

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

    @property
    def difference(self) -> float | None:
        """Ours minus published."""
        return None if self.ours is None else self.ours - self.published


@dataclass(frozen=True)
class Measured:
    """A number made of rows: its value, its spread, whether every image is in it, and where the rows come from."""

    value: float
    spread: float | None
    whole: bool
    run: str
    provenance: str


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
    return Measured(cell.psnr, cell.spread, cell.whole, cell.run, origin)


def released(rows: Rows, method: str, dataset: str, ratio: float) -> Measured | None:
    """Return what the authors' released weights give on a whole set, as published; None while no rows say so."""
    own = [row for row in rows.get((method, dataset), ()) if row["run"] == results.RELEASED]
    variants = {row["variant"] for row in own} - {"blockwise"}
    found = [measure(rows, method, dataset, ratio, "paper", results.RELEASED, variant) for variant in variants]
    return next((cell for cell in found if cell and cell.whole), None)


def _joined(parts: Sequence[Measured], value: float, spread: float | None) -> Measured:
    runs, origins = (dict.fromkeys(getattr(p, name) for p in parts) for name in ("run", "provenance"))
    return Measured(value, spread, all(p.whole for p in parts), "; ".join(runs), "; ".join(origins))


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
    entry = replace(entry, laptop=beside, edition="laptop" if beside is not None else "")
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


def unmeasurable(method: str, dataset: str, rows: Rows, ratio: float) -> str:
    """Return why nobody can repeat a cell of Table 1 or 2, or nothing."""
    if method == "nlr-csnet":
        return "neither its code nor its layers were published; ours is in its spirit only"
    if dataset in registry.SETS:
        return ""
    crops = measure(rows, method, f"{dataset}-crop256", ratio, "paper")
    return NO_PROTOCOL.format(dataset) + (f"; 256 x 256 crops: {crops.value:.2f} dB, another number" if crops else "")


def _cells(rows: Rows, table: int, method: str, label: str, dataset: str, numbers: paper.Numbers,
           average: float | None) -> list[Entry]:  # fmt: skip
    """The cells of one method on one set, their average, and whether the printed average is that of the cells."""
    ratios = paper.RATIOS if table == 1 else paper.THREE
    found, parts = [], []
    for ratio, number in zip(ratios, numbers, strict=True):
        ours, laptop = (measure(rows, method, dataset, ratio, edition) for edition in ("paper", "laptop"))
        theirs = released(rows, method, dataset, ratio)
        parts.append((ours, laptop, theirs))
        if number is not None:
            id_ = f"table{table}/{dataset}/{100 * ratio:g}/{method}"
            where, beside = f"Table {table}, {dataset} {100 * ratio:g} %", theirs and theirs.value
            entry = Entry(id_, where, label, "dB", number, released=beside)
            reason = unmeasurable(method, dataset, rows, ratio)
            found.append(judged(entry, ours, laptop, command(method, dataset, ratio), reason))
    if average is not None:
        ours, laptop, theirs = (mean([part[n] for part in parts]) for n in range(3))
        id_, where = f"table{table}/{dataset}/average/{method}", f"Table {table}, {dataset} Avg."
        entry = Entry(id_, where, label, "dB", average, released=theirs and theirs.value)
        hint = next((e.note for e in found if e.verdict == NOT_RUN), "")
        reason = unmeasurable(method, dataset, {}, ratios[0])
        found.append(judged(entry, ours, laptop, hint, reason))
        id_, what = f"table{table}/{dataset}/{method}", f"{label}, recomputed"
        found.append(arithmetic(id_, entry.where, what, average, fmean(n or 0 for n in numbers)))
    return found


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


def _count(id_: str, what: str, unit: str, published: float, ours: float | None, note: str = "") -> Entry:
    """Judge a count: exact where printed in full, within 1 % or the last digit where printed in millions."""
    where = "Table 4, parameters" if unit == "numbers" else "Table 1, parameters"
    entry = Entry(id_, where, what, unit, published, ours, note=note)
    if ours is None:
        return replace(entry, note="the network is not in the module yet")
    within = 0 if unit == "numbers" else max(0.005, 0.01 * published)
    verdict = REPRODUCED if abs(ours - published) <= within + 1e-12 else NOT_REPRODUCED
    return replace(entry, edition="built", verdict=verdict)


def _comparison(rows: Rows, row: paper.Comparison, timings: Timings) -> list[Entry]:
    """A row of Table 1: ten cells, two averages, parameters and time."""
    found = _cells(rows, 1, row.method, row.label, "BSD68", row.bsd68, row.bsd68_average)
    found += _cells(rows, 1, row.method, row.label, "Set11", row.set11, row.set11_average)
    if row.parameters:
        one, rest = row.parameters.split("M × ")
        times, total = rest.removesuffix("M").split(" = ")
        own = [count / 1e6 for count in counts(row.method)]
        first, everything = (own[0], sum(own)) if own else (None, None)
        span = f"from {own[0]:.2f} (10 %) to {own[-1]:.2f} (50 %)" if own and own[0] != own[-1] else ""
        unit, name = "million", row.label
        found += [
            _count(f"table1/parameters/one/{row.method}", f"{name}, one network", unit, float(one), first, span),
            _count(f"table1/parameters/all/{row.method}", f"{name}, five ratios", unit, float(total), everything, span),
            arithmetic(f"parameters/{row.method}", "Table 1, parameters", f"{name}: {one} times {times}", float(total),
                       float(one) * int(times), 0.06, unit),
        ]  # fmt: skip
    return [*found, _time(row, timings)]


def _time(row: paper.Comparison, timings: Timings) -> Entry:
    """The time of a row of Table 1: ours stands beside it and judges nothing, since it is another machine's."""
    cpu, _, gpu = row.time.partition("/")
    device, value = ("GPU", gpu) if cpu == "-" else ("CPU", cpu)
    entry = Entry(
        f"table1/time/{row.method}", "Table 1, time", f"{row.label} ({device})", "s", float(value.removesuffix("s")),
        verdict=NOT_MEASURABLE, note="another machine; the released timer stops without waiting for the GPU",
    )  # fmt: skip
    timed = [own for own in timings if own["method"] == row.method and own["ratio"] == "10"]
    if not timed:
        return entry
    own = timed[-1]
    where = f"ours: {own['device'].upper()} {own['machine']}, {own['threads']} thread" + "s" * (own["threads"] != "1")
    return replace(entry, laptop=float(own["median"]), edition="laptop", note=f"{entry.note}; {where}", run=own["run"])


def _trained_on(rows: Rows, row: paper.TrainingSet) -> list[Entry]:
    """A row of Table 3, BSD68 at 30 %: the training set decides the run."""
    own = "T91" if row.trained_on == "Train91" else row.trained_on
    found = []
    for method, value in row.psnr.items():
        fit = [e.id for e in ALL.values() if e.method == method and e.training_set == own and 0.3 in e.ratios
               and results.edition(e.id) == "paper" and (e.main or own == "T91")]  # fmt: skip
        what = f"{method} trained on {row.trained_on}"
        entry = Entry(f"table3/{row.trained_on}/{method}", f"Table 3, {row.trained_on}", what, "dB", value)
        ours = measure(rows, method, "BSD68", 0.3, "paper", fit[0]) if fit else None
        hint = command(method, "BSD68", 0.3, fit[0]) if fit else f"no experiment trains {method} on {own} yet"
        found.append(judged(entry, ours, None, hint))
        if row.trained_on == "Train91":
            printed = paper.published(method, "BSD68", 0.3)
            found.append(arithmetic(f"table3/{method}", "Table 3, Train91", f"{method}: Table 1, BSD68 30 %", value,
                                    printed or 0, note="so Table 1's rivals were trained on Train91"))  # fmt: skip
    return found


def ablation(rows: Rows, setting: str, ratio: float, edition: str) -> Measured | None:
    """Return ours for a cell of Table 4; (a) is the network of (b), block by block."""
    letter, prefix = ("b" if setting == "a" else setting), "laptop-" if edition == "laptop" else ""
    row = next(r for r in paper.TABLE4 if r.setting == setting)
    switches = ISTANetPP(1, 1, row.dynamic_step, row.noise_map).variant
    variant = "; ".join(filter(None, [switches, "blockwise" if setting == "a" else ""]))
    return measure(rows, "ista-net-pp", "Set11", ratio, edition, f"ista-net-pp-{prefix}table4-{letter}", variant)


def _ablation_row(rows: Rows, row: paper.Ablation) -> list[Entry]:
    """A row of Table 4: three cells and a count."""
    run, found = f"ista-net-pp-table4-{'b' if row.setting == 'a' else row.setting}", []
    for ratio, value in zip(paper.THREE, row.psnr, strict=True):
        percent = f"{100 * ratio:g}"
        theirs = released(rows, "ista-net-pp", "Set11", ratio) if row.setting == "e" else None
        id_, where = f"table4/{row.setting}/{percent}", f"Table 4, Set11 {percent} %"
        entry = Entry(id_, where, f"({row.setting})", "dB", value or 0, released=theirs and theirs.value)
        ours, laptop = (ablation(rows, row.setting, ratio, edition) for edition in ("paper", "laptop"))
        then = ", then evaluate it block by block" if row.setting == "a" else ""
        found.append(judged(entry, ours, laptop, command("ista-net-pp", "Set11", ratio, run) + then))
    built = ISTANetPP(20, 32, row.dynamic_step, row.noise_map).parameter_count
    note = "" if built == row.parameters else "the count of (b) is repeated; the condition module is missing in it"
    return [
        *found,
        _count(f"table4/{row.setting}/parameters", f"({row.setting})", "numbers", row.parameters, built, note),
    ]


def tables(rows: Rows, timings: Timings = ()) -> list[Entry]:
    """Return an entry for every number of Tables 1 to 4, in the paper's order."""
    found = [entry for row in paper.TABLE1 for entry in _comparison(rows, row, timings)]
    for large in paper.TABLE2:
        found += _cells(rows, 2, large.method, large.label, "Urban100", large.urban100, large.urban100_average)
        found += _cells(rows, 2, large.method, large.label, "DIV2K", large.div2k, large.div2k_average)
    found += [entry for third in paper.TABLE3 for entry in _trained_on(rows, third)]
    return found + [entry for fourth in paper.TABLE4 for entry in _ablation_row(rows, fourth)]

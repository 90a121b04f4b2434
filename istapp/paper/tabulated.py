"""The numbers in the paper's Tables 1 to 4: what each cell prints, what ours is, what can be counted or added up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from istapp import paper
from istapp.experiments.campaigns import ALL
from istapp.images import registry
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.paper.judgement import (
    NO_PROTOCOL,
    Entry,
    Rows,
    Witnesses,
    arithmetic,
    combined,
    command,
    counted,
    counts,
    judged,
    mean,
    measure,
    of_runs,
    released,
    witnesses,
)
from istapp.paper.verdicts import NOT_MEASURABLE

#: Rows of `seconds.csv`, see `istapp.experiments.method_times`.
Timings = Sequence[Mapping[str, str]]


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
    parts = [witnesses(rows, method, dataset, ratio) for ratio in ratios]
    found = []
    for ratio, number, part in zip(ratios, numbers, parts, strict=True):
        if number is not None:
            percent, reason = f"{100 * ratio:g}", unmeasurable(method, dataset, rows, ratio)
            id_, where = f"table{table}/{dataset}/{percent}/{method}", f"Table {table}, {dataset} {percent} %"
            entry = Entry(id_, where, label, "dB", number, "cell")
            found.append(judged(entry, part, command(method, dataset, ratio), reason))
    if average is not None:
        id_, where = f"table{table}/{dataset}/average/{method}", f"Table {table}, {dataset} Avg."
        entry = Entry(id_, where, label, "dB", average, "average")
        hint = next((e.command for e in found if e.command), "")
        found.append(judged(entry, combined(mean, parts), hint, unmeasurable(method, dataset, {}, ratios[0])))
        id_, what = f"table{table}/{dataset}/{method}", f"{label}, recomputed"
        found.append(arithmetic(id_, where, what, average, fmean(n or 0 for n in numbers)))
    return found


def _comparison(rows: Rows, row: paper.Comparison, timings: Timings) -> list[Entry]:
    """A row of Table 1: ten cells, two averages, parameters and time."""
    found = _cells(rows, 1, row.method, row.label, "BSD68", row.bsd68, row.bsd68_average)
    found += _cells(rows, 1, row.method, row.label, "Set11", row.set11, row.set11_average)
    if row.parameters:
        one, rest = row.parameters.split("M × ")
        times, total = rest.removesuffix("M").split(" = ")
        own = [count / 1e6 for count in counts(row.method)]
        span = f"from {own[0]:.2f} (10 %) to {own[-1]:.2f} (50 %)" if own and own[0] != own[-1] else ""
        where, unit, name = "Table 1, parameters", "million", row.label
        printed = (("one", "one network", float(one), own[0]), ("all", "five ratios", float(total), sum(own)))
        for kind, what, value, ours in printed:  # in millions: the same within 1 % or the last digit
            entry = Entry(f"table1/parameters/{kind}/{row.method}", where, f"{name}, {what}", unit, value, note=span)
            found.append(counted(entry, ours, max(0.005, 0.01 * value)))
        found.append(arithmetic(f"parameters/{row.method}", where, f"{name}: {one} times {times}", float(total),
                                float(one) * int(times), 0.06, unit))  # fmt: skip
    return [*found, _time(row, timings)]


def _time(row: paper.Comparison, timings: Timings) -> Entry:
    """The time of a row of Table 1: ours stands beside it and judges nothing, since it is another machine's."""
    cpu, _, gpu = row.time.partition("/")
    device, value = ("GPU", gpu) if cpu == "-" else ("CPU", cpu)
    note = "another machine; the released timer stops without waiting for the GPU"
    entry = Entry(f"table1/time/{row.method}", "Table 1, time", f"{row.label} ({device})", "s",
                  float(value.removesuffix("s")), "time", verdicts=(NOT_MEASURABLE,), note=note)  # fmt: skip
    timed = [own for own in timings if own["method"] == row.method and own["ratio"] == "10"]
    if not timed:
        return entry
    own = timed[-1]
    where = f"ours: {own['device'].upper()} {own['machine']}, {own['threads']} thread" + "s" * (own["threads"] != "1")
    return replace(entry, laptop=float(own["median"]), note=f"{entry.note}; {where}", run=own["run"])


def _trained_on(rows: Rows, row: paper.TrainingSet) -> list[Entry]:
    """A row of Table 3, BSD68 at 30 %: the training set decides the run."""
    own = "T91" if row.trained_on == "Train91" else row.trained_on
    found = []
    for method, value in row.psnr.items():
        fit = [e.id for e in ALL.values() if e.method == method and e.training_set == own and 0.3 in e.ratios
               and e.edition == "paper" and (e.main or own == "T91")]  # fmt: skip
        what = f"{method} trained on {row.trained_on}"
        entry = Entry(f"table3/{row.trained_on}/{method}", f"Table 3, {row.trained_on}", what, "dB", value, "cell")
        there = of_runs(rows, method, "BSD68", 0.3, fit[0]) if fit else Witnesses()
        if row.trained_on == "Train91":  # the cell of Table 1, and so the same released weights
            there = replace(there, released=released(rows, method, "BSD68", 0.3))
        hint = command(method, "BSD68", 0.3, fit[0]) if fit else f"no experiment trains {method} on {own} yet"
        found.append(judged(entry, there, hint))
        if row.trained_on == "Train91":
            printed = paper.published(method, "BSD68", 0.3)
            found.append(arithmetic(f"table3/{method}", "Table 3, Train91", f"{method}: Table 1, BSD68 30 %", value,
                                    printed or 0, note="so Table 1's rivals were trained on Train91"))  # fmt: skip
    return found


def ablation(rows: Rows, setting: str, ratio: float) -> Witnesses:
    """Return ours for a cell of Table 4; (a) is the network of (b), block by block."""
    letter = "b" if setting == "a" else setting
    row = next(r for r in paper.TABLE4 if r.setting == setting)
    switches = ISTANetPP(1, 1, row.dynamic_step, row.noise_map).variant
    variant = "; ".join(filter(None, [switches, "blockwise" if setting == "a" else ""]))
    runs = (f"ista-net-pp-{prefix}table4-{letter}" for prefix in ("", "laptop-"))
    there = of_runs(rows, "ista-net-pp", "Set11", ratio, *runs, variant=variant)
    return replace(there, released=released(rows, "ista-net-pp", "Set11", ratio)) if setting == "e" else there


def _ablation_row(rows: Rows, row: paper.Ablation) -> list[Entry]:
    """A row of Table 4: three cells and a count."""
    run, found = f"ista-net-pp-table4-{'b' if row.setting == 'a' else row.setting}", []
    for ratio, value in zip(paper.THREE, row.psnr, strict=True):
        percent = f"{100 * ratio:g}"
        id_, where = f"table4/{row.setting}/{percent}", f"Table 4, Set11 {percent} %"
        entry = Entry(id_, where, f"({row.setting})", "dB", value or 0, "cell")
        then = ", then evaluate it block by block" if row.setting == "a" else ""
        hint = command("ista-net-pp", "Set11", ratio, run) + then
        found.append(judged(entry, ablation(rows, row.setting, ratio), hint))
    built = ISTANetPP(20, 32, row.dynamic_step, row.noise_map).parameter_count
    note = "" if built == row.parameters else "the count of (b) is repeated; the condition module is missing in it"
    id_, where = f"table4/{row.setting}/parameters", "Table 4, parameters"
    return [*found, counted(Entry(id_, where, f"({row.setting})", "numbers", row.parameters, note=note), built)]


def tables(rows: Rows, timings: Timings = ()) -> list[Entry]:
    """Return an entry for every number of Tables 1 to 4, in the paper's order."""
    found = [entry for row in paper.TABLE1 for entry in _comparison(rows, row, timings)]
    for large in paper.TABLE2:
        found += _cells(rows, 2, large.method, large.label, "Urban100", large.urban100, large.urban100_average)
        found += _cells(rows, 2, large.method, large.label, "DIV2K", large.div2k, large.div2k_average)
    found += [entry for third in paper.TABLE3 for entry in _trained_on(rows, third)]
    return found + [entry for fourth in paper.TABLE4 for entry in _ablation_row(rows, fourth)]

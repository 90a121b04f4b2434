"""Every number that the paper prints, as an entry of the ledger: Tables 1 to 4 first, then what the text states.

Each is measured where rows can be taken, counted where the module or the registered sets hold it, and added up where
the paper's own numbers give it.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean
from typing import Any

from istapp import methods, paper
from istapp.basics import paths
from istapp.experiments.campaigns import Experiment, main_runs, matching
from istapp.images import registry
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.paper import results
from istapp.paper.artefacts import command
from istapp.paper.judgement import (
    Entry,
    Rows,
    Witnesses,
    arithmetic,
    combined,
    counted,
    judged,
    largest,
    mean,
    minus,
    of_runs,
    released,
    witnesses,
)
from istapp.paper.verdicts import NOT_MEASURABLE

#: Rows of `seconds.csv`, see `istapp.experiments.method_times`.
Timings = Sequence[Mapping[str, str]]

#: What our own eyes saw on the photographs of some sets.
SCENES = paths.DATA / "scenes.csv"

#: The paper's network and the one that it is compared with.
OWN, RIVAL = "ista-net-pp", "ista-net-plus"

#: How the registry calls the paper's training sets.
TRAINING_SETS = {"Train91": "T91", "Train400": "Train400"}


def all_entries(rows: Rows, timings: Timings = ()) -> list[Entry]:
    """Return an entry for every number, in the paper's order."""
    found = [entry for row in paper.TABLE1 for entry in _comparison(rows, row, timings)]
    for large in paper.TABLE2:
        found += _cells(rows, 2, large.method, large.label, "Urban100", large.urban100, large.urban100_average)
        found += _cells(rows, 2, large.method, large.label, "DIV2K", large.div2k, large.div2k_average)
    found += [entry for third in paper.TABLE3 for entry in _trained_on(rows, third)]
    found += [entry for fourth in paper.TABLE4 for entry in _ablation(rows, fourth)]
    return found + [
        *_setting(), *_stages(rows), *_gains(rows), *_training_sets(rows), *_strategies(rows), *_consistency()
    ]  # fmt: skip


def unmeasurable(method: str, dataset: str, rows: Rows, ratio: float) -> str:
    """Return why nobody can repeat a cell of Table 1 or 2, or nothing."""
    if method == "nlr-csnet":
        return "neither its code nor its layers were published; ours is in its spirit only"
    if dataset in registry.SETS:
        return ""
    crops = f"{dataset}-crop256"
    own = results.cell(rows.get((method, crops), ()), method, crops, ratio, wanted="paper")
    reason = f"the paper does not say how it took {dataset}'s photographs, and their full size is no registered set"
    return reason + (f"; 256 x 256 crops: {own.psnr:.2f} dB, another number" if own else "")


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
    if size := row.parameters:
        own = [count / 1e6 for count in counts(row.method)]
        span = f"from {own[0]:.2f} (10 %) to {own[-1]:.2f} (50 %)" if own[0] != own[-1] else ""
        where, name = "Table 1, parameters", row.label
        printed = (("one", "one network", size.one, own[0]), ("all", "five ratios", size.total, sum(own)))
        for kind, what, value, ours in printed:  # in millions: the same within 1 % or the last digit
            id_ = f"table1/parameters/{kind}/{row.method}"
            entry = Entry(id_, where, f"{name}, {what}", "million", value, note=span)
            found.append(counted(entry, ours, max(0.005, 0.01 * value)))
        what, product = f"{name}: {size.one:.2f} times {size.networks}", size.one * size.networks
        found.append(arithmetic(f"parameters/{row.method}", where, what, size.total, product, 0.06, "million"))
    return [*found, _time(row, timings)]


def _time(row: paper.Comparison, timings: Timings) -> Entry:
    """The time of a row of Table 1: ours stands beside it and judges nothing, since it is another machine's."""
    note = "another machine; the released timer stops without waiting for the GPU"
    what = f"{row.label} ({row.time.device})"
    entry = Entry(f"table1/time/{row.method}", "Table 1, time", what, "s", row.time.seconds, "time",
                  verdicts=(NOT_MEASURABLE,), note=note)  # fmt: skip
    timed = [own for own in timings if own["method"] == row.method and own["ratio"] == "10"]
    if not timed:
        return entry
    order = [run.id for run in main_runs(row.method, 0.1)]  # of several networks the one that is used by default
    own = min(timed, key=lambda one: order.index(one["run"]) if one["run"] in order else len(order))
    where = f"ours: {own['device'].upper()} {own['machine']}, {own['threads']} thread" + "s" * (own["threads"] != "1")
    return replace(entry, laptop=float(own["median"]), note=f"{entry.note}; {where}", run=own["run"])


@cache
def counts(method: str) -> tuple[int, ...]:
    """Return the parameters of the network, or of the five networks for five ratios, that a method needs."""
    build: Any = methods.class_of(method)
    if "ratio" in inspect.signature(build).parameters:
        return tuple(build(ratio=ratio).parameter_count for ratio in paper.RATIOS)
    return (build().parameter_count,)


def _trained_on(rows: Rows, row: paper.TrainingSet) -> list[Entry]:
    """A row of Table 3, BSD68 at 30 %: the training set decides the run."""
    found = []
    for method, value in row.psnr.items():
        runs = matching(method=method, training_set=TRAINING_SETS[row.trained_on], edition="paper")
        fit = [e for e in runs if 0.3 in e.ratios and (e.main or "table3" in e.serves)]
        what = f"{method} trained on {row.trained_on}"
        entry = Entry(f"table3/{row.trained_on}/{method}", f"Table 3, {row.trained_on}", what, "dB", value, "cell")
        same = row.trained_on == "Train91"  # as in the cell of Table 1, and so with the same released weights
        there = of_runs(rows, fit, "BSD68", 0.3, theirs=released(rows, method, "BSD68", 0.3) if same else None)
        found.append(judged(entry, there, command(method, "BSD68", 0.3, fit[0])))
        if same:
            printed, note = paper.published(method, "BSD68", 0.3), "so Table 1's rivals were trained on Train91"
            what = f"{method}: Table 1, BSD68 30 %"
            found.append(arithmetic(f"table3/{method}", "Table 3, Train91", what, value, printed or 0, note=note))
    return found


def _runs_of(setting: str) -> list[Experiment]:
    """The runs of a setting of Table 4, the paper's size first; (a) is the network of (b), block by block."""
    return matching(setting="b" if setting == "a" else setting, repeats="")


def ablation(rows: Rows, setting: str, ratio: float) -> Witnesses:
    """Return what was measured for a cell of Table 4."""
    row = next(r for r in paper.TABLE4 if r.setting == setting)
    switches = ISTANetPP(1, 1, row.dynamic_step, row.noise_map).variant
    variant = "; ".join(filter(None, [switches, "blockwise" if setting == "a" else ""]))
    theirs = released(rows, OWN, "Set11", ratio) if setting == "e" else None
    return of_runs(rows, _runs_of(setting), "Set11", ratio, variant, theirs)


def _ablation(rows: Rows, row: paper.Ablation) -> list[Entry]:
    """A row of Table 4: three cells and a count."""
    found = []
    for ratio, value in zip(paper.THREE, row.psnr, strict=True):
        percent = f"{100 * ratio:g}"
        id_, where = f"table4/{row.setting}/{percent}", f"Table 4, Set11 {percent} %"
        entry = Entry(id_, where, f"({row.setting})", "dB", value, "cell")
        hint = command(OWN, "Set11", ratio, _runs_of(row.setting)[0], blockwise=row.setting == "a")
        found.append(judged(entry, ablation(rows, row.setting, ratio), hint))
    built = ISTANetPP(20, 32, row.dynamic_step, row.noise_map).parameter_count
    note = "" if built == row.parameters else "the count of (b) is repeated; the condition module is missing in it"
    id_, where = f"table4/{row.setting}/parameters", "Table 4, parameters"
    return [*found, counted(Entry(id_, where, f"({row.setting})", "numbers", row.parameters, note=note), built)]


def _setting() -> list[Entry]:
    """Sec. 3.1 and 3.3: the training set, the default size, and what five networks store."""
    images, default, five = registry.entries("Train400"), ISTANetPP().config, counts(RIVAL)
    sides = [side for image in images for side in (image.height, image.width)]
    note = "true where the size does not grow with the ratio: not of ReconNet and MAC-Net"
    facts = [
        ("training/images", "Sec. 3.1", "training images", 400, len(images), ""),
        ("training/side", "Sec. 3.1", "side of a training image", 180, fmean(sides), ""),
        ("stages", "Sec. 3.2", "default stages K", 20, default["stages"], ""),
        ("channels", "Sec. 3.2", "default channels C", 32, default["channels"], ""),
        ("storage", "Sec. 3.3", "five networks of ISTA-Net+ over one", 5, sum(five) / five[0], note),
    ]
    return [counted(Entry(f"text/{id_}", where, what, "", value, note=note), ours)
            for id_, where, what, value, ours, note in facts]  # fmt: skip


def _stages(rows: Rows) -> list[Entry]:
    """Sec. 3.2, Fig. 4: the lead over ISTA-Net+ with as many stages, Set11 at 10 %."""
    found = []
    for stages, gain in paper.STAGE_GAINS.items():
        same = {"serves": ("fig4",), "edition": "paper", "stages": stages, "channels": 32}
        pair = [matching(method=method, **same) for method in (OWN, RIVAL)]
        there = combined(minus, [of_runs(rows, runs, "Set11", 0.1) for runs in pair])
        entry = Entry(f"text/stages/{stages}", "Sec. 3.2", f"gain over ISTA-Net+ at K = {stages}", "dB", gain)
        hints = [command(run.method, "Set11", 0.1, run) for run, *_ in pair]
        found.append(judged(entry, there, "; ".join(hints), rises=False))
    return found


def _gains(rows: Rows) -> list[Entry]:
    """Sec. 3.3: mean gains over ISTA-Net+, measured, and recomputed from the printed averages."""
    found, printed = [], {}
    for row in paper.TABLE1:
        printed |= {(row.method, "BSD68"): row.bsd68_average, (row.method, "Set11"): row.set11_average}
    for large in paper.TABLE2:
        printed |= {(large.method, "Urban100"): large.urban100_average, (large.method, "DIV2K"): large.div2k_average}
    for dataset, gain in paper.GAINS.items():
        ratios = paper.RATIOS if dataset in ("BSD68", "Set11") else paper.THREE
        means = [combined(mean, [witnesses(rows, method, dataset, r) for r in ratios]) for method in (OWN, RIVAL)]
        entry = Entry(f"text/gain/{dataset}", "Sec. 3.3", f"mean gain over ISTA-Net+ on {dataset}", "dB", gain)
        hint = "; ".join(command(method, dataset, ratios[0]) for method in (OWN, RIVAL))
        reason = unmeasurable(OWN, dataset, {}, 0.1)
        found.append(judged(entry, combined(minus, means), hint, reason, rises=False))
        difference = (printed[OWN, dataset] or 0) - (printed[RIVAL, dataset] or 0)
        found.append(arithmetic(f"gain/{dataset}", "Sec. 3.3", f"gain on {dataset}: its averages", gain, difference))
    return found


def _training_sets(rows: Rows) -> list[Entry]:
    """Sec. 4.1, Fig. 7: Train400 against Train91, taken as Set11 at 30 %, where such values occur."""
    where, found = "Sec. 4.1, Fig. 7(a)", []
    alone = {"Train400": _runs_of("e"), "Train91": matching(method=OWN, training_set="T91")}
    for name, value in paper.CONVERGED.items():
        entry = Entry(f"text/training-set/{name}", where, f"trained on {name}", "dB", value)
        there = of_runs(rows, alone[name], "Set11", 0.3)
        found.append(judged(entry, there, command(OWN, "Set11", 0.3, alone[name][0])))
    # Its networks are one group, and so have seen equally many pixels: Table 4's may have seen more.
    pair = [[e for e in matching(method=OWN, training_set=name) if "fig7" in e.serves] for name in ("Train400", "T91")]
    lead = paper.CONVERGED["Train400"] - paper.CONVERGED["Train91"]
    entry = Entry("text/training-set/lead", where, "lead of Train400 over Train91", "dB", round(lead, 2))
    there = [of_runs(rows, own, "Set11", 0.3) for own in pair]
    hint = "; ".join(command(OWN, "Set11", 0.3, own[0]) for own in pair)
    found.append(judged(entry, combined(minus, there), hint, rises=False))
    house = Entry("text/house", "Sec. 4.1, Fig. 7(b)", "loss of a house with Train91", "dB", paper.HOUSE_LOSS)
    return [*found, replace(house, verdicts=(NOT_MEASURABLE,), note="the photograph is not named"), plants()]


def plants() -> Entry:
    """Return the entry of Sec. 4.1 on the share of plants in Train91, with that of our own labels beside it."""
    scenes = [row["scene"] for row in paths.read_table(SCENES, ("set", "file", "scene")) if row["set"] == "T91"]
    share = scenes.count("plants") / len(scenes) if scenes else None
    beside = f"; ours are in data/{SCENES.name}" if scenes else ""
    note = f"its labels were not published, and judging scenes is a matter of taste{beside}"
    return Entry("text/plants", "Sec. 4.1", "share of plants in Train91", "", paper.PLANT_SHARE, ours=share,
                 verdicts=(NOT_MEASURABLE,), note=note)  # fmt: skip


def _strategies(rows: Rows) -> list[Entry]:
    """Sec. 4.2: what the dynamic unfolding and the cross-block strategy are worth on Set11."""
    cells = {s: [ablation(rows, s, r) for r in paper.THREE] for s in "abe"}
    unfolding = combined(minus, [combined(mean, cells[s]) for s in "eb"])
    crossing = combined(largest, [combined(minus, pair) for pair in zip(cells["b"], cells["a"], strict=True)])
    hints = {s: command(OWN, "Set11", 0.1, _runs_of(s)[0], blockwise=s == "a") for s in "abe"}
    dus = Entry("text/dus", "Sec. 4.2", "mean gain of dynamic unfolding", "dB", paper.UNFOLDING_GAIN)
    cbs = Entry("text/cbs", "Sec. 4.2", "largest gain of the cross-block strategy", "dB", paper.CROSS_BLOCK_GAIN)
    psnr = {row.setting: row.psnr for row in paper.TABLE4}
    gains = {a + b: [x - y for x, y in zip(psnr[a], psnr[b], strict=True)] for a, b in ("eb", "ba")}
    note = f"{fmean(gains['ba']):.2f} dB is the mean over the three ratios"
    return [
        judged(dus, unfolding, f"{hints['e']}; {hints['b']}", rises=False),
        judged(cbs, crossing, hints["a"], rises=False),
        arithmetic("dus", "Sec. 4.2", "mean of (e) minus (b) in Table 4", paper.UNFOLDING_GAIN, fmean(gains["eb"])),
        arithmetic("cbs", "Sec. 4.2", "largest of (b) minus (a) in Table 4", paper.CROSS_BLOCK_GAIN, max(gains["ba"]),
                   note=note),
    ]  # fmt: skip


def _consistency() -> list[Entry]:
    """Numbers that are printed twice, or should be."""
    found = []
    for ratio, value in zip(paper.THREE, paper.TABLE4[-1].psnr, strict=True):
        printed, percent = paper.published(OWN, "Set11", ratio), f"{100 * ratio:g}"
        where, what = f"Table 4, Set11 {percent} %", "(e): Table 1's ISTA-Net++"
        found.append(arithmetic(f"table4/{percent}", where, what, value, printed or 0))
    return found

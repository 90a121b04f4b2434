"""The ledger: every printed number once, verdicts by their rules, and nothing changes unnoticed."""

import csv
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_results import SET11, row, store, whole

from istapp import methods, paper
from istapp.__main__ import main
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.experiments import method_times
from istapp.experiments.campaigns import ALL
from istapp.images.registry import entries as registered
from istapp.method import weights
from istapp.paper import entries, judgement, ledger, results, verdicts
from istapp.paper.judgement import Entry, Witnesses, judged, largest, mean, minus
from istapp.paper.results import Cell
from istapp.paper.verdicts import (
    ADDS_UP,
    COUNTED,
    COUNTED_OTHERWISE,
    DOES_NOT_ADD_UP,
    EXCEEDED,
    LAPTOP,
    NOT_MEASURABLE,
    NOT_REPLICATED,
    NOT_RUN,
    PART,
    REPLICATED,
    REPRODUCED,
)

BSD68 = [entry.file.rpartition(".")[0] for entry in registered("BSD68")]
CELLS = 147
SPREAD = st.none() | st.floats(0, 1)


def measured(value: float, spread: float | None = None, whole: bool = True) -> Cell:
    """A measured number of a run called r."""
    return Cell(value, spread, "r", "paper", (), whole)


@pytest.fixture(scope="module")
def empty() -> list[Entry]:
    """The ledger of nobody's rows."""
    return ledger.judge([])


def test_a_number_that_is_not_finite_enters_no_entry():
    timing = {"method": "bm3d-amp", "run": "", "device": "cpu", "machine": "m", "threads": "1", "ratio": "10"}
    with pytest.raises(UserError, match="table1/time/bm3d-amp: laptop is nan"):
        ledger.judge([], [timing | {"median": "nan"}])


@pytest.fixture
def folder(results_folder: Path) -> Path:
    """A folder of recorded results."""
    return results_folder


def test_every_printed_cell_stands_in_the_ledger_once(empty):
    by_id = {entry.id: entry for entry in empty}
    assert len(by_id) == len(empty)
    cells = {}
    for first in paper.TABLE1:
        for name, numbers, average in (
            ("BSD68", first.bsd68, first.bsd68_average),
            ("Set11", first.set11, first.set11_average),
        ):
            cells |= {
                f"table1/{name}/{100 * r:g}/{first.method}": n for r, n in zip(paper.RATIOS, numbers, strict=True)
            }
            cells[f"table1/{name}/average/{first.method}"] = average
    for second in paper.TABLE2:
        for name, numbers, average in (("Urban100", second.urban100, second.urban100_average),
                                       ("DIV2K", second.div2k, second.div2k_average)):  # fmt: skip
            cells |= {
                f"table2/{name}/{100 * r:g}/{second.method}": n for r, n in zip(paper.THREE, numbers, strict=True)
            }
            cells[f"table2/{name}/average/{second.method}"] = average
    for third in paper.TABLE3:
        cells |= {f"table3/{third.trained_on}/{method}": n for method, n in third.psnr.items()}
    for fourth in paper.TABLE4:
        cells |= {f"table4/{fourth.setting}/{100 * r:g}": n for r, n in zip(paper.THREE, fourth.psnr, strict=True)}
        cells[f"table4/{fourth.setting}/parameters"] = fourth.parameters
    printed = {id_: number for id_, number in cells.items() if number is not None}
    tables = {id_ for id_ in by_id if id_.startswith("table") and "/time/" not in id_ and "1/parameters/" not in id_}
    assert tables == printed.keys() and all(by_id[id_].published == n for id_, n in printed.items())
    sized = [r.method for r in paper.TABLE1 if r.parameters]
    assert {f"table1/parameters/{kind}/{m}" for kind in ("one", "all") for m in sized} <= by_id.keys()
    assert [by_id[f"table1/time/{r.method}"].published for r in paper.TABLE1][:2] == [44.58, 0.0011]


def test_every_number_of_the_text_stands_in_the_ledger(empty):
    published = [entry.published for entry in empty if entry.id.startswith("text/")]
    wanted = [*paper.GAINS.values(), *paper.STAGE_GAINS.values(), *paper.CONVERGED.values(), paper.HOUSE_LOSS]
    assert set(wanted) | {paper.PLANT_SHARE, paper.UNFOLDING_GAIN, paper.CROSS_BLOCK_GAIN, 400, 180, 20, 5} <= set(
        published
    )


def test_without_rows_nothing_is_claimed_that_needs_them(empty):
    for entry in empty:
        assert entry.laptop is entry.part is entry.released is None
        if entry.kind not in ("count", "sum") and entry.id != "text/plants":
            assert entry.verdict in (NOT_RUN, NOT_MEASURABLE) and entry.ours is None
            assert entry.note if entry.verdict == NOT_MEASURABLE else entry.command
        if entry.command.startswith("istapp train "):
            assert entry.command.split("; ")[0].split(", ")[0].split()[2] in ALL


def test_the_paper_contradicts_itself_where_we_say_so_and_nowhere_else(empty):
    wrong = {entry.id for entry in empty if entry.kind == "sum" and entry.verdict == DOES_NOT_ADD_UP}
    assert wrong == {"arithmetic/cbs"}
    (most,) = (entry for entry in empty if entry.id == "arithmetic/cbs")
    assert most.ours == pytest.approx(0.98) and "0.64 dB is the mean" in most.note


def test_counts_are_those_of_the_built_networks(empty):
    by_id = {entry.id: entry for entry in empty}
    assert by_id["table4/c/parameters"].ours == 753_800
    assert [s for s in "abcde" if by_id[f"table4/{s}/parameters"].verdict == COUNTED_OTHERWISE] == ["c"]
    assert entries.counts("ista-net-plus") == (336_978,) * 5 and entries.counts("ista-net-pp") == (760_220,)
    if "reconnet" in methods.names():
        assert by_id["table1/parameters/one/reconnet"].verdict == COUNTED
        total = by_id["table1/parameters/all/reconnet"]
        assert total.ours == pytest.approx(1.900530) and total.verdict == COUNTED_OTHERWISE


BLANK = Entry("x", "Table 1", "x", "dB", 30.0)


@given(st.floats(0, 60), SPREAD)
def test_a_measured_number_gets_the_verdict_of_the_rule(ours, spread):
    entry = judged(BLANK, Witnesses(measured(ours, spread), laptop=measured(12)), "run it")
    assert entry.verdicts == (verdicts.replication(30.0, ours, spread),)
    assert (entry.ours, entry.laptop, entry.run, entry.spread, entry.command) == (ours, 12, "r", spread, "")
    assert entry.difference == pytest.approx(ours - 30)
    unknown = judged(BLANK, Witnesses(measured(ours, spread), released=measured(30)), "", "no protocol")
    assert unknown.verdicts == (NOT_MEASURABLE,) and unknown.ours == ours


@given(st.floats(0, 60))
def test_neither_the_laptop_nor_a_part_of_a_set_ever_decides(value):
    beside = judged(BLANK, Witnesses(laptop=measured(value)), "run it")
    assert (beside.verdict, beside.ours, beside.laptop, beside.command) == (LAPTOP, None, value, "run it")
    some = measured(value, whole=False)
    part = judged(BLANK, Witnesses(some, some, some, some), "run it")
    assert part.verdict == NOT_RUN and part.ours is part.part is part.laptop is part.released is None
    assert part.command == "run it" and "missing" in part.note


@given(st.floats(0, 60), st.floats(0, 60))
def test_two_witnesses_have_a_verdict_each(theirs, ours):
    both = judged(BLANK, Witnesses(measured(ours), released=measured(theirs)), "run it")
    assert both.verdicts == (verdicts.reproduction(30.0, theirs), verdicts.replication(30.0, ours))
    theirs_only = judged(BLANK, Witnesses(laptop=measured(ours), released=measured(theirs)), "run it")
    assert theirs_only.verdicts == both.verdicts[:1] and theirs_only.command == "run it"


@given(st.floats(0, 60))
def test_a_part_of_its_training_is_no_failed_replication(value):
    entry = judged(BLANK, Witnesses(part=measured(value)), "train on")
    met = value >= 30 - 0.1 - 1e-9
    assert entry.verdicts == ((REPLICATED if value <= 30.1 + 1e-9 else EXCEEDED) if met else PART,)
    assert (entry.ours, entry.part, entry.command) == (None, value, "train on")
    theirs = judged(BLANK, Witnesses(part=measured(value), released=measured(30)), "train on")
    assert theirs.verdicts == (REPRODUCED, *(entry.verdicts if met else ()))


@given(st.floats(0, 60))
def test_a_difference_of_two_half_trained_networks_decides_nothing(value):
    """The rest of a rival's training would lower it: a lead over a network that has just begun is none."""
    entry = judged(BLANK, Witnesses(part=measured(value)), "train on", rises=False)
    assert (entry.verdict, entry.part, entry.command) == (PART, value, "train on")
    whole_ = judged(BLANK, Witnesses(measured(value)), "", rises=False)
    assert whole_.verdicts == (verdicts.replication(30.0, value),)


def test_a_lead_over_a_rival_that_has_just_begun_is_no_gain(monkeypatch):
    monkeypatch.setattr(results, "trained", lambda run: 0.02 if "plus" in run else 0.2)
    rows = []
    for ratio in paper.RATIOS:
        rows += whole(35.0, ratio=100 * ratio)
        rows += whole(20.0, ratio=100 * ratio, method="ista-net-plus", run=f"ista-net-plus-{100 * ratio:g}")
    found = {entry.id: entry for entry in ledger.judge(rows)}
    gain = found["text/gain/Set11"]
    assert (gain.verdict, gain.ours, gain.part) == (PART, None, 15.0)
    assert "ista-net-plus-10: 1/50 of its training" in gain.note


def test_the_share_of_a_training_is_told(monkeypatch):
    monkeypatch.setattr(results, "trained", lambda run: 1 / 140)
    found = {entry.id: entry for entry in ledger.judge(whole(26.0) + whole(24.0, run="ista-net-pp-laptop"))}
    cell = found["table1/Set11/10/ista-net-pp"]
    assert (cell.verdict, cell.part, cell.laptop, cell.ours) == (PART, 26.0, 24.0, None)
    assert "ista-net-pp-main: 1/140 of its training" in cell.note and "istapp train" in cell.command


def test_the_boundary_of_a_tenth_belongs_to_replicated(whole_training):
    rows = whole(28.44) + [row(i, 28.2399, ratio=20.0) for i in SET11]
    found = {entry.id: entry for entry in ledger.judge(rows)}
    assert found["table1/Set11/10/ista-net-pp"].verdict == REPLICATED
    assert found["table1/Set11/20/ista-net-pp"].verdict == NOT_REPLICATED
    assert found["table1/Set11/average/ista-net-pp"].verdict == NOT_RUN
    assert judgement.arithmetic("x", "", "", 1.0, 1.005).verdict == ADDS_UP
    assert judgement.arithmetic("x", "", "", 1.0, 1.006).verdict == DOES_NOT_ADD_UP


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 2)), min_size=1, max_size=5))
def test_a_mean_has_at_most_the_mean_spread_and_a_difference_their_root_of_squares(parts):
    there = [measured(value, spread) for value, spread in parts]
    whole_ = mean(there)
    assert whole_.psnr == pytest.approx(sum(v for v, _ in parts) / len(parts))
    assert min(s for _, s in parts) - 1e-9 <= whole_.spread <= max(s for _, s in parts) + 1e-9
    gap = minus([there[0], there[-1]])
    assert gap.psnr == parts[0][0] - parts[-1][0] and gap.spread**2 == pytest.approx(
        parts[0][1] ** 2 + parts[-1][1] ** 2
    )
    assert largest(there).psnr == max(v for v, _ in parts)


def test_a_missing_part_leaves_nothing():
    assert mean([measured(1), None]) is mean([]) is minus([None, measured(1)]) is largest([None, measured(1)]) is None
    assert mean([measured(1, 0.1), measured(2)]).spread is None
    assert not minus([measured(1), measured(2, whole=False)]).whole


def test_averages_and_gains_follow_from_the_rows(whole_training):
    levels = dict(zip(paper.RATIOS, (28.34, 32.33, 34.86, 36.94, 38.73), strict=True))
    rows = [r for ratio, level in levels.items() for r in whole(level, ratio=100 * ratio)]
    rows += [r for ratio, level in levels.items() for r in whole(level - 2, ratio=100 * ratio, method="ista-net-plus",
             run=f"ista-net-plus-{100 * ratio:g}")]  # fmt: skip
    found = {entry.id: entry for entry in ledger.judge(rows)}
    average = found["table1/Set11/average/ista-net-pp"]
    assert average.ours == pytest.approx(sum(levels.values()) / 5) and average.verdict == REPLICATED
    gain = found["text/gain/Set11"]
    assert gain.ours == pytest.approx(2) and gain.verdict == EXCEEDED
    assert gain.run.count("ista-net-plus-") == 5 and found["text/gain/BSD68"].verdict == NOT_RUN


def test_table_4_reads_its_own_runs_and_the_largest_gain_across_blocks(whole_training):
    rows = []
    for ratio, whole_image, alone in ((10, 28.1, 27.2), (30, 34.6, 34.1), (50, 38.4, 38.0)):
        switched = {"ratio": float(ratio), "run": "ista-net-pp-table4-b"}
        rows += whole(whole_image, variant="DUS step off, DUS map off", **switched)
        rows += whole(alone, variant="DUS step off, DUS map off; blockwise", **switched)
    found = {entry.id: entry for entry in ledger.judge(rows)}
    assert [found[f"table4/{s}/10"].ours for s in "abc"] == [27.2, 28.1, None]
    assert found["text/cbs"].ours == pytest.approx(0.9) and found["text/dus"].verdict == NOT_RUN
    assert entries.ablation(judgement.grouped(rows), "a", 0.3).ours.psnr == pytest.approx(34.1)


def test_training_sets_are_compared_in_both_editions(whole_training):
    levels = {"table4-e": 34.9, "train400": 34.8, "train91": 34.3}
    levels |= {"laptop-table4-e": 33.0, "laptop-fig4-k5-c16": 31.0, "laptop-train91": 30.9}
    rows = [r for run, level in levels.items() for r in whole(level, ratio=30.0, run=f"ista-net-pp-{run}")]
    found = {entry.id: entry for entry in ledger.judge(rows)}
    lead = found["text/training-set/lead"]
    assert (lead.ours, lead.laptop) == (pytest.approx(0.5), pytest.approx(0.1)) and lead.verdict == REPLICATED
    assert found["text/training-set/Train91"].verdict == REPLICATED
    assert found["text/training-set/Train400"].ours == pytest.approx(34.9)  # the longest training may say that


def test_the_share_of_plants_stands_beside_and_is_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "SCENES", tmp_path / "scenes.csv")
    assert entries.plants().ours is None
    entries.SCENES.write_text("set,file,scene\nT91,t1.png,plants\nT91,t2.png,houses\nSet11,x.png,plants\n")
    assert entries.plants().ours == 0.5 and entries.plants().verdict == NOT_MEASURABLE


def test_recording_twice_changes_nothing(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    ledger.write(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert set(before) == {"main.csv", "other.csv", "other.curve.csv", "ledger.csv", "hashes.csv"}


def test_a_recorded_ledger_holds(folder, capsys):
    assert main(["ledger"]) == 0
    out, error = capsys.readouterr()
    assert f"Of {CELLS} PSNR cells in" in out and "ISTA-Net++ 10 %" in out and not error


@pytest.mark.parametrize("name", ["main.csv", "other.csv"])
def test_a_changed_file_is_named(folder, capsys, name):
    path = folder / name
    path.write_text(path.read_text().replace(",28.4000,", ",28.4001,", 1).replace(",20.0000,", ",20.0001,", 1))
    assert main(["ledger"]) == 1
    error = capsys.readouterr().err
    assert f"istapp ledger: {name}: changed since it was recorded" in error and "--write" in error


def test_missing_and_unrecorded_files_are_named(folder, capsys):
    shutil.copy(folder / "other.csv", folder / "third.csv")
    (folder / "other.csv").unlink()
    assert main(["ledger"]) == 1
    error = capsys.readouterr().err
    assert "other.csv: recorded, but missing" in error and "third.csv: not recorded" in error


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",replicated,", ",exceeded,", "verdict is 'exceeded', but the rows say 'replicated'"),
        (",28.3400,", ",28.9000,", "published is '28.9000', but the rows say '28.3400'"),
        ("table1/Set11/10/ista-net-pp,", "table1/Set11/11/ista-net-pp,", "table1/Set11/10/ista-net-pp: is missing"),
    ],
)
def test_a_changed_entry_is_named(folder, old, new, said):
    path = folder / "ledger.csv"
    lines = path.read_text().splitlines(keepends=True)
    (n,) = (n for n, line in enumerate(lines) if line.startswith("table1/Set11/10/ista-net-pp,"))
    lines[n] = lines[n].replace(old, new, 1)
    path.write_text("".join(lines))
    (fault, *rest) = ledger.faults(ledger.entries(), folder)[::-1]
    assert said in fault and fault.startswith("ledger.csv, table1/Set11/1") and len(rest) <= 1


def test_a_doubled_or_lost_line_is_named(folder):
    path = folder / "ledger.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:-1], lines[1]]))
    first, last = ledger.faults(ledger.entries(), folder)
    assert first.endswith("stands twice") and last.endswith("is missing")


def test_nothing_recorded_is_a_mistake_that_one_can_mend(folder, capsys):
    (folder / "hashes.csv").unlink()
    assert main(["ledger"]) == 2 and "--write" in capsys.readouterr().err
    (folder / "hashes.csv").write_text("file,md5\n")
    assert main(["ledger"]) == 2 and "other columns" in capsys.readouterr().err


def test_a_damaged_ledger_is_one_line(folder, capsys):
    for name, said in (("ledger.csv", "ledger.csv, line 3 has too few"), ("main.csv", "main.csv, line 3 has ")):
        whole_file = (folder / name).read_text()
        lines = whole_file.splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:2]) + lines[2][:40])
        assert main(["ledger"]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
        (folder / name).write_text(whole_file)


def test_rows_of_other_weights_than_those_shipped_are_named(folder):
    run = "ista-net-pp-laptop"
    own = weights.header(paths.weights_of(run))["weights_hash"][:16]
    for digest, faults in ((own, 0), ("0123456789abcdef", 1)):
        store(folder / "other.csv", whole("20.0000", ratio="10", ssim="", run=run, weights=digest))
        ledger.write(folder)
        found = ledger.faults(ledger.entries(folder), folder)
        assert len(found) == faults and all(f"{run}.safetensors holds {own}" in fault for fault in found)


def test_the_shipped_ledger_follows_from_the_shipped_rows():
    found = ledger.entries()
    assert ledger.faults(found) == [], "`istapp ledger --write` records new rows"
    with (paths.RESULTS / "ledger.csv").open(newline="", encoding="utf-8") as file:
        assert [r["id"] for r in csv.DictReader(file)] == [entry.id for entry in found]


def test_the_headline_counts_psnr_cells_first_and_every_number_once(empty, whole_training):
    theirs = whole(28.4, run=results.RELEASED)
    rows = theirs + whole(28.4) + whole(20.0, run="ista-net-pp-laptop", ratio=20.0) + whole(20.0, ratio=30.0)
    found = ledger.judge(rows)
    cells = [entry for entry in found if entry.kind == "cell"]
    assert len(cells) == CELLS == len([e for e in empty if e.kind == "cell"])
    assert ledger.headline(found).startswith(
        f"Of {CELLS} PSNR cells in the paper's tables, 2 are reproduced by the authors' released weights in our "
        "evaluation (0 are not), and 1 are replicated and 0 exceeded by our own runs at the paper's size (1 is not). "
        "Beside 1 only a smaller network; these decide nothing. "
    )
    waiting = sum(set(e.verdicts) <= {*verdicts.OPEN, NOT_MEASURABLE} for e in cells)
    assert f"{ledger.tally(cells)[NOT_RUN]} cells are not run yet" in ledger.headline(found) and waiting == CELLS - 3


def test_the_headline_tells_of_a_run_after_a_part_of_its_training_in_the_right_number() -> None:
    one, two = (ledger.headline(ledger.judge([row for ratio in ratios for row in whole(20.0, ratio=ratio)]))
                for ratios in ((10.0,), (10.0, 30.0)))  # fmt: skip
    assert "Beside 1 other stands such a run after a part of its training, beside 0 only" in one
    assert "Beside 2 others stands such a run" in two


def test_our_seconds_stand_beside_the_papers_and_judge_nothing() -> None:
    own = {"method": "tv", "run": "", "device": "cpu", "machine": "some CPU", "threads": "1", "ratio": "10"}
    rivals = [own | {"method": "bm3d-amp", "median": "2.5"}, own | {"method": "bm3d-amp", "ratio": "50", "median": "9"}]
    (entry,) = (e for e in ledger.judge([], rivals) if e.id == "table1/time/bm3d-amp")
    assert entry.laptop == 2.5 and entry.ours is None and entry.verdict == NOT_MEASURABLE
    assert "CPU some CPU, 1 thread" in entry.note


def test_the_released_weights_reproduce_and_leave_our_own_run_to_be_made() -> None:
    theirs = whole(28.4, run=results.RELEASED)
    alone = whole(27.2, run=results.RELEASED, variant="blockwise")
    found = {entry.id: entry for entry in ledger.judge([*theirs, *alone])}
    for id_ in ("table1/Set11/10/ista-net-pp", "table4/e/10"):
        assert found[id_].released == pytest.approx(28.4)
        assert found[id_].ours is None and found[id_].verdict == REPRODUCED and "istapp train" in found[id_].command
    assert found["table4/a/10"].released is None and found["table1/Set11/average/ista-net-pp"].released is None
    part = {entry.id: entry for entry in ledger.judge(theirs[1:])}
    assert part["table1/Set11/10/ista-net-pp"].released is None
    off = {entry.id: entry for entry in ledger.judge(whole(28.0, run=results.RELEASED))}["table4/e/10"]
    assert off.verdict == verdicts.NOT_REPRODUCED and "released weights -0.34 dB" in off.note


def test_a_time_is_that_of_the_network_used_by_default() -> None:
    """Whatever the order in which several networks of one method were timed."""
    own = [t for t in method_times.read() if t["method"] == "ista-net-pp"]
    assert len(own) > 1
    for timings in (own, own[::-1]):
        (entry,) = [e for e in entries.all_entries({}, timings) if e.id == "table1/time/ista-net-pp"]
        assert entry.run == methods.get("ista-net-pp").weights.removesuffix(".safetensors")

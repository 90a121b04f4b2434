"""`istapp reproduce`: the plan covers what can be measured, nothing is done twice, and it resumes."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest

from istapp import methods, paper
from istapp.__main__ import main
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.experiments import queue
from istapp.experiments.campaigns import ALL, FIVE, LAPTOP
from istapp.experiments.evaluation import evaluate, read_rows
from istapp.experiments.queue import Places
from istapp.experiments.rows import COLUMNS, write_rows
from istapp.images import datasets, registry
from istapp.methods import Network
from istapp.paper import artefacts, reproduce, results
from istapp.paper.artefacts import ARTEFACTS, Evaluation, merged, of_run, of_training_free, plan, runs_of
from istapp.paper.reproduce import Clock, duration, minutes_of, missing, report, seconds, work_of, work_off

TINY = Evaluation("linear", "", "photos", (0.1, 0.5), images=("chelsea", "coffee"))


@pytest.fixture
def all_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan as on a machine that has every set."""
    there = [s._replace(state="at hand") for s in datasets.status()]
    monkeypatch.setattr("istapp.images.datasets.status", lambda: there)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Empty folders for everything."""
    monkeypatch.setattr("istapp.basics.paths.RESULTS", tmp_path / "results")
    monkeypatch.setattr("istapp.basics.paths.WEIGHTS", tmp_path / "weights")
    return Places(tmp_path / "runs", tmp_path / "weights", tmp_path / "results")


def rows_of(evaluations: list[Evaluation]) -> list[tuple]:
    return [(e.file, e.label, e.seed, e.blockwise, *row) for e in evaluations for row in e.rows()]


def planned(name: str, profile: str) -> set[tuple[str, str, float]]:
    return {(e.method, e.label, ratio) for e in plan([name], profile).evaluations for ratio in e.ratios}


def test_the_paper_profile_covers_every_cell_of_table_1_that_can_be_measured(all_at_hand: None) -> None:
    found = planned("table1", "paper")
    trained = {(e.method, ratio) for e in ALL.values() if e.main and e not in LAPTOP for ratio in e.ratios}
    free = set(artefacts.training_free())
    for row, dataset in itertools.product(paper.TABLE1, ("BSD68", "Set11")):
        for ratio in FIVE:
            slow = row.method in free and methods.class_of(row.method).kind == "untrained network"
            measurable = (row.method, ratio) in trained or (row.method in free and not (slow and dataset == "BSD68"))
            if measurable and paper.published(row.method, dataset, ratio) is not None:
                usable = row.method not in free or can_run(row.method)
                assert ((row.method, dataset, ratio) in found) == usable, (row.method, dataset, ratio)


def can_run(name: str) -> bool:
    try:
        methods.get(name)
    except UserError:
        return False
    return True


def test_the_other_tables_and_the_figures_are_covered(all_at_hand: None) -> None:
    for set_, ratio in itertools.product(("Urban100", "Urban100-crop256", "DIV2K-crop256"), paper.THREE):
        assert ("ista-net-pp", set_, ratio) in planned("table2", "paper")
    assert ("ista-net-plus", "BSD68", 0.3) in planned("table3", "paper")
    assert ("ista-net-pp", "BSD68", 0.1) in planned("fig6", "paper")
    assert {e.training_set for e in runs_of("fig7")} == {"Train400", "T91", "Train400+T91"}
    for laptop in (True, False):  # one size an edition: only the training set varies
        alike = [e for e in runs_of("fig7") if (e in LAPTOP) == laptop]
        assert len(alike) > 1 and len({(e.config["stages"], e.config["channels"]) for e in alike}) == 1
    assert not runs_of("fig5") and not plan(["fig5"], "paper").evaluations


@pytest.mark.parametrize("own", [True, False], ids=["laptop", "paper"])
def test_table_4_compares_all_four_networks_and_the_first_block_by_block(own: bool) -> None:
    runs = [e for e in runs_of("table4") if (e in LAPTOP) == own]
    assert {e.setting for e in runs} == {"b", "c", "d", "e"}
    for e in runs:
        expected = {False, True} if e.setting == "b" else {False}
        assert {x.blockwise for x in of_run("table4", e)} == expected


def test_figure_4_varies_one_number_at_a_time_and_includes_what_it_varies_from() -> None:
    for own in (True, False):
        runs = [e for e in runs_of("fig4") if (e in LAPTOP) == own and "fig4" in e.id]  # others lie further off
        sizes = {(e.config["stages"], e.config["channels"]) for e in runs}
        by_stages = [s for s in sizes if s[1] == max(sizes, key=lambda s: sum(c == s[1] for _, c in sizes))[1]]
        by_channels = [s for s in sizes if s[0] == max(sizes, key=lambda s: sum(k == s[0] for k, _ in sizes))[0]]
        assert set(by_stages) | set(by_channels) == sizes and len(set(by_stages) & set(by_channels)) == 1


def test_the_main_network_is_measured_with_ten_matrices() -> None:
    main = next(e for e in ALL.values() if e.main and e.method == "ista-net-pp")
    seeds = {e.seed for e in merged(of_run("table1", main)) if e.dataset == "Set11" and set(paper.THREE) <= {*e.ratios}}
    assert seeds == set(range(10))


@pytest.mark.parametrize("profile", ["laptop", "paper"])
def test_nothing_is_planned_twice(profile: str, all_at_hand: None) -> None:
    whole = plan(list(ARTEFACTS), profile)
    found = rows_of(whole.evaluations)
    assert len(set(found)) == len(found)
    assert len({e.id for e in whole.training}) == len(whole.training)
    assert bool(whole.training) == (profile == "paper")
    parts = {row for name in ARTEFACTS for row in rows_of(plan([name], profile).evaluations)}
    assert parts == set(found)


def test_a_laptop_takes_only_what_it_has_weights_for(all_at_hand: None, places: Places) -> None:
    assert not [e for e in plan(list(ARTEFACTS)).evaluations if e.run]
    run = next(e for e in LAPTOP if e.main)
    places.weights.mkdir()
    places.weights_of(run.id).touch()
    assert {e.run for e in plan(["table1"]).evaluations} == {"", run.id}


def test_of_several_main_runs_the_paper_edition_fills_the_table() -> None:
    runs = [e for e in ALL.values() if e.main and e.method == "ista-net-pp"]
    (best,) = artefacts.chosen(runs)
    assert best.edition == "paper" and best.ratios == FIVE
    assert [e.edition for e in artefacts.chosen([e for e in runs if e in LAPTOP])] == ["laptop"]
    side = replace(runs[0], id="side", main=False)
    assert side in artefacts.chosen([*runs, side])


def test_a_part_of_a_set_is_not_called_by_its_name() -> None:
    assert TINY.label == "photos (chelsea, coffee)" and len(list(TINY.rows())) == 4
    for name in artefacts.training_free():
        for e in of_training_free("table1", name, "laptop"):
            assert (e.label == e.dataset) == (len(e.entries()) == len(registry.entries(e.dataset)))


def test_training_free_methods_are_not_networks() -> None:
    free = artefacts.training_free()
    assert {"linear", "ista", "fista", "tv"} <= set(free)
    assert not [name for name in free if issubclass(methods.class_of(name), Network)]


def test_sets_that_are_missing_are_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    status = [s._replace(state="missing" if s.name in ("Set11", "Train400") else "at hand") for s in datasets.status()]
    monkeypatch.setattr("istapp.images.datasets.status", lambda: status)
    found = plan(list(ARTEFACTS), "paper")
    assert "Set11" not in {e.dataset for e in found.evaluations} and found.evaluations
    assert {e.training_set for e in found.training} == {"T91"}
    hints = "\n".join(found.left_out)
    assert "--download Set11" in hints and "--download Train400" in hints and "BSD68" not in hints


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'table1'"):
        plan(["tabel1"])
    with pytest.raises(UserError, match="laptop or paper"):
        plan(["table1"], "desktop")


def test_one_photograph_end_to_end_resumed_and_not_computed_again(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(method: object, images: list, *args: object) -> list:
        calls.extend(image.name for image in images)
        return evaluate(method, images, *args)  # type: ignore[arg-type]

    monkeypatch.setattr("istapp.paper.reproduce.evaluate", counted)
    everything = artefacts.Plan(evaluations=[TINY])
    half = artefacts.Plan(evaluations=[replace(TINY, ratios=(0.5,))])
    assert work_off(work_of(half, places), places, say=calls.append) and calls == ["chelsea", "coffee"]
    assert missing(TINY, places) == [("chelsea", 0.1), ("coffee", 0.1)]
    assert work_off(work_of(everything, places), places) and len(calls) == 4
    before = places.rows_of("linear").read_bytes()
    left = work_of(everything, places)
    assert (left.rows, left.there, left.minutes) == ([], 4, 0)
    assert work_off(left, places) and len(calls) == 4 and places.rows_of("linear").read_bytes() == before
    rows = results.load(places.results)
    assert {row["dataset"] for row in rows} == {TINY.label}
    (own,) = evaluate(methods.get("linear"), [datasets.photo("chelsea")], [0.5])
    assert results.select(rows, image="chelsea", ratio=50)[0]["psnr"] == own["psnr"]
    assert len(work_of(everything, places, again=True).rows[0][1]) == 4


def test_the_time_that_was_set_ends_it_between_two_images(places: Places) -> None:
    work = work_of(artefacts.Plan(evaluations=[TINY]), places)
    assert not work_off(work, places, minutes=0) and not places.rows_of("linear").exists()
    assert not work_off(work, places, minutes=1e-9 + 1e-6)
    assert len(missing(TINY, places)) >= 3


def test_rows_count_for_the_same_weights_matrix_and_blocks_only(places: Places) -> None:
    run = next(e.id for e in LAPTOP if e.main)
    one = Evaluation("ista-net-pp", run, "photos", (0.1,), images=("chelsea",))
    places.results.mkdir()
    line = f"ista-net-pp,{one.label},chelsea,10,0,30.0,0.9,1.0,{run},,abc {run}.safetensors"
    path = places.rows_of(run)
    header = "method,dataset,image,ratio,seed,psnr,ssim,seconds,run,variant,provenance"
    path.write_text(f"{header}\n{line}\n")
    assert missing(one, places) == []
    for other in (replace(one, seed=1), replace(one, blockwise=True), replace(one, ratios=(0.2,))):
        assert len(missing(other, places)) == 1
    path.write_text(f"{header}\n{line.replace('abc ' + run, 'abc other')}\n")
    assert len(missing(one, places)) == 1


def test_who_refuses_is_named_and_the_rest_is_done(places: Places) -> None:
    lost = Evaluation("ista-net-pp", next(e.id for e in LAPTOP if e.main), "photos", (0.1,), images=("chelsea",))
    said: list[str] = []
    assert not work_off(work_of(artefacts.Plan(evaluations=[lost, TINY]), places), places, say=said.append)
    assert "no weights" in said[0] and not missing(TINY, places)


def test_plan_and_estimate_are_told_before_anything_starts(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, places: Places
) -> None:
    plan = artefacts.Plan(evaluations=[TINY], left_out=["x: why"])
    monkeypatch.setattr("istapp.paper.reproduce.plan", lambda *_: plan)
    started: list[str] = []
    monkeypatch.setattr("istapp.paper.reproduce.evaluate", lambda *_: started.append(capsys.readouterr().out))
    assert main(["reproduce", "table1", "--minutes", "0"]) == 0
    assert not started and "4 are missing" in capsys.readouterr().out
    assert main(["reproduce", "table1"]) == 0
    assert "4 are missing" in started[0] and "min" in started[0] and "left out: x: why" in started[0]
    assert "whole" in capsys.readouterr().out


def test_training_comes_before_rows_and_stops_with_the_time(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    run, trained = LAPTOP[0], []
    monkeypatch.setattr(queue, "run", lambda e, *_: bool(trained.append(e.id)) or len(trained) > 1)
    work = work_of(artefacts.Plan([run], [TINY]), places)
    assert work.training == [run] and work.minutes > run.minutes
    assert not work_off(work, places) and len(missing(TINY, places)) == 4
    assert work_off(work, places) and trained == [run.id] * 2 and not missing(TINY, places)


def test_estimates_follow_pixels_and_measured_speeds(places: Places) -> None:
    assert seconds(TINY) == reproduce.UNKNOWN_SECONDS
    both, one = list(TINY.rows()), list(replace(TINY, images=("chelsea",)).rows())
    assert minutes_of(TINY, both) > minutes_of(replace(TINY, images=("chelsea",)), one) > 0
    evaluate(methods.get("linear"), [datasets.photo("coffee")], [0.1], out=places.rows_of("linear"), label=TINY.label)
    row = read_rows(places.rows_of("linear"))[0]
    area = math.prod(datasets.photo("coffee").size) / 256**2
    assert seconds(TINY) == pytest.approx(float(row["seconds"]) / area)
    assert seconds(TINY, "cuda") < seconds(TINY)


def test_durations_and_the_clock() -> None:
    assert [duration(m) for m in (0.42, 42, 300, 10_000)] == ["0.4 min", "42 min", "5 h", "7 days"]
    clock = Clock(10)
    clock.begun -= 120
    assert clock.spend(4) == "about 3.0 min left" and clock.left == math.inf


def test_the_report_names_runs_sets_ratios_and_files(places: Places) -> None:
    lines = report(work_of(artefacts.Plan([LAPTOP[0]], [TINY]), places), [], "cpu")
    assert LAPTOP[0].id in lines[1] and "linear on photos (chelsea, coffee) at 10, 50 %: 4 rows" in lines[2]


def test_shipped_rows_lie_where_the_plan_looks_for_them() -> None:
    for path in results.files(paths.RESULTS):
        if path.stem not in (*ALL, *methods.names()):  # rows beside the tables: choices, other training sets
            continue
        names = {row["run"] or row["method"] for row in read_rows(path)}
        assert names == {path.stem}, f"{path.name} holds rows of {names}"


def test_rows_of_another_form_are_no_rows_of_the_table(places: Places) -> None:
    one = Evaluation("fista", "", "photos", (0.37,))
    given = {"method": "fista", "dataset": "photos", "ratio": "37", "seed": "0", "psnr": "20", "seconds": "1"}
    own = [dict.fromkeys(COLUMNS, "") | given | {"image": name} for name, _ in one.rows()]
    write_rows(places.rows_of("fista"), [row | {"variant": "lambda 0.1, 10 iterations"} for row in own])
    assert len(missing(one, places)) == len(own)
    write_rows(places.rows_of("fista"), own)
    assert not missing(one, places)

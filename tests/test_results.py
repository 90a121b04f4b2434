"""Reading rows: what is a cell, what is its spread, when is a difference resolved, and what each verdict means."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from istapp import methods, paper
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.experiments.campaigns import ALL, LAPTOP, main_runs
from istapp.experiments.evaluation import COLUMNS
from istapp.images.registry import entries
from istapp.method import loading, weights
from istapp.paper import ledger, results

SET11 = [entry.file.rpartition(".")[0] for entry in entries("Set11")]
DB = st.floats(10, 50)


def row(image: str = "boats", psnr: float = 30, **other: object) -> dict:
    """One row as `load` returns it."""
    plain = {"method": "ista-net-pp", "dataset": "Set11", "ratio": 10.0, "seed": "0", "run": "ista-net-pp-main"}
    return plain | {"variant": "", "image": image, "psnr": psnr, "ssim": None, "seconds": 1.0, "provenance": "",
                    "pixels": "", "weights": "", "code": ""} | other  # fmt: skip


def whole(psnr: float = 30, **other: object) -> list[dict]:
    """A row for every image of Set11."""
    return [row(image, psnr, **other) for image in SET11]


def store(path: Path, rows: list[dict], columns: tuple = COLUMNS) -> None:
    """Write rows as `evaluate` does."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def test_only_files_of_result_rows_are_read(tmp_path):
    store(tmp_path / "a.csv", [row(ssim="", psnr="30.5", ratio="10")])
    store(tmp_path / "tuning.csv", [row(ratio="10")])
    store(tmp_path / "a.curve.csv", [], ("step", "pixels"))
    assert [path.name for path in results.files(tmp_path)] == ["a.csv"]
    (read,) = results.load(tmp_path)
    assert (read["psnr"], read["ratio"], read["ssim"]) == (30.5, 10.0, None)


def test_rows_made_outside_a_run_belong_to_their_weights(tmp_path):
    outside = row(ratio="10", ssim="", run="", provenance="abc ista-net-pp-laptop.safetensors")
    five = ", ".join(f"ista-net-plus-{n}.safetensors" for n in (10, 20, 30))
    plus = row(ratio="20", ssim="", run="", method="ista-net-plus", provenance=f"abc {five}")
    mine = row("house", ratio="10", ssim="", run="", provenance="abc my-own.safetensors")
    store(tmp_path / "a.csv", [outside, plus, mine, row(ratio="10", ssim="", run="", method="tv", provenance="abc")])
    rows = results.load(tmp_path)
    assert [r["run"] for r in rows] == ["ista-net-pp-laptop", "ista-net-plus-20", "my-own", ""]
    assert results.cell(rows, "ista-net-pp", "Set11", 0.1, wanted="paper") is None
    assert results.cell(rows, "tv", "Set11", 0.1, wanted="paper").psnr == 30
    assert results.cell(rows, "ista-net-pp", "Set11", 0.1, run="my-own").psnr == 30


def test_shipped_rows_are_read():
    rows = results.load()
    assert rows and all(set(r) == {*COLUMNS, "file", "line"} and math.isfinite(r["psnr"]) for r in rows)
    assert {r["dataset"] for r in rows}.isdisjoint({"Train400 validation"})


def test_a_laptop_run_is_never_the_paper_edition(whole_training):
    assert all(e.edition == results.edition(e.id) == "laptop" for e in LAPTOP)
    assert results.edition("ista-net-pp-main") == results.edition("") == results.edition(results.RELEASED) == "paper"
    rows = whole(31, run="ista-net-pp-laptop")
    assert results.cell(rows, "ista-net-pp", "Set11", 0.1, wanted="paper") is None
    assert results.cell(rows, "ista-net-pp", "Set11", 0.1).edition == "laptop"
    both = rows + whole(29)
    assert results.cell(both, "ista-net-pp", "Set11", 0.1).psnr == 29
    assert results.cell(both, "ista-net-pp", "Set11", 0.1, wanted="laptop").psnr == 31


def test_a_network_of_the_papers_size_counts_by_the_pixels_that_it_has_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    run, budget = "ista-net-pp-main", ALL["ista-net-pp-main"].recipe.pixels
    assert results.trained(run) is None and results.edition(run) == "part"  # nobody can tell
    curve = tmp_path / f"{run}.curve.csv"
    curve.write_text(f"step,pixels\n1,5\n2,{budget / 2:.0f}\n")
    assert results.trained(run) == 0.5 and results.share(run) == "1/2 of its training"
    curve.write_text("step,pixels\n")
    assert results.trained(run) is None
    curve.write_text("step,pixels\n1,many\n")
    with pytest.raises(UserError, match="line 2: pixels is 'many', which is no number"):
        results.trained(run)
    for seen, edition, told in ((budget / 140, "part", "1/140 of its training"), (0.995 * budget, "paper", "")):
        weights.save(tmp_path / f"{run}.safetensors", {"a": torch.zeros(1)}, {"pixels": int(seen)})
        assert (results.edition(run), results.share(run)) == (edition, told)
    assert results.cell(whole(), "ista-net-pp", "Set11", 0.1, wanted="paper").psnr == 30
    assert results.cell(whole(), "ista-net-pp", "Set11", 0.1, wanted="part") is None


def test_a_cell_is_the_mean_over_the_images_of_one_matrix():
    rows = [row("boats", 30), row("house", 34), row("boats", 99, seed="1"), row("boats", 99, ratio=20.0)]
    found = results.cell(rows, "ista-net-pp", "Set11", 0.1)
    assert found.psnr == 32 and not found.whole and len(found.rows) == 2
    assert results.cell(whole(), "ista-net-pp", "Set11", 0.1).whole
    assert results.cell(rows, "ista-net-pp", "Set11", 0.3) is None


def test_a_method_tied_to_another_matrix_has_a_cell():
    found = results.cell(whole(28, seed="3") + whole(27, seed="12"), "ista-net-pp", "Set11", 0.1)
    assert found.psnr == 28 and found.whole and found.spread == pytest.approx(np.std([27, 28], ddof=1))


def test_side_experiments_and_variants_are_no_cell_unless_named():
    side = next(e.id for e in ALL.values() if e.method == "ista-net-pp" and not e.main)
    rows = whole(40, run=side) + whole(41, variant="blockwise")
    assert results.cell(rows, "ista-net-pp", "Set11", 0.1) is None
    assert results.cell(rows, "ista-net-pp", "Set11", 0.1, run=side).psnr == 40
    assert results.cell(rows, "ista-net-pp", "Set11", 0.1, variant="blockwise").psnr == 41


def test_every_asker_has_the_same_default_network():
    for name in {e.method for e in ALL.values()}:
        for ratio in {ratio for e in ALL.values() if e.method == name for ratio in e.ratios}:
            runs = main_runs(name, ratio)
            assert len({e.edition for e in runs}) == len(runs), "one main network for each edition"
            files = {e.id: paths.weights_of(e.id) for e in runs}
            at_hand = [name for name, path in files.items() if path.is_file() and weights.is_whole(path)]
            shipped = [path.stem for path, header in loading.shipped(name) if ratio in header["ratios"]]
            assert shipped == at_hand
            if at_hand:
                assert methods.get(name).tensors(ratio).keys() and at_hand[0] in methods.get(name).weights


@pytest.mark.parametrize("name", [row.method for row in paper.TABLE1])
def test_the_default_row_of_every_method_of_table_1_reaches_its_cell(name, whole_training):
    kind = methods.class_of(name)
    forms = [("", "paper")] + [(kind.stand_in, "laptop")] * bool(kind.stand_in)
    if not issubclass(kind, methods.Network):
        assert methods.get(name).variant in [form for form, _ in forms]
    for form, edition in forms:
        run = next((e.id for e in main_runs(name, 0.1)), "")
        rows = whole(25, method=name, variant=form, run=run)
        (cell,) = (e for e in ledger.judge(rows) if e.id == f"table1/Set11/10/{name}")
        assert (cell.ours, cell.laptop) == ((25, None) if edition == "paper" else (None, 25))
        assert results.cell(rows, name, "Set11", 0.1).edition == edition


def test_forms_of_a_method_are_never_pooled():
    rows = [row(method="linear", run=""), row("house", method="linear", run="", variant="fitted to photos")]
    for pool in (results.mean, results.by_image, lambda rows: results.difference(rows, rows)):
        with pytest.raises(UserError, match="fitted to photos.* have no common mean"):
            pool(rows)
    with pytest.raises(UserError, match="tv"):
        results.mean([row(), row("house", method="tv")])


def test_whole_means_every_image_once():
    assert results.is_whole(whole(), "Set11")
    assert not results.is_whole(whole()[1:], "Set11")
    assert not results.is_whole([*whole(), row()], "Set11")
    assert not results.is_whole([], "no such set") and not results.is_whole([], "Set11")


def test_several_rows_of_an_image_count_as_their_mean():
    assert results.by_image([row(psnr=30), row(psnr=32, seed="1"), row("house", 20)]) == {"boats": 31, "house": 20}


@given(st.lists(DB, min_size=2, max_size=6))
def test_spread_is_over_matrices_and_repetitions_not_over_images(means):
    rows = [r for n, m in enumerate(means) for r in (row("a", m - 5, seed=str(n)), row("b", m + 5, seed=str(n)))]
    assert results.spread(rows, "ista-net-pp-main") == pytest.approx(np.std(means, ddof=1), abs=1e-9)
    runs = ["ista-net-pp-table4-e", *(e.id for e in ALL.values() if e.repeats == "ista-net-pp-table4-e")]
    again = [r | {"seed": "0", "run": runs[int(r["seed"])]} for r in rows if int(r["seed"]) < len(runs)]
    expected = np.std(means[: len(runs)], ddof=1)
    with pytest.MonkeyPatch.context() as patch:  # whatever has been shipped of them
        patch.setattr(results, "trained", lambda run: 1.0)
        assert len(runs) == 3 and results.spread(again, runs[0]) == pytest.approx(expected, abs=1e-9)
        patch.setattr(results, "trained", lambda run: 0.1 if run == runs[0] else 1.0)
        assert results.spread(again, runs[0]) is None  # of other lengths they are no repetitions


def test_spread_leaves_out_unfinished_repetitions():
    rows = [row("a", 30), row("b", 40), row("a", 31, seed="1"), row("b", 41, seed="1"), row("a", 99, seed="2")]
    assert results.spread(rows, "ista-net-pp-main") == pytest.approx(math.sqrt(0.5))
    assert results.spread(rows[:2], "ista-net-pp-main") is None and results.spread([], "x") is None


@given(st.lists(st.tuples(DB, DB), min_size=1, max_size=12))
def test_a_difference_is_antisymmetric_and_its_interval_holds_the_mean(pairs):
    ours, theirs = ([row(str(n), value[i]) for n, value in enumerate(pairs)] for i in (0, 1))
    there, back = results.difference(ours, theirs, draws=500), results.difference(theirs, ours, draws=500)
    assert there.mean == pytest.approx(-back.mean, abs=1e-9) and there.images == len(pairs)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    d = [a - b for a, b in pairs]
    assert min(d) - 1e-9 <= there.low <= there.high <= max(d) + 1e-9


def test_the_interval_shrinks_as_the_root_of_the_number_of_images():
    d = np.random.default_rng(1).normal(0.3, 1, 400)
    zero = [row(str(n), 30) for n in range(400)]
    found = results.difference([row(str(n), 30 + x) for n, x in enumerate(d)], zero)
    assert found.high - found.low == pytest.approx(2 * 1.96 * d.std() / 20, rel=0.1)
    assert found.resolved and not replace(found, low=-0.1).resolved and replace(found, low=-2, high=-1).resolved


def test_a_difference_is_over_shared_images_only():
    assert results.difference([row("a", 31), row("b", 99)], [row("a", 30), row("c", 9)]).mean == 1
    with pytest.raises(ValueError, match="share no image"):
        results.difference([row("a")], [row("b")])


def test_a_row_that_no_table_may_take_is_named(tmp_path):
    store(tmp_path / "a.csv", [row("house", ratio="10", ssim=""), row(psnr="inf", ratio="10", ssim="")])
    with pytest.raises(UserError, match="a.csv, line 3: its PSNR is infinite"):
        results.load(tmp_path)
    (boats,) = (entry for entry in entries("Set11") if entry.file.startswith("boats"))
    store(tmp_path / "a.csv", [row(ratio="10", ssim="", pixels=boats.sha256[:16])])
    assert len(results.load(tmp_path)) == 1
    for dataset in ("Set11", "Set11 (boats, house)"):
        store(tmp_path / "a.csv", [row(dataset=dataset, ratio="10", ssim="", pixels="0123456789abcdef")])
        with pytest.raises(UserError, match="a.csv, line 2: it was made of other pixels than those of boats in Set11"):
            results.load(tmp_path)
    store(tmp_path / "a.csv", [row(dataset="val", ratio="10", ssim="", pixels="0123456789abcdef")])
    assert len(results.load(tmp_path)) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nothing_is_concluded_from_what_is_not_finite(bad):
    rows = [row("house", 30), row("boats", bad), row("house", 30, seed="1"), row("boats", 31, seed="1")]
    for conclude in (
        lambda: results.mean(rows),
        lambda: results.cell(rows, "ista-net-pp", "Set11", 0.1),
        lambda: results.spread(rows, "ista-net-pp-main"),
        lambda: results.difference(rows[:2], rows[2:]),
    ):
        with pytest.raises(UserError):
            conclude()


def test_a_repetition_after_a_part_of_its_training_is_no_spread(monkeypatch):
    base = "ista-net-pp-table4-e"
    rows = whole(27.5, run=base) + whole(26.5, run=f"{base}-seed2")
    monkeypatch.setattr(results, "trained", {base: 1.0, f"{base}-seed2": 0.05}.get)
    assert results.cell(rows, "ista-net-pp", "Set11", 0.1, base).spread is None
    monkeypatch.setattr(results, "trained", lambda run: 1.0)
    assert results.cell(rows, "ista-net-pp", "Set11", 0.1, base).spread > 0.7


def test_an_empty_line_is_named_and_shifts_no_other(tmp_path):
    store(tmp_path / "a.csv", [row("house", ratio="10", ssim=""), row(ratio="10", ssim="")])
    lines = (tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join([*lines[:2], "", *lines[2:]]) + "\n")
    with pytest.raises(UserError, match="line 3 is empty"):
        results.load(tmp_path)


def test_a_row_that_stands_twice_is_named(tmp_path):
    for file in ("a.csv", "b.csv"):
        store(tmp_path / file, [row("house", ratio="10", ssim="")])
    with pytest.raises(UserError, match=r"b\.csv, line 2: stands in a\.csv, line 2 as well"):
        results.load(tmp_path)


def test_the_difference_on_a_single_image_is_never_resolved():
    assert not results.difference([row("a", 31)], [row("a", 30)]).resolved

"""The ladder of recipes: what it varies, and how its rows come about."""

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from istapp.__main__ import main
from istapp.basics.errors import UserError
from istapp.basics.paths import write_table
from istapp.experiments import ladder
from istapp.experiments.ladder import BASE, COLUMNS, OURS, EveryStage, Rung, UnitStep, climb, read, rungs, waiting
from istapp.images import datasets
from istapp.images.datasets import Image
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.metrics import mean_squared
from istapp.sampling import BlockSampling
from istapp.training import Recipe, ours

#: What changes together by its nature: fewer patches where they are larger, a shape that goes with all of the budget.
TOGETHER = [{"blocks", "batch"}, {"decay", "decay_shape"}]


def differences(a: Recipe, b: Recipe) -> set[str]:
    return {f.name for f in fields(Recipe) if getattr(a, f.name) != getattr(b, f.name)} - {"name"}


def test_every_rung_has_a_name_of_its_own() -> None:
    names = [rung.name for rung in rungs()]
    assert len(set(names)) == len(names) and {OURS, BASE} <= set(names)
    assert len({rung.key for rung in rungs()}) == len(names)


def test_every_stored_row_belongs_to_a_rung() -> None:
    """Rows are known by what was trained: of a rung that changed its recipe, the row is another one's."""
    keys = {rung.key: rung for rung in rungs()}
    for row in read():
        assert row["recipe"] == str(keys[row["key"]].recipe) and float(row["pixels"]) == keys[row["key"]].recipe.pixels


def test_a_variation_changes_one_thing() -> None:
    base = next(rung for rung in rungs() if rung.name == BASE)
    varied = [rung for rung in rungs() if rung.recipe.pixels == base.recipe.pixels and rung.name != BASE]
    assert len(varied) > 25
    for rung in varied:
        changed = differences(rung.recipe, base.recipe)
        assert len(changed) == 1 or changed in TOGETHER or (not changed and rung.network is not ISTANetPP), rung.name


def test_the_rungs_of_the_papers_size_differ_in_rates_and_decay() -> None:
    deep = [rung for rung in rungs() if rung.group == "depth"]
    assert deep[0].name == ladder.DEEP and {rung.network(**rung.size).parameter_count for rung in deep} == {760_220}
    for rung in deep[1:]:
        assert differences(rung.recipe, deep[0].recipe) <= {"rate", "muon_rate", "muon_decay"}, rung.name


def test_the_steps_lead_from_the_first_recipe_to_ours_at_equal_pixels() -> None:
    steps = [rung for rung in rungs() if rung.group == "steps"]
    assert steps[0].recipe.name == "first" and len({rung.recipe.pixels for rung in steps}) == 1
    assert next(rung for rung in steps if rung.name == OURS).recipe == ours(ladder.SHORT, renew_matrix=ladder.RENEW)


def test_other_losses_and_starts_are_what_they_are_called() -> None:
    torch.manual_seed(0)
    network, sampling, x = EveryStage(3, 4), BlockSampling(0.1), torch.rand(2, 1, 33, 33)
    errors = [mean_squared(estimate, x) for _, estimate in network.trace(sampling.A(x), sampling)]
    torch.testing.assert_close(network.loss(x, sampling), sum(errors) / 3)
    rho, _ = UnitStep(stages=20, channels=4).conditions(torch.tensor([0.1, 0.5]))
    assert ((rho - 1).abs() < 0.5).all() and abs(rho.mean().item() - 1) < 0.1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[Rung]:
    """A ladder of seconds: our recipe, one near it, one that diverges."""
    monkeypatch.setattr(ladder, "SIZE", {"stages": 1, "channels": 2})
    recipe = ours(3 * 33**2, batch=1, blocks=1, warm_up=0)
    found = [
        Rung(OURS, "steps", recipe), Rung("the same again", "steps", replace(recipe, epsilon=1.0000001e-5)),
        Rung("wild", "rate", ours(3 * 33**2, batch=1, blocks=1, warm_up=0, rate=math.inf)),
    ]  # fmt: skip
    pixels = datasets.photo("astronaut").gray().pixels
    images = [Image(f"p{i}", pixels[90 * i : 90 * i + 60, 50:110]) for i in range(3)]
    monkeypatch.setattr(ladder, "rungs", lambda: found)
    monkeypatch.setattr(datasets, "load", lambda name: images)
    return found


def test_climbing_stores_row_by_row_and_goes_on(small: list[Rung], tmp_path: Path) -> None:
    out, said = tmp_path / "ladder.csv", []
    assert climb(0.0, out, said.append) == 3 and not out.exists()  # no time: nothing is done
    assert climb(out=out, say=said.append) == 0
    rows = {(row["rung"], row["seed"]): row for row in read(out)}
    # A rung as good as ours, and ours, get three seeds; what diverged stays as a row of failure.
    assert set(rows) == {(OURS, s) for s in "123"} | {("the same again", s) for s in "123"} | {("wild", "1")}
    assert rows["wild", "1"]["mean"] == "nan" and rows[OURS, "1"]["mean"] == rows["the same again", "1"]["mean"]
    assert rows[OURS, "1"]["recipe"].startswith("Muon 0.01 and AdamW") and rows[OURS, "1"]["commit"]
    before = out.read_bytes()
    assert climb(out=out) == 0 and out.read_bytes() == before
    small[0] = replace(small[0], name="ours by another name")
    assert not list(waiting(read(out))) and read(out)[0]["rung"] == "ours by another name"
    small[1] = replace(small[1], recipe=replace(small[1].recipe, clip=0.5))
    assert [rung.name for rung, _ in waiting(read(out))][0] == "the same again"  # of a recipe that nobody trained


def test_a_group_is_climbed_alone_and_what_needs_a_gpu_waits_for_one(
    small: list[Rung], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    small.append(
        replace(small[1], name="of a GPU", group="rate", recipe=replace(small[1].recipe, clip=0.5), on_gpu=True)
    )
    assert [rung.name for rung, _ in waiting([], group="rate")] == ["wild"]
    assert [rung.name for rung, _ in waiting([], "cuda", "rate")] == ["wild", "of a GPU"]
    out = tmp_path / "ladder.csv"
    assert climb(out=out, group="rate") == 0 and [row["rung"] for row in read(out)] == ["wild"]
    assert main(["ladder", "--minutes", "1", "--group", "rates", "--out", str(out)]) == 2
    assert "no group 'rates'" in capsys.readouterr().err


def test_a_group_is_listed_alone(small: list[Rung], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = str(tmp_path / "ladder.csv")
    assert main(["ladder", "--out", out]) == 0 and capsys.readouterr().out.count("\n") == 3
    assert main(["ladder", "--group", "rate", "--out", out]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith("rate ") and " wild " in listed and listed.count("\n") == 1
    said = []
    for more in ([], ["--minutes", "1"]):
        assert main(["ladder", "--group", "rates", *more, "--out", out]) == 2
        said.append(capsys.readouterr())
    assert said[0] == said[1] and not said[0].out
    assert "no group 'rates' (did you mean 'rate'?); there are rate, steps\n" in said[0].err


def test_another_file_is_refused(small: list[Rung], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "notes.csv"
    out.write_text("a,b\n")
    with pytest.raises(UserError, match="is not a ladder"):
        read(out)
    assert main(["ladder", "--out", str(out)]) == 2 and "is not a ladder" in capsys.readouterr().err
    assert main(["ladder"]) == 0 and "wild" in capsys.readouterr().out


@pytest.mark.parametrize(("column", "text"), [("mean", "27.x"), ("mean", ""), ("seed", "one"), ("pixels", "inf")])
def test_a_damaged_row_is_one_line(column: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    row = dict.fromkeys(COLUMNS, "") | {"seed": "1", "pixels": "4e7", "mean": "nan"}
    write_table(tmp_path / "l.csv", COLUMNS, [row])
    assert [each["mean"] for each in read(tmp_path / "l.csv")] == ["nan"]  # a rung that failed
    write_table(tmp_path / "l.csv", COLUMNS, [row, row | {column: text}])
    assert main(["ladder", "--out", str(tmp_path / "l.csv")]) == 2
    assert f"l.csv, line 3: {column} is '{text}', which is no number" in capsys.readouterr().err


def test_first_seeds_come_first(small: list[Rung]) -> None:
    assert [seed for _, seed in waiting([])] == [1, 1, 1]

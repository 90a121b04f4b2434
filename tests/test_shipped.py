"""What is shipped in data/weights and data/results: whole, as its header says, and reproducing its recorded rows."""

import functools
import random
from pathlib import Path

import pytest

from istapp import methods
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.basics.provenance import commit, is_gpu, tensors_hash
from istapp.experiments import queue, travel, tuning
from istapp.experiments.evaluation import evaluate, read_rows
from istapp.images import datasets
from istapp.method import weights
from istapp.methods import fista, ista, tv
from istapp.paper import results
from istapp.training import of_header

SHIPPED = sorted(paths.WEIGHTS.glob("*.safetensors"))
TOLD = [path for path in SHIPPED if "run" in weights.header(path)]
TRAINED = [path for path in TOLD if weights.is_whole(path)]


def recorded(name: str) -> list[dict[str, str]]:
    return read_rows(paths.RESULTS / f"{name}.csv")


def recompute(row: dict[str, str]) -> float:
    """Take a recorded row once more; skips where its set is not at hand."""
    path = paths.weights_of(row["run"]) if row["run"] else None
    label, _, part = row["dataset"].partition(" (")
    try:
        (image,) = datasets.load(label, images=[row["image"]])
    except UserError as error:
        if "not at hand" not in str(error):
            raise
        pytest.skip(f"{label} is not at hand")
    assert not part or row["image"] in part
    forms = row["variant"].split("; ")
    alone = "blockwise" in forms
    ratio, method = float(row["ratio"]) / 100, methods.get(row["method"], weights=path)
    method = methods.whole_image(method) if "whole image" in forms else method
    found = evaluate(method, [image], [ratio], seed=int(row["seed"]), blockwise=alone)[0]
    assert found["variant"] == row["variant"]
    assert all(row[column] in ("", found[column]) for column in ("pixels", "weights"))
    return found["psnr"]


def quick(bundled: bool) -> list[dict[str, str]]:
    """Return the recorded rows of shipped weights that take about a second, on the bundled photographs or elsewhere.

    What was trained on a GPU was tested on it as well, which takes a hundredth of a processor's time.
    """
    limits = {path.stem: 0.015 if is_gpu(weights.header(path)["device"]) else 1.5 for path in TRAINED} | {"linear": 1.5}
    rows = [(row, limit) for name, limit in limits.items() for row in recorded(name)]
    return [row for row, most in rows if (row["dataset"] == "photos") == bundled and float(row["seconds"]) < most]


@functools.cache
def floor(ratio: str) -> dict[str, float]:
    """Return the linear estimate's PSNR on each photograph at a ratio in percent."""
    return {row["image"]: row["psnr"] for row in evaluate(methods.get("linear"), "photos", [float(ratio) / 100])}


#: Networks and ratios (%) below the linear estimate on the photographs; the gallery says so beside them.
BELOW = {("reconnet-50", "50"), ("dpdnn-laptop-10", "10"), ("gdn-laptop-10", "10")}

#: Other rows at every commit, the same ones for everybody who tests it.
DRAW = random.Random(commit())
LOTS = [row for bundled in (True, False) for row in DRAW.sample(quick(bundled), 5)]


def test_everything_shipped_fits_the_budget() -> None:
    assert sum(path.stat().st_size for path in SHIPPED) <= travel.SHIPPED


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_weights_match_their_header(path: Path) -> None:
    header, tensors = weights.load(path)
    assert header["weights_hash"] == tensors_hash(tensors)
    assert tensors.keys() == queue.find(header["run"]).network().state_dict().keys()


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.stem)
def test_headers_match_their_experiment(path: Path) -> None:
    header = weights.header(path)
    experiment = queue.find(header["run"])
    assert path.stem == experiment.id and header["config"] == experiment.config
    assert header["parameters"] == experiment.network().parameter_count
    recipe = of_header(header["recipe"])
    assert abs(header["pixels"] - recipe.pixels) <= recipe.pixels_per_step / 2
    assert header["training_set"] == experiment.training_set
    assert recipe.pixels == experiment.recipe.pixels or results.edition(experiment.id) == "part"
    for key in ("commit", "validation_psnr", "training_hash", "seed"):
        assert key in header
    assert "dirty" not in header["commit"]


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.stem)
def test_what_each_machine_did_adds_up(path: Path) -> None:
    header = weights.header(path)
    machines = weights.machines(header)
    for key in ("steps", "pixels"):
        assert sum(each[key] for each in machines) == header[key]
    assert sum(each["minutes"] for each in machines) == pytest.approx(header["minutes"], abs=0.02)
    last, recipe = machines[-1], of_header(header["recipe"])
    assert last["device"] == header["device"] and recipe.in_decay().patch == recipe.patch
    assert last["pixels"] == last["steps"] * recipe.pixels_per_step
    assert header["pixels_per_second"] == pytest.approx(last["pixels"] / 60 / last["minutes"], rel=0.01)


def called(row: dict[str, str]) -> str:
    return "-".join(row[column] for column in ("run", "dataset", "image", "ratio", "seed") if row[column])


@pytest.mark.parametrize("row", LOTS, ids=called)
def test_rows_drawn_by_lot_are_what_is_computed_now(row: dict[str, str]) -> None:
    assert recompute(row) == pytest.approx(float(row["psnr"]), abs=0.01)


def test_a_row_that_was_made_better_by_hand_is_noticed() -> None:
    row = min(quick(True), key=lambda row: float(row["seconds"]))
    assert recompute(row) != pytest.approx(float(row["psnr"]) + 0.02, abs=0.01)


@pytest.mark.verify
@pytest.mark.parametrize("name", ["linear", *(path.stem for path in TRAINED)])
def test_every_recorded_row_is_what_is_computed_now(name: str) -> None:
    absent = set()
    for row in recorded(name):
        try:
            found = recompute(row)
        except pytest.skip.Exception as error:
            absent.add(str(error))
            continue
        assert found == pytest.approx(float(row["psnr"]), abs=0.01), row
    if absent:
        pytest.skip(f"all others hold; {', '.join(sorted(absent))}")


@pytest.mark.parametrize("path", [p for p in TRAINED if weights.header(p)["main"]], ids=lambda path: path.stem)
def test_what_a_method_uses_beats_the_linear_estimate_at_every_ratio(path: Path) -> None:
    """Side experiments need not: an ablation may fail, and chapters 05 and 10 then say that it did.

    What fails here stands in `BELOW`, and its page shows by how much.
    """
    rows = [row for row in recorded(path.stem) if row["dataset"] == "photos"]
    for ratio in {row["ratio"] for row in rows}:
        own, least = {row["image"]: float(row["psnr"]) for row in rows if row["ratio"] == ratio}, floor(ratio)
        assert own.keys() == least.keys(), ratio
        assert (sum(own.values()) > sum(least.values())) == ((path.stem, ratio) not in BELOW), ratio


@pytest.mark.parametrize(("name", "lam"), [("ista", ista.LAMBDA), ("fista", fista.LAMBDA), ("tv", tv.LAMBDA)])
def test_the_weights_of_the_priors_are_the_best_on_training_images(name: str, lam: float) -> None:
    assert tuning.best(name) == lam
    assert {row["dataset"] for row in read_rows(tuning.FILE)} == {"Train400 validation"}


def test_the_official_network_is_not_shipped(official_dir: Path) -> None:
    official = methods.get("ista-net-pp", weights=next((official_dir / "istanet-plus-plus").glob("*.pkl")))
    theirs = tensors_hash(official.state_dict())
    assert all(tensors_hash(weights.load(path)[1]) != theirs for path in SHIPPED if weights.is_whole(path))

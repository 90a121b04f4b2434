"""What is shipped in data/weights and data/results: whole, as its header says, and reproducing its recorded rows."""

from pathlib import Path

import pytest

from istapp import datasets, experiments, methods, paths, tuning, weights
from istapp.errors import UserError
from istapp.evaluation import evaluate, read_rows
from istapp.methods import fista, ista, tv
from istapp.provenance import tensors_hash

SHIPPED = sorted(paths.WEIGHTS.glob("*.safetensors"))
TRAINED = [path for path in SHIPPED if "run" in weights.header(path)]


def recorded(path: Path) -> list[dict[str, str]]:
    return read_rows(paths.RESULTS / f"{path.stem}.csv")


def recompute(path: Path, row: dict[str, str]) -> float:
    method = methods.get(weights.header(path)["method"], weights=path)
    images = datasets.load(row["dataset"], images=[row["image"]])
    alone = "blockwise" in row["variant"].split("; ")
    found = evaluate(method, images, [float(row["ratio"]) / 100], seed=int(row["seed"]), block_by_block=alone)[0]
    assert found["variant"] == row["variant"]
    return found["psnr"]


def test_everything_shipped_fits_the_budget() -> None:
    assert sum(path.stat().st_size for path in SHIPPED) <= 32 * 2**20


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_weights_match_their_header_and_their_experiment(path: Path) -> None:
    header, tensors = weights.load(path)
    experiment = experiments.find(header["run"])
    assert path.stem == experiment.id and header["config"] == experiment.config
    assert header["weights_hash"] == tensors_hash(tensors)
    network = experiment.network()
    assert header["parameters"] == network.parameter_count
    assert tensors.keys() == network.state_dict().keys()
    assert header["steps"] == experiment.recipe.steps and header["training_set"] == experiment.training_set
    for key in ("commit", "device", "minutes", "pixels_per_second", "validation_psnr", "training_hash", "seed"):
        assert key in header
    assert "dirty" not in header["commit"]


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_weights_reproduce_a_recorded_row(path: Path) -> None:
    row = next(row for row in recorded(path) if row["dataset"] == "photos" and row["image"] == "chelsea")
    assert recompute(path, row) == pytest.approx(float(row["psnr"]), abs=0.01)


@pytest.mark.verify
@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_weights_reproduce_every_recorded_row(path: Path) -> None:
    for row in recorded(path):
        try:
            found = recompute(path, row)
        except UserError as error:
            if "not at hand" not in str(error):
                raise
            continue
        assert found == pytest.approx(float(row["psnr"]), abs=0.01), row


@pytest.mark.parametrize("path", [p for p in TRAINED if weights.header(p)["main"]], ids=lambda path: path.stem)
def test_what_a_method_uses_beats_the_linear_estimate_at_every_ratio(path: Path) -> None:
    """Side experiments need not: an ablation may fail, and chapters 05 and 10 then say that it did."""
    rows = [row for row in recorded(path) if row["dataset"] == "photos"]
    linear = methods.get("linear")
    for ratio in {row["ratio"] for row in rows}:
        own = {row["image"]: float(row["psnr"]) for row in rows if row["ratio"] == ratio}
        floor = {row["image"]: row["psnr"] for row in evaluate(linear, "photos", [float(ratio) / 100])}
        assert sum(own.values()) > sum(floor.values()), ratio


@pytest.mark.parametrize(("name", "lam"), [("ista", ista.LAMBDA), ("fista", fista.LAMBDA), ("tv", tv.LAMBDA)])
def test_the_weights_of_the_priors_are_the_best_on_training_images(name: str, lam: float) -> None:
    assert tuning.best(name) == lam
    assert {row["dataset"] for row in read_rows(tuning.FILE)} == {"Train400 validation"}


def test_the_official_network_is_not_shipped(official_dir: Path) -> None:
    official = methods.get("ista-net-pp", weights=next((official_dir / "istanet-plus-plus").glob("*.pkl")))
    theirs = tensors_hash(official.state_dict())
    assert all(tensors_hash(weights.load(path)[1]) != theirs for path in SHIPPED)

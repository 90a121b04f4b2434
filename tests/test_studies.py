"""What `istapp study` and `istapp datasets --register` leave behind: choices on training images, and the registry."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image as Picture

from istapp import methods
from istapp.__main__ import main
from istapp.basics.errors import UserError
from istapp.basics.paths import read_table
from istapp.experiments import gap, tuning
from istapp.experiments.evaluation import read_rows
from istapp.images import datasets, registry
from istapp.images.datasets import Image
from istapp.method import weights
from istapp.methods import linear


@pytest.fixture
def train400(monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """Two crops of a photograph, which stand for the training images and for those held out of them."""
    pixels = datasets.photo("camera").pixels
    few = [Image(f"crop{i}", pixels[60 * i : 60 * i + 60, 100:160]) for i in range(2)]
    monkeypatch.setattr(tuning, "split", lambda images: (images, images))
    monkeypatch.setattr(tuning.datasets, "load", lambda name: few if name == "Train400" else [])
    monkeypatch.setattr(tuning, "RATIOS", (0.3,))
    return few


def test_a_prior_is_weighed_on_training_images_and_the_study_goes_on(
    train400: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(tuning, "FILE", tmp_path / "tuning.csv")
    monkeypatch.setattr(tuning, "GRID", {"fista": (0.002, 0.3)})
    assert main(["study", "priors"]) == 0
    means = tuning.means("fista")
    assert tuning.best("fista") == 0.002 and means[0.002] > means[0.3] + 1
    assert f"fista 0.3: {means[0.3]:.3f} dB" in capsys.readouterr().err
    before = (tmp_path / "tuning.csv").read_bytes()
    assert main(["study", "priors"]) == 0 and (tmp_path / "tuning.csv").read_bytes() == before


def test_the_damping_is_chosen_on_the_middles_of_training_images(
    train400: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "AMP_FILE", tmp_path / "amp.csv")
    monkeypatch.setattr(tuning, "AMP_GRID", [(0.1, "last")])
    assert main(["study", "damping"]) == 0
    values = [float(row["psnr"]) for row in read_rows(tmp_path / "amp.csv")]
    assert len(values) == 2 and tuning.amp_means(0.3) == {(0.1, "last"): sum(values) / 2} and not tuning.amp_means(0.5)


def test_the_second_moment_is_stored_as_it_is_read(
    train400: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "SECOND_MOMENT", tmp_path / "c.safetensors")
    assert main(["study", "second-moment"]) == 0
    assert weights.header(linear.SECOND_MOMENT)["training_hash"] == datasets.data_hash(train400)
    read = linear._read.__wrapped__()
    torch.testing.assert_close(read, linear.fit_second_moment(i.luma() for i in train400), atol=1e-6, rtol=0)


def test_a_new_set_is_registered_and_the_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "registry.csv"
    for module in (registry, datasets):
        monkeypatch.setattr(module, "REGISTRY", written)
    shutil.copy(datasets.PHOTOS.parent / "registry.csv", written)
    before = written.read_text().splitlines()
    monkeypatch.setitem(registry.SETS, "New", registry.Dataset("New", "new", "test", "none"))
    monkeypatch.setenv("ISTAPP_DATA", str(tmp_path))
    for cached in (registry.entries, registry._hashes):
        cached.cache_clear()
    assert main(["datasets", "--register", "New"]) == 2  # no folder, no rows
    (tmp_path / "new").mkdir()
    for name, shade in (("b", 7), ("a", 200)):
        Picture.new("L", (40, 30), shade).save(tmp_path / "new" / f"{name}.png")
    assert main(["datasets", "--register", "New"]) == 0
    registry.entries.cache_clear()
    assert [image.name for image in datasets.load("New")] == ["a", "b"]
    after = written.read_text().splitlines()
    assert [line for line in after if not line.startswith("New,")] == before and len(after) == len(before) + 2
    registry.entries.cache_clear()


def test_the_gap_is_taken_on_pieces_and_on_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pixels = datasets.photo("camera").pixels
    crops = [Image(f"crop{i}", pixels[10 * i : 10 * i + 140, 100:240]) for i in range(22)]
    monkeypatch.setattr(gap, "FILE", tmp_path / "gap.csv")
    monkeypatch.setattr(gap.datasets, "load", lambda name: crops if name == "Train400" else crops[:2])
    monkeypatch.setattr(gap, "networks", lambda: (methods.get("linear"), methods.get("tv", iterations=3)))
    assert main(["study", "gap"]) == 0
    rows = read_table(tmp_path / "gap.csv", ["dataset", "blocks", "ratio", "images", "ours", "released"])
    assert [(r["dataset"], r["blocks"], r["ratio"], r["images"]) for r in rows] == [
        *(("Set11", side, ratio, "2") for ratio in ("10", "50") for side in "1240"), ("Set11", "0", "30", "2"),
        *(("Train400", "0", ratio, "2") for ratio in ("10", "30", "50")),
    ]  # fmt: skip
    one, two, four = (float(r["ours"]) for r in rows[:3])
    assert one == pytest.approx(two, abs=1e-3) == pytest.approx(four, abs=1e-3)  # it knows nothing beyond a block
    assert all(float(r["ours"]) > float(r["released"]) for r in rows) and "whole: +" in capsys.readouterr().out


def test_the_gap_wants_the_weights_of_the_authors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISTAPP_OFFICIAL", raising=False)
    with pytest.raises(UserError, match="set ISTAPP_OFFICIAL"):
        gap.networks()

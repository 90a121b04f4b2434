"""Evaluation: the loop, its rows, its file, and what it refuses."""

import csv
import math
from pathlib import Path

import pytest
import torch

from istapp import methods
from istapp.basics.errors import UserError
from istapp.experiments.evaluation import COLUMNS, evaluate, read_rows, reconstruct, summary
from istapp.images import datasets
from istapp.images.datasets import Image
from istapp.images.image import luma, write_image
from istapp.methods import Method
from istapp.metrics import psnr
from istapp.sampling import BlockSampling


class Counting(Method):
    """Back-projection that counts its calls."""

    name = "counting"
    calls = 0

    def __call__(self, y: torch.Tensor, sampling: BlockSampling) -> torch.Tensor:
        Counting.calls += 1
        return sampling.adjoint(y)


def crops(count: int = 2) -> list[Image]:
    pixels = datasets.photo("camera").pixels
    return [Image(f"crop{i}", pixels[40 * i : 40 * i + 35, 100:150]) for i in range(count)]


def test_a_row_holds_what_was_measured() -> None:
    image = crops(1)[0]
    (row,) = evaluate(methods.get("linear"), [image], [0.3], seed=5)
    estimate, _ = reconstruct(methods.get("linear"), image.luma(), BlockSampling(0.3, seed=5))
    assert tuple(row) == COLUMNS and row["ratio"] == 30 and row["seed"] == "5" and row["image"] == "crop0"
    assert row["psnr"] == pytest.approx(psnr(estimate, image.luma()), abs=1e-4)
    assert 0 < row["ssim"] < 1 and row["seconds"] >= 0 and row["variant"] == ""


def test_rows_are_written_image_by_image_and_not_computed_twice(tmp_path: Path) -> None:
    out, method = tmp_path / "new" / "rows.csv", Counting()
    Counting.calls = 0
    written: list[int] = []
    evaluate(method, crops(), [0.1, 0.5], out=out, progress=lambda _: written.append(len(read_rows(out))))
    assert written == [1, 2, 3, 4] and Counting.calls == 4
    again = evaluate(method, crops(3), [0.1, 0.5], out=out)
    assert Counting.calls == 6 and len(again) == 6 and len(read_rows(out)) == 6
    with out.open(newline="") as file:
        assert next(csv.reader(file)) == list(COLUMNS)


def test_rows_of_another_commit_with_the_same_code_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "rows.csv"
    for commit in ("old", "new-dirty"):
        monkeypatch.setattr("istapp.experiments.evaluation.commit", lambda commit=commit: commit)
        Counting.calls = 0
        evaluate(Counting(), crops(), [0.1], out=out)
    assert Counting.calls == 0 and [row["provenance"] for row in read_rows(out)] == ["old", "old"]


def test_blockwise_and_seed_are_rows_of_their_own(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    evaluate(Counting(), crops(1), [0.1], out=out)
    evaluate(Counting(), crops(1), [0.1], blockwise=True, out=out)
    evaluate(Counting(), crops(1), [0.1], seed=1, out=out)
    assert [(row["variant"], row["seed"]) for row in read_rows(out)] == [("", "0"), ("blockwise", "0"), ("", "1")]


def test_a_tiny_image_has_no_ssim_but_a_psnr() -> None:
    (row,) = evaluate(methods.get("linear"), [Image("dot", torch.full((1, 1), 90, dtype=torch.uint8))], [0.5])
    assert row["ssim"] is None and math.isfinite(row["psnr"])
    assert summary([row]).splitlines()[1].split() == ["50%", "1", f"{row['psnr']:.2f}", f"{row['seconds']:.2f}"]


def test_a_foreign_file_is_neither_resumed_nor_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "notes.csv"
    out.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="is not a file of results"):
        evaluate(Counting(), crops(1), [0.1], out=out)
    assert out.read_text() == "a,b\n1,2\n"


def test_a_set_that_is_missing_or_empty_yields_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTAPP_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, why in (("Set11", "not at hand"), (str(tmp_path), "no image"), ("Set12", "did you mean 'Set11'")):
        with pytest.raises(UserError, match=why):
            evaluate(Counting(), name, [0.1])


def test_the_mean_of_the_table_is_the_mean() -> None:
    rows = evaluate(Counting(), crops(), [0.1, 0.5])
    table = summary(rows)
    for ratio in (10, 50):
        values = [row["psnr"] for row in rows if row["ratio"] == ratio]
        assert f"{sum(values) / 2:.2f}" in table


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UserError, match="cpu or cuda"):
        evaluate(Counting(), crops(1), [0.1], device_name="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA GPU"):
            evaluate(Counting(), crops(1), [0.1], device_name="cuda")


def test_luma_of_planes_is_the_luma_of_the_image_up_to_rounding() -> None:
    image = datasets.photo("astronaut")
    assert (luma(image.rgb()) - image.luma()).abs().max() <= 0.5 / 255 + 1e-6
    gray = datasets.photo("camera").luma()
    assert torch.equal(luma(gray), gray)


def test_written_images_come_back(tmp_path: Path) -> None:
    for name in ("astronaut", "camera"):
        image = datasets.photo(name)
        planes = image.rgb() if image.colour else image.luma()
        write_image(tmp_path / f"{name}.png", planes)
        assert datasets.read_image(tmp_path / f"{name}.png").hash == image.hash
    with pytest.raises(UserError, match="image format"):
        write_image(tmp_path / "a.xyz", planes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["astronaut.png", "camera.png"]

"""One loop for all rows of Table 1: every method, every image, every ratio, one row each."""

import csv
import io
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from istapp import datasets
from istapp.datasets import Image
from istapp.errors import UserError, told
from istapp.methods import Method, blockwise
from istapp.metrics import psnr, ssim
from istapp.paths import write_atomically
from istapp.progress import Progress
from istapp.provenance import commit
from istapp.sampling import BlockSampling, pad

#: The columns of a result file. `ratio` is in percent; `seed` is the sampling matrix's; `run` the experiment's id.
COLUMNS = (
    "method", "dataset", "image", "ratio", "seed", "psnr", "ssim", "seconds", "run", "variant", "provenance"
)  # fmt: skip
_KEY = ("method", "dataset", "image", "ratio", "seed", "run", "variant")


def device(name: str = "cpu") -> torch.device:
    """Return the device of that name.

    Raises:
        UserError: the machine has no such device.
    """
    if name not in ("cpu", "cuda"):
        raise UserError(f"the device is cpu or cuda, not '{name}'")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA GPU is at hand: leave out --device, or use --device cpu")
    return torch.device(name)


def reconstruct(method: Method, image: Tensor, sampling: BlockSampling) -> tuple[Tensor, float]:
    """Measure an image and reconstruct it.

    Args:
        method: any of `methods.get`.
        image: (B, 1, H, W) in [0, 1] of any size, on the device to compute on.
        sampling: the operator, for instance ``method.sampling(ratio=0.1, seed=0)``.

    Returns:
        The estimate (B, 1, H, W), unclipped, and the seconds that the method took (without the measuring).
    """
    x, crop = pad(image, sampling.block)
    y = sampling.A(x)
    del x  # a large image's memory is wanted by the method
    _wait_for(image)
    start = time.perf_counter()
    estimate = method(y, sampling).detach()
    _wait_for(image)
    return crop(estimate), time.perf_counter() - start


def _wait_for(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


def evaluate(
    method: Method,
    dataset: str | Path | Sequence[Image],
    ratios: Iterable[float],
    seed: int = 0,
    device_name: str = "cpu",
    block_by_block: bool = False,
    out: str | Path | None = None,
    run: str = "",
    label: str = "images",
    progress: Callable[[str], None] | None = None,
    bad: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Reconstruct every image of a set at every ratio, on luma, and return a row for each.

    Args:
        method: any of `methods.get`.
        dataset: a registered name, a folder, or images.
        ratios: CS ratios in (0, 1].
        seed: of the sampling matrices.
        device_name: ``cpu`` or ``cuda``.
        block_by_block: take the cross-block path away.
        out: a CSV file that is rewritten after every image; rows that it holds already are not computed again if they
            are of the same commit and weights, and replaced if not.
        run: the experiment's id, for the rows.
        label: what the rows call a list of images.
        progress: called with a line of text after every image.
        bad: where a list is given, a line for each file that is no image, and for each image that the method cannot
            do, is added to it, and the others go on.

    Returns:
        The rows that were asked for, as dictionaries with the keys `COLUMNS`.

    Raises:
        UserError: a ratio the method does not serve, a set that is not at hand, an `out` that is no result file.
    """
    where = device(device_name)
    method = (blockwise(method) if block_by_block else method).to(where)
    samplings = {ratio: method.sampling(ratio, seed) for ratio in ratios}  # refuses a ratio before any work
    images = datasets.load(dataset, bad=bad) if isinstance(dataset, (str, Path)) else list(dataset)
    label = Path(dataset).name if isinstance(dataset, (str, Path)) else label
    stored = read_rows(out) if out is not None and Path(out).exists() else []
    done = {tuple(row[k] for k in _KEY): row for row in stored}
    rows, planned, clock = [], method.variant, Progress("", len(images) * len(samplings))
    for ratio, sampling in samplings.items():
        for image in images:
            row = {
                "method": method.name, "dataset": label, "image": image.name, "ratio": f"{100 * ratio:g}",
                "seed": "" if sampling.seed is None else str(sampling.seed), "run": run, "variant": planned,
                "provenance": " ".join(filter(None, [commit(), method.weights])),
            }  # fmt: skip
            key = tuple(row[k] for k in _KEY)
            if done.get(key, {}).get("provenance") != row["provenance"]:
                try:
                    row |= _measure(method, image, sampling, where)
                except (UserError, MemoryError, RuntimeError) as error:
                    if bad is None or told(error) is None:
                        raise
                    bad.append(f"{image.name} at {row['ratio']} %: {told(error)}")
                    continue
                row["variant"] = method.variant  # a method that its clock stopped says so only now
                key = tuple(row[k] for k in _KEY)
                done[key] = row
                _store(out, done)
            rows.append(done[key])
            if progress:
                count = len(rows) + len(bad or ())
                about = f"{method.name} {image.name} {row['ratio']} %: {done[key]['psnr']} dB"
                progress(f"{about}; {len(rows)} of {clock.total:g} rows, {clock.left(count)}")
    return [_numbers(row) for row in rows]


def _measure(method: Method, image: Image, sampling: BlockSampling, where: torch.device) -> dict[str, str]:
    reference = image.luma().to(where)
    estimate, seconds = reconstruct(method, reference, sampling)
    similarity = ssim(estimate, reference)
    return {
        "psnr": f"{psnr(estimate, reference):.4f}",
        "ssim": "" if similarity != similarity else f"{similarity:.4f}",
        "seconds": f"{seconds:.3f}",
    }


def _numbers(row: dict[str, str]) -> dict[str, Any]:
    """Return a row with PSNR, SSIM, ratio (percent) and seconds as numbers; an empty SSIM becomes None."""
    numeric = {k: float(row[k]) if row[k] else None for k in ("ratio", "psnr", "ssim", "seconds")}
    return {column: numeric.get(column, row[column]) for column in COLUMNS}


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of a result file as text.

    Raises:
        UserError: the file cannot be read, has other columns, or a row that is not whole.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise UserError(f"{path} is not a file of results: its columns are not {','.join(COLUMNS)}")
            return [_whole(row, f"{path}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def _whole(row: dict, where: str) -> dict[str, str]:
    """Return a row of which every column is there and every number is one."""
    if None in row or None in row.values():
        raise UserError(f"{where}: the row has not {len(COLUMNS)} columns; remove it, or restore the file")
    for column in ("ratio", "psnr", "ssim", "seconds"):
        try:
            number = float(row[column] or ("nan" if column == "psnr" else 0))
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise UserError(f"{where}: {column} is no number but {row[column][:40]!r}; remove the row, or restore it")
    return row


def _store(out: str | Path | None, rows: dict[tuple, dict[str, str]]) -> None:
    if out is None:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.values())
    write_atomically(out, lambda beside: beside.write_text(text.getvalue(), encoding="utf-8"))


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of means per ratio: images, PSNR in dB, SSIM, seconds per image."""
    lines = [f"{'ratio':>6} {'images':>7} {'PSNR dB':>9} {'SSIM':>8} {'seconds':>9}"]
    for ratio in dict.fromkeys(row["ratio"] for row in rows):
        own = [row for row in rows if row["ratio"] == ratio]
        similarity = [row["ssim"] for row in own if row["ssim"] is not None]
        ssim_text = f"{sum(similarity) / len(similarity):8.4f}" if similarity else f"{'':>8}"
        mean_psnr, seconds = (sum(row[k] for row in own) / len(own) for k in ("psnr", "seconds"))
        lines.append(f"{ratio:>5g}% {len(own):>7} {mean_psnr:9.2f} {ssim_text} {seconds:9.2f}")
    return "\n".join(lines)

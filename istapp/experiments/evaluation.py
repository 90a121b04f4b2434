"""One loop for all rows of Table 1: every method, every image, every ratio, one row each."""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from istapp import methods
from istapp.basics.errors import UserError, told
from istapp.basics.measuring import wait
from istapp.basics.progress import Progress
from istapp.basics.provenance import commit
from istapp.experiments import rows
from istapp.experiments.identity import code_key, short, weights_key
from istapp.experiments.rows import COLUMNS, IDENTITY, Row, name_of, read_rows
from istapp.images import datasets
from istapp.images.datasets import Image
from istapp.images.registry import SETS
from istapp.method.precision import exact_float32
from istapp.methods import Method
from istapp.metrics import finite, psnr, ssim
from istapp.sampling import BlockSampling, pad

__all__ = ["COLUMNS", "device", "evaluate", "label_of", "read_rows", "reconstruct", "summary"]


def device(name: str = "cpu") -> torch.device:
    """Return the device of that name, a GPU without TF32 in place of float32.

    Raises:
        UserError: the machine has no such device.
    """
    if name not in ("cpu", "cuda"):
        raise UserError(f"the device is cpu or cuda, not '{name}'")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA GPU is at hand: leave out --device, or use --device cpu")
    if name == "cuda":
        exact_float32()
    return torch.device(name)


def reconstruct(method: Method, image: Tensor, sampling: BlockSampling) -> tuple[Tensor, float]:
    """Measure an image and reconstruct it.

    Args:
        method: any of `methods.get`.
        image: (B, 1, H, W) in [0, 1] of any size, on the device to compute on.
        sampling: the operator, for instance ``method.sampling(ratio=0.1, seed=0)``.

    Returns:
        The estimate (B, 1, H, W), unclipped, and the seconds that the method took (without the measuring).

    Raises:
        UserError: what the method returned is no image of the size that was measured, or a number in it is NaN or
            infinite, or a method of ISTAPP_METHODS raised something.
    """
    x, crop = pad(image, sampling.block)
    y, shape = sampling.A(x), x.shape
    del x  # a large image's memory is wanted by the method
    wait(image.device)
    start = time.perf_counter()
    with methods.blamed(method.name):
        estimate = method(y, sampling)
    wait(image.device)
    seconds = time.perf_counter() - start
    if not isinstance(estimate, Tensor) or estimate.shape != shape:  # a larger one would be cut to size in silence
        what = tuple(estimate.shape) if isinstance(estimate, Tensor) else f"a {type(estimate).__name__}"
        raise UserError(f"{method.name} returned {what}, not a tensor of the shape that was measured, {tuple(shape)}")
    estimate = crop(estimate.detach())
    if not finite(estimate):
        raise UserError(
            f"{method.name} at {100 * sampling.ratio:g} % returned numbers that are NaN or infinite, so there is no "
            "estimate: its options or its weights are to blame"
        )
    return estimate, seconds


def label_of(dataset: str | Path) -> str:
    """Return what rows call a set: a registered set's name, or the last part of a path that can never be taken for one.

    A folder called as a registered set is told from it; ``.`` has the name of the folder that it stands for.
    """
    if str(dataset) in SETS:
        return str(dataset)
    name = Path(os.path.abspath(dataset)).name or "images"
    alike = name in SETS or name.startswith(tuple(f"{known} (" for known in SETS))
    return f"folder {name}" if alike else _printable(name)


def _printable(name: str) -> str:
    """Return a name with what is no UTF-8 in it, as file names may hold, written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def evaluate(
    method: Method,
    dataset: str | Path | Sequence[Image],
    ratios: Iterable[float],
    seed: int = 0,
    device_name: str = "cpu",
    blockwise: bool = False,
    out: str | Path | None = None,
    run: str = "",
    label: str = "images",
    progress: Callable[[str], None] | None = None,
    say: Callable[[str], None] | None = None,
    bad: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Reconstruct every image of a set at every ratio, on luma, and return a row for each.

    Args:
        method: any of `methods.get`.
        dataset: a registered name, a folder, or images.
        ratios: CS ratios in (0, 1].
        seed: of the sampling matrices.
        device_name: ``cpu`` or ``cuda``.
        blockwise: take the cross-block path away.
        out: a CSV file that is rewritten after every image, beside other processes that do the same; a row that it
            holds already is not computed again if it was made of the same pixels, weights and code (`identity`),
            and replaced if not.
        run: the experiment's id, for the rows.
        label: what the rows call a list of images.
        progress: called with a line of text after every image.
        say: called, before any work, with a line on what is computed again and why.
        bad: where a list is given, a line for each file that is no image, and for each image that the method cannot
            do, is added to it, and the others go on.

    Returns:
        The rows that were asked for, as dictionaries with the keys `COLUMNS`.

    Raises:
        UserError: what is no method, no list of ratios or no image, a ratio the method does not serve, a set that is
            not at hand, an `out` that is no result file, an estimate that is no image of the size measured or has
            numbers that are NaN or infinite.
    """
    _refuse_mistaken(method, ratios)
    where = device(device_name)
    method = (methods.blockwise(method) if blockwise else method).to(where)
    samplings = {ratio: method.sampling(ratio, seed) for ratio in ratios}  # refuses a ratio before any work
    images = datasets.load(dataset, bad=bad) if isinstance(dataset, (str, Path)) else list(dataset)
    label = label_of(dataset) if isinstance(dataset, (str, Path)) else label
    if other := [type(each).__name__ for each in images if not isinstance(each, Image)]:
        raise UserError(f"a list of images holds istapp.images.datasets.Image(name, pixels), not {other[0]}")
    plan = _planned(method, images, samplings, label, run)
    done = _stored(out, [row for row, *_ in plan], say)
    found, clock = [], Progress("", len(plan))
    for number, (planned, image, sampling) in enumerate(plan, 1):
        row = done.get(_key(planned))
        if row is None:
            measured = _tried(method, image, sampling, where, bad)
            if measured is None:
                continue
            row = planned | measured
            row["variant"] = method.variant  # a method that its clock stopped says so only now
            done[_key(row)] = row
            if out is not None:
                rows.put(out, row, {other["pixels"] for other, *_ in plan if other["image"] == row["image"]})
        found.append(row)
        if progress:
            about = f"{method.name} {row['image']} {row['ratio']} %: {row['psnr']} dB"
            progress(f"{about}; {len(found)} of {len(plan)} rows, {clock.left(number)}")
    return [_numbers(row) for row in found]


def _refuse_mistaken(method: object, ratios: object) -> None:
    """Refuse a method's name or class, and a single ratio."""
    if not isinstance(method, Method):
        name = method if isinstance(method, str) else "NAME"
        raise UserError(f"that is no method but a {type(method).__name__}: methods.get('{name}') gives one")
    if isinstance(ratios, (int, float)):
        raise UserError(f"the ratios are a list, also where there is one: [{ratios:g}]")


def _tried(
    method: Method, image: Image, sampling: BlockSampling, where: torch.device, bad: list[str] | None
) -> Row | None:
    """Measure an image; where `bad` collects what cannot be done, add a line to it and return None instead."""
    try:
        return _measure(method, image, sampling, where)
    except (UserError, MemoryError, RuntimeError) as error:
        if bad is None or told(error) is None:
            raise
        bad.append(f"{image.name} at {100 * sampling.ratio:g} %: {told(error)}")
        return None


def _planned(
    method: Method, images: Sequence[Image], samplings: Mapping[float, BlockSampling], label: str, run: str
) -> list[tuple[Row, Image, BlockSampling]]:
    """Return every row that is to be, as far as it is known before the work, with its image and operator."""
    code = code_key(method, reconstruct, _measure)
    plan = []
    for ratio, sampling in samplings.items():
        common = {
            "method": method.name, "dataset": label, "ratio": f"{100 * ratio:g}",
            "seed": "" if sampling.seed is None else str(sampling.seed), "run": _printable(run),
            "variant": method.variant,
            "provenance": " ".join(filter(None, [commit(), method.weights])),
            "weights": weights_key(method, ratio), "code": code,
        }  # fmt: skip
        own = [common | {"image": _printable(image.name), "pixels": short(image.hash)} for image in images]
        plan += zip(own, images, [sampling] * len(images))
    return plan


def _key(row: Row) -> tuple[str, ...]:
    return (*name_of(row), row["pixels"])


def _stored(out: str | Path | None, planned: Sequence[Row], say: Callable[[str], None] | None) -> dict[tuple, Row]:
    """Return the rows of a file that are those planned, by name and pixels, and say why others are not."""
    stored = read_rows(out) if out is not None and Path(out).exists() else []
    called: dict[tuple[str, ...], list[Row]] = {}
    for row in stored:
        called.setdefault(name_of(row), []).append(row)
    same, reasons = {}, Counter[str]()
    for row in planned:
        of_its_name = called.get(name_of(row), [])
        fit = [old for old in of_its_name if old["code"] and all(old[c] == row[c] for c in IDENTITY)]
        if fit:
            same[_key(row)] = fit[0]
        elif of_its_name:
            near = next((old for old in of_its_name if old["pixels"] == row["pixels"]), of_its_name[0])
            reasons[_reason(near, row)] += 1
    if reasons and say:
        why = ", ".join(f"{count} row{'s' * (count > 1)} with {reason}" for reason, count in reasons.items())
        say(f"{out}: computed again and replaced: {why}")
    return same


def _reason(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Return what sets a stored row apart from the one that is asked for under its name."""
    other = [column for column in IDENTITY if old[column] and old[column] != new[column]]
    return f"other {' and '.join(other)}" if other else "pixels, weights or code that it does not tell"


def _measure(method: Method, image: Image, sampling: BlockSampling, where: torch.device) -> Row:
    reference = image.luma().to(where)
    try:
        estimate, seconds = reconstruct(method, reference, sampling)
    except UserError as error:
        raise UserError(f"{image.name}: {error}") from None
    similarity = ssim(estimate, reference)
    return {
        "psnr": f"{psnr(estimate, reference):.4f}",
        "ssim": "" if math.isnan(similarity) else f"{similarity:.4f}",
        "seconds": f"{seconds:.3f}",
    }


def _numbers(row: Row) -> dict[str, Any]:
    """Return a row with PSNR, SSIM, ratio (percent) and seconds as numbers; an empty SSIM becomes None."""
    numeric = {k: float(row[k]) if row[k] else None for k in ("ratio", "psnr", "ssim", "seconds")}
    return {column: numeric.get(column, row[column]) for column in COLUMNS}


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of means per ratio: images, PSNR in dB, SSIM, seconds per image.

    An image that was recovered exactly has an infinite PSNR; it is counted, said, and left out of the mean.
    """
    lines = [f"{'ratio':>6} {'images':>7} {'PSNR dB':>9} {'SSIM':>8} {'seconds':>9}"]
    for ratio in dict.fromkeys(row["ratio"] for row in rows):
        own = [row for row in rows if row["ratio"] == ratio]
        similarity = [row["ssim"] for row in own if row["ssim"] is not None]
        ssim_text = f"{sum(similarity) / len(similarity):8.4f}" if similarity else f"{'':>8}"
        seconds = sum(row["seconds"] for row in own) / len(own)
        values = [row["psnr"] for row in own if math.isfinite(row["psnr"])]
        psnr_text = f"{sum(values) / len(values):9.2f}" if values else f"{'exact':>9}"
        exact = f"  ({len(own) - len(values)} recovered exactly, not in the mean)" if len(values) < len(own) else ""
        lines.append(f"{ratio:>5g}% {len(own):>7} {psnr_text} {ssim_text} {seconds:9.2f}{exact}")
    return "\n".join(lines)

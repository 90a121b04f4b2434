"""Reconstructing files: an image from its own measurements, or every image of a folder."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from istapp.basics import progress
from istapp.basics.errors import UserError, speakable, told
from istapp.basics.paths import read_table, write_table
from istapp.basics.provenance import commit, tensors_hash
from istapp.experiments.evaluation import reconstruct
from istapp.images.image import Image, image_files, luma, read_image, refuse_image_target, write_image
from istapp.methods import Method
from istapp.metrics import psnr
from istapp.sampling import BlockSampling

#: What a folder of reconstructions says of itself, so that a run that was broken off goes on and believes only what
#: is still there: `setting` is what the estimate depends on beside the image, the hashes are those of pixels and file.
RECORD = "reconstructions.csv"
COLUMNS = ("file", "pixels", "setting", "estimate", "sha256", "psnr", "seconds")


@dataclass(frozen=True)
class Job:
    """What is done to each image: measured with `sampling`, reconstructed with `method` on a device.

    `bits`: how many a 16-bit gray file uses, see `read_image`.
    """

    method: Method
    sampling: BlockSampling
    device: torch.device
    bits: int | None = None

    @property
    def setting(self) -> str:
        """Everything that an estimate depends on beside its image, as text."""
        method = self.method
        parts = [repr(self.sampling), method.name, method.variant, method.weights, *_weights(method)]
        return "; ".join(filter(None, [*parts, f"{self.bits} bits" if self.bits else "", commit()]))

    def run(self, image: Image) -> tuple[Tensor, float, float]:
        """Reconstruct one image, in colour if it has any.

        Returns:
            The estimate, (3, 1, H, W) or (1, 1, H, W), the PSNR in dB of its luma, and the method's seconds.
        """
        planes = image.rgb() if image.colour else image.luma()
        estimate, seconds = reconstruct(self.method, planes.to(self.device), self.sampling)
        del planes
        estimate = estimate.cpu()
        return estimate, psnr(luma(estimate), image.luma()), seconds


def _weights(method: Method) -> list[str]:
    """Return what identifies the numbers of a method's networks."""
    inner = getattr(method, "method", method)
    networks = getattr(inner, "networks", {"": inner}).values()
    return [tensors_hash(each.state_dict())[:12] for each in networks if isinstance(each, torch.nn.Module)]


def reconstruct_folder(job: Job, folder: Path, out: Path) -> tuple[int, list[str]]:
    """Reconstruct every image of a folder into PNG files of another, and go past those that cannot be.

    What an earlier run has left in `out`, and still is as it left it, is not computed again.

    Returns:
        How many images are reconstructed, and a line for each that is not.

    Raises:
        UserError: a folder that cannot be read or written, or is one and the same; two images for one file.
    """
    files = image_files(folder)
    if out.exists() and out.samefile(folder):
        raise UserError(f"{out} is the folder of the images itself; name another one for the reconstructions")
    refuse_image_target(out / "probe.png", colour=True)
    targets = _targets(files, out)
    record, bad, clock = _read(out), [], progress.Progress("", len(files))
    setting = job.setting
    for number, (path, target) in enumerate(targets.items(), 1):
        name = speakable(path.name)
        try:
            image = read_image(path, job.bits)
            known = [record.get(name, {}).get(key) for key in ("pixels", "setting", "sha256")]
            made = None if known == [image.hash, setting, _hash(target)] else job.run(image)
        except (OSError, UserError, MemoryError, RuntimeError) as error:
            line = told(error)
            if line is None:
                raise
            bad.append(line if str(path) in line else f"{path}: {line}")
            continue
        if made is not None:
            estimate, value, seconds = made
            write_image(target, estimate)
            about = (name, image.hash, setting, speakable(target.name), _hash(target), f"{value:.4f}", f"{seconds:.3f}")
            record[name] = dict(zip(COLUMNS, about))
            write_table(out / RECORD, COLUMNS, record.values())
        progress.line(f"{number} of {len(files)} images, {clock.left(number)}, {len(bad)} bad")
    progress.line("")
    return len(files) - len(bad), bad


def _targets(files: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return the file in `out` for each image: its stem, or its whole name where others would be written there, too.

    A whole name can be what another's stem makes (a.gif and a.gif.png), which then takes its own.

    Raises:
        UserError: links in `out` lead two images to one file, or one to an image of the folder.
    """
    targets = {path: out / f"{path.stem}.png" for path in files}
    while shared := _shared(targets):
        whole = {path: out / f"{path.name}.png" for path in shared}
        if all(targets[path] == target for path, target in whole.items()):
            first, second, *_ = (speakable(path.name) for path in shared)
            raise UserError(f"{first} and {second} would be written to one file in {out}; remove the links there")
        targets |= whole
    images = {os.path.realpath(path) for path in files}
    for target in targets.values():
        if os.path.realpath(target) in images:
            raise UserError(f"{target} is an image of the folder itself; remove the link")
    return targets


def _shared(targets: dict[Path, Path]) -> list[Path]:
    """Return the images of which one is written where another is, links followed."""
    places = {path: os.path.realpath(target) for path, target in targets.items()}
    counts = Counter(places.values())
    return sorted((path for path in places if counts[places[path]] > 1), key=places.__getitem__)


def _hash(path: Path) -> str:
    """Return the SHA-256 of a file; empty where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _read(out: Path) -> dict[str, dict[str, str]]:
    """Return what a folder's record says of each file; a damaged one says nothing."""
    try:
        return {row["file"]: row for row in read_table(out / RECORD, COLUMNS)}
    except UserError:
        return {}

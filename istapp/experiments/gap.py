"""Where the shipped ISTA-Net++ stays behind the authors' weights: on which pieces of an image, and on which images.

``istapp study gap`` writes ``data/results/gap.csv``: both networks on Set11 cut into pieces of one, two and four blocks
a side and uncut, and on images that both were trained on. It needs the authors' weights in
``ISTAPP_OFFICIAL/istanet-plus-plus``, Set11 and Train400. These rows are no cells of a table; they are to tell reasons
apart. What lies in the context beyond a block cannot show on single blocks; what was learned by heart shows on the
training images the other way round.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from torch import Tensor

from istapp import methods
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.basics.provenance import commit
from istapp.experiments.identity import short, weights_key
from istapp.images import datasets
from istapp.images.datasets import Image
from istapp.method.base import Method
from istapp.metrics import psnr
from istapp.sampling import BLOCK, pad
from istapp.training import split

FILE = paths.RESULTS / "gap.csv"

#: Blocks along the side of a piece, 0 for whole images; ratios at which pieces are compared; and images.
SIDES, PIECES, RATIOS = (1, 2, 4, 0), (0.1, 0.5), (0.1, 0.3, 0.5)

#: Every so many-th training image is taken.
EVERY = 19


@dataclass(frozen=True)
class Gap:
    """A mean over images by two networks.

    Attributes:
        dataset: which images; ``Train400`` are images that both networks were trained on.
        blocks: along the side of a piece, 0 for whole images.
        ratio: percent.
        images: how many.
        ours: mean PSNR in dB by the shipped network, all pieces of an image together.
        released: the same by the authors' weights.
        weights: the key of ours.
        commit: of the code.
    """

    dataset: str
    blocks: int
    ratio: float
    images: int
    ours: float
    released: float
    weights: str
    commit: str


def pieces(image: Image, blocks: int) -> Tensor:
    """Return the whole pieces of an image, (n, 1, side, side) with ``side = 33 blocks``, from its upper left corner."""
    side = BLOCK * blocks
    x = image.luma()
    x = x[..., : x.shape[-2] // side * side, : x.shape[-1] // side * side]
    return x.unfold(2, side, side).unfold(3, side, side).reshape(-1, 1, side, side)


def quality(method: Method, image: Image, ratio: float, blocks: int = 0) -> float:
    """Return the PSNR in dB of an image, each of its pieces measured and recovered by itself; 0 blocks: uncut."""
    sampling = method.sampling(ratio, 0)
    if not blocks:
        x, crop = pad(image.luma())
        return psnr(crop(method(sampling.A(x), sampling)), image.luma())
    x = pieces(image, blocks)
    return psnr(method(sampling.A(x), sampling), x)


def networks() -> tuple[Method, Method]:
    """Return the shipped network and the authors'.

    Raises:
        UserError: the authors' weights are not at hand.
    """
    folder = os.environ.get("ISTAPP_OFFICIAL", "")
    found = sorted((Path(folder) / "istanet-plus-plus").glob("*.pkl")) if folder else []
    if not found:
        raise UserError("set ISTAPP_OFFICIAL to the folder with the authors' istanet-plus-plus/net_params_401.pkl")
    return methods.get("ista-net-pp"), methods.get("ista-net-pp", weights=found[0])


def measured(ours: Method, theirs: Method, sets: dict[str, list[Image]]) -> Iterator[Gap]:
    """Yield a row for every size of a piece at its ratios, and for every set at the others."""
    asked = [("Set11", blocks, ratio) for ratio in PIECES for blocks in SIDES]
    asked += [(name, 0, ratio) for name in sets for ratio in RATIOS if (name, 0, ratio) not in asked]
    for name, blocks, ratio in asked:
        images = sets[name]
        mine, other = (fmean(quality(m, image, ratio, blocks) for image in images) for m in (ours, theirs))
        key = short(weights_key(ours, ratio))
        yield Gap(name, blocks, 100 * ratio, len(images), mine, other, key, commit())


def study(say: Callable[[str], None] = print) -> None:
    """Take the rows and write them.

    Raises:
        UserError: weights or images are not at hand.
    """
    sets = {"Set11": datasets.load("Set11"), "Train400": split(datasets.load("Train400"))[0][::EVERY]}
    rows = []
    for row in measured(*networks(), sets):
        rows.append(row)
        what = f"pieces of {row.blocks} x {row.blocks} blocks" if row.blocks else "whole"
        say(f"{row.dataset} {row.ratio:g} %, {what}: {row.ours - row.released:+.2f} dB")
    paths.write_records(FILE, rows)

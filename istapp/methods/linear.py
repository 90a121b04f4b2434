r"""The best linear estimate: :math:`\hat x = Q y` with :math:`Q = C\Phi^\top(\Phi C\Phi^\top)^{-1}`.

:math:`C` is the second moment of the blocks of the training images, so Q minimises :math:`E\|x - Qy\|^2` over matrices.
ISTA-Net and ISTA-Net+ start from it (Zhang and Ghanem, 2018, as a fit to pairs of blocks); here :math:`C`
is stored once, and Q follows for any sampling matrix. No trainable parameters; block by block. Chapter 01 derives it.
"""

import sys
from collections.abc import Iterable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.method import weights as files
from istapp.method.base import Method
from istapp.sampling import BLOCK, BlockSampling, MixedSampling, exactly

SECOND_MOMENT = paths.WEIGHTS / "second-moment.safetensors"


def second_moment() -> Tensor:
    r"""Return :math:`C = E[xx^\top]` over all 33 x 33 blocks of Train400, (1089, 1089) float64."""
    sys.audit("istapp.weights", str(SECOND_MOMENT))  # a page names it wherever it is used, not only where it is read
    return _read()


@cache
def _read() -> Tensor:
    """Unpack the stored upper triangle."""
    with torch.device("cpu"):  # it is kept, also where a network is being built that has no memory yet
        packed = files.load(SECOND_MOMENT)[1]["upper"].double()
        rows, columns = torch.triu_indices(BLOCK**2, BLOCK**2)
        c = torch.zeros(BLOCK**2, BLOCK**2, dtype=torch.float64)
        c[rows, columns] = packed
        return torch.triu(c, 1).T + c


def fit_second_moment(images: Iterable[Tensor], stride: int = 7) -> Tensor:
    """Return the mean of x x^T over the blocks at every `stride` pixels of images (1, 1, H, W), (1089, 1089) float64.

    Every image counts in all its eight flips and rotations, as in training.
    """
    total, count = torch.zeros(BLOCK**2, BLOCK**2, dtype=torch.float64), 0
    for image in images:
        for turned in (image, image.mT):
            for dims in ((), (-1,), (-2,), (-1, -2)):
                blocks = F.unfold(turned.flip(dims), BLOCK, stride=stride)[0]  # (1089, blocks)
                total += (blocks @ blocks.T).double()
                count += blocks.shape[1]
    return total / count


def linear_initialisation(sampling: BlockSampling) -> Tensor:
    r"""Return :math:`Q = C\Phi^\top(\Phi C\Phi^\top)^{-1}`, (1089, m) float64; :math:`\Phi Q = I`.

    It is computed once for each operator. Where rows of :math:`\Phi` depend on each other it is the smallest of many.

    Raises:
        UserError: the blocks are not 33 x 33 pixels, or the operator serves several ratios at once.
    """
    if "Q" not in sampling.remembered:
        if sampling.block != BLOCK:
            raise UserError(f"the linear estimate is known for {BLOCK} x {BLOCK} blocks, not {sampling.block}")
        if isinstance(sampling, MixedSampling) and len(sampling.choices) > 1:
            raise UserError("the linear estimate has one Q for one ratio: measure every ratio with its own operator")
        phi, c = sampling.phi, second_moment()
        try:
            q = torch.linalg.solve(phi @ c @ phi.T, phi @ c).T
        except torch.linalg.LinAlgError:
            q = (torch.linalg.pinv(phi @ c @ phi.T, rtol=1e-10, hermitian=True) @ phi @ c).T
        sampling.remembered["Q"] = q
    return sampling.remembered["Q"]


def apply_blocks(q: Tensor, y: Tensor) -> Tensor:
    """Apply Q (block², m) to the measurements of every block, (B, m, h, w) -> (B, 1, block*h, block*w)."""
    block = round(len(q) ** 0.5)
    with exactly(y):
        x = F.conv2d(y, q.to(y)[:, :, None, None])  # (B, block², h, w)
    return F.pixel_shuffle(x, block)


class Linear(Method):
    """The linear estimate of each block."""

    name = "linear"
    blockwise = True

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Return Q y, block by block."""
        sys.audit("istapp.weights", str(SECOND_MOMENT))  # also where Q is remembered
        return apply_blocks(linear_initialisation(sampling), y).detach()


METHOD = Linear

r"""Block sampling: the operator :math:`\Phi` of compressive sensing, block by block.

An image is cut into blocks of 33 x 33 pixels, and each block, read row by row as a vector of 1089 numbers, is
multiplied by the same :math:`m \times 1089` sampling matrix. That is a convolution with kernel and stride 33, which
acts on a whole image at once (ISTA-Net++, Eqs. 4 and 5); since its windows do not overlap, one product of matrices
computes it, much faster in training. Chapter 01 derives everything in this file.
"""

import math
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from numbers import Integral, Real

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from istapp.basics.errors import UserError

BLOCK = 33

#: The field's customary numbers of measurements for 33 x 33 blocks, keyed by percent; 1, 4 and 25 % are rounded down.
CUSTOMARY = {1: 10, 4: 43, 10: 109, 20: 218, 25: 272, 30: 327, 40: 436, 50: 545}


def measurements(ratio: float, block: int = BLOCK) -> int:
    r"""Return :math:`m`, the number of measurements per block at a CS ratio :math:`\gamma` in (0, 1].

    The customary table for 33 x 33 blocks, elsewhere :math:`\lceil \gamma B^2 \rceil`.

    Raises:
        UserError: the ratio is not a number in (0, 1].
    """
    if not (isinstance(ratio, Real) and 0 < ratio <= 1):
        raise UserError(f"a CS ratio is a fraction in (0, 1], not {ratio!r}")
    # Rounding first keeps 0.07 * 100 = 7.000000000000001, or the 0.1 of float32, from costing a measurement.
    percent = round(100 * float(ratio), 5)
    if block == BLOCK and percent in CUSTOMARY:
        return CUSTOMARY[round(percent)]
    return max(math.ceil(round(float(ratio) * block**2, 4)), 1)


def _refuse_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise UserError(f"the seed of a matrix is a whole number from 0 on, not {seed!r}")


@lru_cache(maxsize=8)
def _orthogonal(seed: int, n: int) -> np.ndarray:
    gaussian = np.random.Generator(np.random.PCG64(seed)).standard_normal((n, n))
    q, r = np.linalg.qr(gaussian)
    # A QR factorisation is unique once the diagonal of R is positive: every machine then gets the same matrix.
    return np.ascontiguousarray((q * np.sign(np.diag(r))).T)


def sampling_matrix(m: int, seed: int = 0, block: int = BLOCK) -> np.ndarray:
    r"""Return the seeded random :math:`\Phi`, (m, block²) float64 with :math:`\Phi\Phi^\top = I`.

    The rows come from one orthogonal matrix per seed (QR of a Gaussian matrix), so the matrices of all ratios are
    nested: the first rows of a large one are the small one.

    Raises:
        UserError: `m` is outside 1 ... block², or `seed` is no whole number from 0 on.
    """
    _refuse_seed(seed)
    if not 1 <= m <= block**2:
        raise UserError(f"a {block} x {block} block has 1 to {block**2} measurements, not {m}")
    return _orthogonal(seed, block**2)[:m].copy()


def gaussian_sampling(ratio: float, seed: int = 0, block: int = 16) -> "BlockSampling":
    r"""Return the operator of DPA-Net and MAC-Net: small blocks, and a matrix that is not made orthonormal.

    :math:`\Phi` is (m, block²) with independent entries of standard deviation 1/m and
    :math:`m = \lceil\gamma B^2\rceil`, which at 16 x 16 pixels and 10 % is 10.16 % in truth.

    Raises:
        UserError: the ratio is outside (0, 1], or `seed` is no whole number from 0 on.
    """
    _refuse_seed(seed)
    m = measurements(ratio, block)
    phi = np.random.Generator(np.random.PCG64(seed)).standard_normal((m, block**2)) / m
    return BlockSampling(ratio, seed, block, phi, kind="gaussian")


def exactly(x: Tensor) -> torch.autocast:
    """Return a context in which the operator keeps the precision of x, also in a network that computes in bfloat16."""
    return torch.autocast(x.device.type, enabled=False)


def _refuse_integers(values: Tensor) -> None:
    if not isinstance(values, Tensor):
        raise UserError(f"images and measurements are tensors, not {type(values).__name__}: torch.from_numpy makes one")
    if not values.is_floating_point():
        raise UserError(f"images and measurements are floats, not {values.dtype}; 8-bit pixels: image.float() / 255")


class BlockSampling:
    r"""The sampling operator :math:`A(x) = \Phi x` of every block, and its adjoint.

    Inputs are followed in dtype and device: float64 images are measured in float64, images on a GPU stay there.

    Attributes:
        block: side :math:`B` of a block in pixels.
        m: measurements per block.
        ratio: nominal CS ratio :math:`\gamma` in (0, 1], the condition that a network sees.
        seed: seed of a random matrix, None for a given one.
        kind: ``orthonormal`` (random), ``gaussian`` (random, see `gaussian_sampling`), or the name of a given matrix,
            ``given`` where it has none.
        phi: the matrix :math:`\Phi`, (m, B²) float64.
        remembered: what methods computed from the matrix and want to find again.
    """

    def __init__(
        self,
        ratio: float = 0.1,
        seed: int | None = 0,
        block: int = BLOCK,
        phi: np.ndarray | Tensor | None = None,
        kind: str | None = None,
    ) -> None:
        """Draw the matrix of `seed` at `ratio`, or take a given `phi` of shape (m, block²).

        Raises:
            UserError: the ratio is outside (0, 1], or `phi` is complex, does not have block² columns or is not finite.
        """
        m = measurements(ratio, block)
        given = sampling_matrix(m, seed or 0, block) if phi is None else phi
        if given.is_complex() if isinstance(given, Tensor) else np.iscomplexobj(given):
            raise UserError("Phi is complex: a measurement here is a real number")
        self.phi = torch.as_tensor(given, dtype=torch.float64, device="cpu")
        if self.phi.ndim != 2 or self.phi.shape[1] != block**2 or not len(self.phi):
            raise UserError(f"Phi must be m x {block**2} for {block} x {block} blocks, not {tuple(self.phi.shape)}")
        if phi is not None and not self.phi.isfinite().all():
            raise UserError("Phi holds numbers that are not finite")
        self.block, self.m, self.ratio = block, self.phi.shape[0], float(ratio)
        # A given matrix is not the one of a seed, unless whoever gives it says that it was drawn.
        self.kind = kind or ("orthonormal" if phi is None else "given")
        self.seed = seed if self.kind in ("orthonormal", "gaussian") else None
        if phi is None:  # the pages say which matrices they drew, see `istapp.figures.origin`
            sys.audit("istapp.matrix", seed or 0)
        self._norm: float | None = None
        self._copies: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        self.remembered: dict[str, Tensor] = {}

    def __repr__(self) -> str:
        matrix = f"{self.m} x {self.block**2}"
        return f"BlockSampling(ratio={self.ratio}, {matrix}, kind={self.kind!r}, seed={self.seed})"

    @property
    def norm(self) -> float:
        r"""The largest eigenvalue of :math:`\Phi^\top\Phi`: 1 for orthonormal rows, the Lipschitz constant of ISTA."""
        if self._norm is None:
            self._norm = float(torch.linalg.matrix_norm(self.phi, ord=2) ** 2)
        return self._norm

    def matrix(self, like: Tensor) -> Tensor:
        """Return the matrix, (m, block²), in the dtype and device of `like`."""
        key = (like.dtype, like.device)
        if key not in self._copies:
            with torch.inference_mode(False):  # a copy made in that mode would serve no gradient later
                self._copies[key] = self.phi.to(like)
        return self._copies[key]

    def A(self, x: Tensor) -> Tensor:  # the operator's name in every equation
        r"""Measure: :math:`y = \Phi x` block by block, (B, 1, block*h, block*w) -> (B, m, h, w). ISTA-Net++, Eq. 4.

        Raises:
            ValueError: `x` is not a whole number of blocks; use `pad`.
            UserError: `x` holds whole numbers, in which a product would overflow.
        """
        _refuse_integers(x)
        if x.ndim != 4 or x.shape[1] != 1 or x.shape[2] % self.block or x.shape[3] % self.block or 0 in x.shape:
            raise ValueError(
                f"x must be (B, 1, {self.block}h, {self.block}w), not {tuple(x.shape)}; pad(image) fills up the sides"
                + ", and colours are images of their own in the batch" * (x.ndim == 4 and x.shape[1] == 3)
            )
        batch, h, w = len(x), x.shape[2] // self.block, x.shape[3] // self.block
        with exactly(x):
            blocks = x.reshape(batch, h, self.block, w, self.block).transpose(2, 3).reshape(-1, self.block**2)
            return (blocks @ self.matrix(x).T).view(batch, h, w, self.m).permute(0, 3, 1, 2).contiguous()

    def adjoint(self, y: Tensor) -> Tensor:
        r"""Back-project: :math:`\Phi^\top y` block by block, (B, m, h, w) -> (B, 1, block*h, block*w). Eq. 5."""
        _refuse_integers(y)
        if y.ndim != 4 or y.shape[1] != self.m:
            raise ValueError(f"y must be (B, {self.m}, h, w), not {tuple(y.shape)}")
        batch, _, h, w = y.shape
        with exactly(y):
            blocks = y.permute(0, 2, 3, 1).reshape(-1, self.m) @ self.matrix(y)
            blocks = blocks.view(batch, h, w, self.block, self.block).transpose(2, 3)
            return blocks.reshape(batch, 1, h * self.block, w * self.block)

    def normal(self, x: Tensor) -> Tensor:
        r"""Return :math:`\Phi^\top\Phi x`, the same shape as `x`: a projection where the rows are orthonormal."""
        return self.adjoint(self.A(x))


class MixedSampling(BlockSampling):
    """A batch in which each image has its own ratio: nested matrices, the unused measurements masked to zero.

    Shapes do not depend on the ratios and all changes happen in place, so one compiled graph serves every step of a
    training run.

    Attributes:
        ratio: (B,) float32 tensor of nominal ratios.
        mask: (B, m, 1, 1) float32 tensor, 1 for the measurements that an image has.
    """

    def __init__(
        self, ratios: Sequence[float], seed: int = 0, batch: int | None = None, device: torch.device | str = "cpu"
    ) -> None:
        """Serve any of `ratios`, at first image i of the batch at ``ratios[i % len(ratios)]``."""
        counts = [measurements(float(ratio)) for ratio in ratios]
        super().__init__(phi=sampling_matrix(max(counts), seed), seed=seed, kind="orthonormal")
        self.choices = torch.tensor([float(ratio) for ratio in ratios], device=device)
        rows = torch.arange(self.m, device=device)
        self._masks = (rows < torch.tensor(counts, device=device)[:, None]).float()[:, :, None, None]
        which = torch.arange(batch or len(ratios), device=device) % len(ratios)
        self.ratio, self.mask = self.choices[which].clone(), self._masks[which].clone()

    def choose(self, which: Tensor) -> None:
        """Give image i of the batch the ratio number ``which[i]``, (B,) integers."""
        self.ratio.copy_(self.choices[which])
        self.mask.copy_(self._masks[which])

    def renew(self, phi: Tensor) -> None:
        """Replace the matrix by another of the same shape, in place, and forget what was computed from the old one."""
        self.phi.copy_(phi)
        self._norm = None
        self.remembered.clear()
        for copy in self._copies.values():
            copy.copy_(phi)

    def A(self, x: Tensor) -> Tensor:
        """Measure each image of (B, 1, 33h, 33w) at its own ratio; rows beyond it are zero in (B, m, h, w)."""
        return super().A(x) * self.mask

    def adjoint(self, y: Tensor) -> Tensor:
        """Back-project the measurements that each image has, (B, m, h, w) -> (B, 1, 33h, 33w); others are ignored."""
        return super().adjoint(y * self.mask)

    def normal(self, x: Tensor) -> Tensor:
        """Return the same as ``adjoint(A(x))``, whose second mask would change nothing and cost time."""
        return super().adjoint(self.A(x))


def valid_adjoint(
    forward: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    shape: Sequence[int],
    eps: float | None = 1e-12,
    seed: int = 0,
) -> bool | float:
    r"""Tell whether two linear maps are adjoint: :math:`\langle Ax, y\rangle = \langle x, A^* y\rangle`.

    Tried on one pair of random x and y in float64. The error is the difference of the two sides relative to
    :math:`\|Ax\|\|y\|`, which rounding leaves below 1e-14; the function of this name in the library SCICO has the
    same purpose.

    Args:
        forward: A.
        adjoint: what should be :math:`A^*`.
        shape: of x; that of y follows from A.
        eps: the largest error allowed; None returns the error instead.
        seed: of x and y.
    """
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=random, dtype=torch.float64)
    ax = forward(x)
    y = torch.randn(ax.shape, generator=random, dtype=torch.float64)
    error = float(((ax * y).sum() - (x * adjoint(y)).sum()).abs() / (ax.norm() * y.norm()))
    return error if eps is None else error <= eps


#: What no image in [0, 1] reaches, with whatever noise, and pixels from 0 to 255 do.
_FAR_OUTSIDE = 10


def pad(image: Tensor, block: int = BLOCK) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Fill (B, 1, H, W) with zeros at the right and bottom to whole blocks, and return the crop that undoes it.

    As in the paper's code, a size that is already a multiple gets one extra block: ``block - n % block`` pixels.

    Returns:
        The padded image (B, 1, block*h, block*w), and ``crop``, which cuts such an image back to H x W.

    Raises:
        UserError: the image holds whole numbers, values far outside [0, 1], or what is not finite.
    """
    _refuse_integers(image)
    least, most = torch.aminmax(image.detach()) if image.numel() else (torch.zeros(()),) * 2
    largest = float(torch.maximum(-least, most))
    if not math.isfinite(largest):
        raise UserError("the image holds numbers that are not finite")
    if not largest <= _FAR_OUTSIDE:
        raise UserError(f"an image lies in [0, 1] and this one reaches {largest:g}; from 0 to 255: image / 255")
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, block - width % block, 0, block - height % block))
    return padded, lambda x: x[..., :height, :width]

r"""Image priors: what is known about an image before it is measured, as a value and a proximal operator.

A prior is a convex function :math:`g` with

.. math:: \mathrm{prox}_{t g}(v) = \arg\min_u \tfrac12\|u - v\|^2 + t\,g(u).

All of them take images (B, 1, H, W) of any floating dtype and return the same shape. Chapter 02 derives them.
"""

import math
from functools import cache
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from istapp.sampling import BLOCK


class Prior(Protocol):
    """A convex function with a proximal operator: all that a solver knows of it."""

    def value(self, x: Tensor) -> Tensor:
        """Return :math:`g(x)` of each image, (B, 1, H, W) -> (B,)."""
        ...

    def prox(self, v: Tensor, t: float) -> Tensor:
        r"""Return :math:`\mathrm{prox}_{t g}(v)`, the same shape as `v`."""
        ...


def soft(v: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Soft threshold :math:`\mathrm{sign}(v)\max(|v| - \theta, 0)`: the proximal operator of :math:`\theta|\cdot|`."""
    return torch.sign(v) * torch.relu(torch.abs(v) - threshold)


class _SparseTransform:
    """The l1 norm of an orthonormal transform's coefficients, save for the few coarse ones that are left free.

    Since the transform is orthonormal, its proximal operator is: transform, soft threshold, transform back.
    """

    def analysis(self, x: Tensor) -> Tensor:
        """Return the coefficients of images (B, 1, H, W)."""
        raise NotImplementedError

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """Invert `analysis`."""
        raise NotImplementedError

    def penalised(self, coefficients: Tensor) -> Tensor:
        """Return a mask that is False for the coefficients left free."""
        raise NotImplementedError

    def value(self, x: Tensor) -> Tensor:
        """Return the l1 norm of each image's penalised coefficients, (B, 1, H, W) -> (B,)."""
        coefficients = self.analysis(x)
        return (coefficients.abs() * self.penalised(coefficients)).flatten(1).sum(1)

    def prox(self, v: Tensor, t: float) -> Tensor:
        """Soft-threshold the penalised coefficients by `t`."""
        coefficients = self.analysis(v)
        shrunk = torch.where(self.penalised(coefficients), soft(coefficients, t), coefficients)
        return self.synthesis(shrunk)


@cache
def dct_matrix(n: int) -> np.ndarray:
    r"""Return the orthonormal DCT-II matrix, (n, n) float64: row k is the cosine of frequency k."""
    k, i = np.mgrid[:n, :n]
    matrix = np.cos(np.pi * k * (2 * i + 1) / (2 * n)) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix


class BlockDCT(_SparseTransform):
    """Sparsity in the cosine transform of each block; the mean of a block is left free."""

    def __init__(self, block: int = BLOCK) -> None:
        """Transform blocks of `block` x `block` pixels; image sides must be multiples of it."""
        self.block = block
        rows = np.kron(dct_matrix(block), dct_matrix(block))
        self._filters = torch.from_numpy(rows).view(block**2, 1, block, block)

    def analysis(self, x: Tensor) -> Tensor:
        """Return the coefficients of each block, (B, 1, block*h, block*w) -> (B, block², h, w)."""
        return F.conv2d(x, self._filters.to(x), stride=self.block)

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """Invert `analysis`."""
        return F.conv_transpose2d(coefficients, self._filters.to(coefficients), stride=self.block)

    def penalised(self, coefficients: Tensor) -> Tensor:
        """Everything but the first coefficient, the block's mean."""
        mask = torch.ones(self.block**2, 1, 1, dtype=torch.bool, device=coefficients.device)
        mask[0] = False
        return mask


@cache
def daubechies(moments: int) -> np.ndarray:
    """Return Daubechies' orthonormal low-pass filter with that many vanishing moments, (2*moments,) float64.

    Spectral factorisation (Daubechies 1988): the half-band polynomial's roots inside the unit circle are kept.
    """
    binomials = [math.comb(moments - 1 + k, k) for k in range(moments)]
    polynomial = np.array([1.0])
    for root in np.roots(binomials[::-1]):
        # y = (2 - z - 1/z)/4 turns each root y into a pair z, 1/z; the one inside the circle gives minimum phase.
        pair = np.roots([1, 4 * root - 2, 1])
        polynomial = np.convolve(polynomial, [1, -pair[np.argmin(abs(pair))]])
    for _ in range(moments):
        polynomial = np.convolve(polynomial, [1, 1])
    filter_ = np.real(polynomial)
    return filter_ * math.sqrt(2) / filter_.sum()


class Wavelet(_SparseTransform):
    """Sparsity in a periodised orthonormal Daubechies wavelet; the coarsest averages are left free.

    Any size works: where a side is odd its last sample passes through unchanged, so the transform stays orthonormal.
    (`pad` always ends in zeros, so in practice that sample is black.)
    """

    def __init__(self, moments: int = 4, levels: int = 3) -> None:
        """Use the wavelet with `moments` vanishing moments (4: "db4") over `levels` octaves."""
        self.levels = levels
        low = daubechies(moments)
        high = low[::-1] * (-1.0) ** np.arange(len(low))
        self._bank = torch.from_numpy(np.stack([low, high])).unsqueeze(1)

    def _split(self, x: Tensor) -> Tensor:
        """Transform the last axis once: (..., n) -> (..., n) with the averages first, then the details."""
        n = x.shape[-1]
        even, last = x[..., : n - n % 2], x[..., n - n % 2 :]
        bank = self._bank.to(x)
        wrap = bank.shape[-1] - 2
        rows = even.reshape(-1, 1, even.shape[-1])
        bands = F.conv1d(_wrapped(rows, wrap), bank, stride=2).reshape(*x.shape[:-1], 2, -1)
        return torch.cat([bands[..., 0, :], last, bands[..., 1, :]], -1)

    def _join(self, coefficients: Tensor) -> Tensor:
        """Invert `_split`: the transposed convolution, its overhang wrapped around."""
        n = coefficients.shape[-1]
        half = n // 2
        averages, last, details = (
            coefficients[..., :half],
            coefficients[..., half : n - half],
            coefficients[..., n - half :],
        )
        bank = self._bank.to(coefficients)
        rows = F.conv_transpose1d(torch.stack([averages, details], -2).reshape(-1, 2, half), bank, stride=2)
        size = 2 * half
        padding = -rows.shape[-1] % size
        even = F.pad(rows, (0, padding)).reshape(rows.shape[0], -1, size).sum(1)
        return torch.cat([even.reshape(*coefficients.shape[:-1], size), last], -1)

    def _corners(self, shape: torch.Size) -> list[tuple[int, int]]:
        """Return the size of the averages' corner before each level and after the last."""
        sizes = [(shape[-2], shape[-1])]
        for _ in range(self.levels):
            height, width = sizes[-1]
            if min(height, width) < 2:
                break
            sizes.append(((height + 1) // 2, (width + 1) // 2))
        return sizes

    def analysis(self, x: Tensor) -> Tensor:
        """Return the coefficients in the pyramid layout, averages in the top left corner, the same shape as `x`."""
        out = x.clone()
        for height, width in self._corners(x.shape)[:-1]:
            corner = self._split(out[..., :height, :width])
            out[..., :height, :width] = self._split(corner.mT).mT
        return out

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """Invert `analysis`."""
        out = coefficients.clone()
        for height, width in self._corners(out.shape)[-2::-1]:
            corner = self._join(out[..., :height, :width].mT).mT
            out[..., :height, :width] = self._join(corner)
        return out

    def penalised(self, coefficients: Tensor) -> Tensor:
        """Everything but the coarsest averages."""
        height, width = self._corners(coefficients.shape)[-1]
        mask = torch.ones(coefficients.shape[-2:], dtype=torch.bool, device=coefficients.device)
        mask[:height, :width] = False
        return mask


def _wrapped(rows: Tensor, by: int) -> Tensor:
    """Append the first `by` samples at the end of each row, around and around where a row is shorter than that."""
    repeats = math.ceil(by / rows.shape[-1])
    return torch.cat([rows] + [rows] * repeats, -1)[..., : rows.shape[-1] + by]


class CycleSpinning:
    """A prior applied at a fresh random shift each time (Coifman and Donoho 1995), so that no grid is favoured.

    Its proximal operator changes from call to call: objective and residual then settle near a limit, not at it.
    """

    def __init__(self, prior: Prior, seed: int = 0, reach: int = BLOCK) -> None:
        """Shift by up to `reach` pixels in each direction, in an order given by `seed`."""
        self.prior, self.reach = prior, reach
        self._random = np.random.default_rng(seed)

    def value(self, x: Tensor) -> Tensor:
        """Return the unshifted prior's value."""
        return self.prior.value(x)

    def prox(self, v: Tensor, t: float) -> Tensor:
        """Shift, apply the prior's proximal operator, shift back."""
        down, right = (int(shift) for shift in self._random.integers(self.reach, size=2))
        shifted = torch.roll(v, (down, right), (-2, -1))
        return torch.roll(self.prior.prox(shifted, t), (-down, -right), (-2, -1))


class TV:
    r"""Isotropic total variation :math:`\sum_i \|(\nabla x)_i\|_2`, forward differences, zero across the last edge.

    The proximal operator has no closed form; it is found by accelerated projected gradient on the dual problem
    (Beck and Teboulle 2009, "fast gradient projection").
    """

    def __init__(self, iterations: int = 20) -> None:
        """Spend `iterations` of the inner solver on each proximal step."""
        self.iterations = iterations

    def value(self, x: Tensor) -> Tensor:
        """Return the total variation of each image, (B, 1, H, W) -> (B,)."""
        return _length(_gradient(x)).flatten(1).sum(1)

    def prox(self, v: Tensor, t: float) -> Tensor:
        r"""Return :math:`v + t\,\mathrm{div}\,p` for the dual :math:`p`, :math:`\|p_i\| \le 1`, found iteratively."""
        if t <= 0:
            return v
        scaled = v / t  # the dual of v / t at t = 1 has the same solution, and saves a product a step
        p = q = torch.cat([torch.zeros_like(v)] * 2, 1)
        momentum = 1.0
        for _ in range(self.iterations):
            # 8 bounds the norm of the discrete Laplacian, so 1/8 is a safe step of the dual.
            ascent = q + _gradient(_add_divergence(scaled, q)) / 8
            p_next = ascent / _length(ascent).clamp(min=1)
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            q = torch.lerp(p, p_next, 1 + (momentum - 1) / following)
            p, momentum = p_next, following
        return t * _add_divergence(scaled, p)


def _length(p: Tensor) -> Tensor:
    """Length of each pixel's vector, (B, 2, H, W) -> (B, 1, H, W); hypot and vector_norm take three times as long."""
    return (p[:, :1].square() + p[:, 1:].square()).sqrt()


def _gradient(x: Tensor) -> Tensor:
    """Forward differences down and right, (B, 1, H, W) -> (B, 2, H, W)."""
    out = torch.cat([torch.zeros_like(x)] * 2, 1)
    out[:, :1, :-1] = x[..., 1:, :] - x[..., :-1, :]
    out[:, 1:, :, :-1] = x[..., 1:] - x[..., :-1]
    return out


def _add_divergence(x: Tensor, p: Tensor) -> Tensor:
    """Add the negative adjoint of `_gradient` at `p`, (B, 2, H, W), to a copy of `x`, (B, 1, H, W)."""
    out, down, right = x.clone(), p[:, :1, :-1, :], p[:, 1:, :, :-1]
    out[..., :-1, :] += down
    out[..., 1:, :] -= down
    out[..., :-1] += right
    out[..., 1:] -= right
    return out

r"""Approximate message passing (AMP) with any denoiser: ISTA's loop, its residual corrected to make errors Gaussian.

With :math:`A` of unit-norm columns, m measurements of an image and a denoiser D (Metzler, Maleki and Baraniuk 2016,
"From denoising to compressed sensing"), from :math:`x_0 = 0` and :math:`z_0 = y`:

.. math::
   p_k &= x_k + A^\top z_k, \qquad \sigma_k = \|z_k\| / \sqrt m, \\
   x_{k+1} &= D(p_k, \sigma_k), \\
   z_{k+1} &= y - A x_{k+1} + z_k\,\frac{\mathrm{div}\,D(p_k, \sigma_k)}{m}.

The last term is Onsager's correction. For one matrix of independent Gaussian entries and a large image it makes
:math:`p_k` the true image plus white Gaussian noise of deviation :math:`\sigma_k`, which is just what a denoiser is
made for; without it, and with a soft threshold for D, the loop is ISTA. Nothing of the kind is proven for orthonormal
rows, nor for the same matrix in every block of an image: there the loop can run away, at low ratios above all. So it
reports what it can see of itself, takes steps as short as one likes (`damping`), and returns an iterate by a rule that
needs no ground truth.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from istapp.basics.errors import UserError
from istapp.sampling import BlockSampling

#: Images (B, 1, H, W) and the deviation of the noise in each, (B,), to images.
Denoiser = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Passed:
    r"""What message passing found, and how it got there; k counts iterations.

    Attributes:
        x: the chosen iterate of each image, (B, 1, H, W), unclipped.
        chosen: which one that is, (B,) integers from 1.
        sigma: :math:`\sigma_0 \dots \sigma_K`, the loop's own idea of the noise, (K + 1, B).
        residual: :math:`\|y - A x_k\| / \|y\|` for k = 0 ... K, (K + 1, B).
        trace: :math:`x_1 \dots x_K` where they were asked for.
    """

    x: Tensor
    chosen: Tensor
    sigma: Tensor
    residual: Tensor
    trace: list[Tensor] = field(default_factory=list)


def scale(sampling: BlockSampling) -> float:
    r"""Return c such that the columns of :math:`A = c\,\Phi` have norm 1 in the mean square.

    :math:`c = \sqrt{N} / \|\Phi\|_F` with N pixels a block, which is :math:`\sqrt{N/m}` for orthonormal rows.
    """
    return math.sqrt(sampling.phi.shape[1]) / float(torch.linalg.matrix_norm(sampling.phi))


def divergence(denoiser: Denoiser, p: Tensor, sigma: Tensor, denoised: Tensor, probe: Tensor) -> Tensor:
    r"""Estimate :math:`\mathrm{div}\,D = \sum_i \partial D_i/\partial p_i` of each image from one more call, (B,).

    :math:`\eta^\top (D(p + \epsilon\eta) - D(p))/\epsilon` with :math:`\epsilon = \max|p|/1000` (Ramani, Blu and Unser
    2008). Signs as a probe make it exact wherever each pixel depends on itself alone, and vary less than the normal
    numbers that are common.

    Args:
        denoiser: D.
        p: noisy images, (B, 1, H, W).
        sigma: their noise, (B,).
        denoised: D(p, sigma), already at hand.
        probe: the signs :math:`\eta`, (1, 1, H, W), the same for every image.
    """
    epsilon = (p.abs().amax((1, 2, 3), keepdim=True) / 1000).clamp(min=1e-12)
    change = (denoiser(p + epsilon * probe, sigma) - denoised) / epsilon
    return (probe * change).flatten(1).sum(1)


def amp(
    y: Tensor,
    sampling: BlockSampling,
    denoiser: Denoiser,
    iterations: int = 10,
    damping: float = 0.0,
    choose: str = "residual",
    seed: int = 0,
    keep: bool = False,
) -> Passed:
    r"""Reconstruct by denoising-based message passing.

    Args:
        y: measurements, (B, m, h, w).
        sampling: the operator that made them; matrix and measurements are scaled to unit-norm columns here.
        denoiser: D, called twice an iteration; images and noise are in the units of the image, here [0, 1].
        iterations: K.
        damping: share d in [0, 1) of the old :math:`x_k` and :math:`z_k` that is kept in the new ones.
        choose: ``residual``, the iterate with the smallest :math:`\|y - A x_k\|`, image by image; or ``last``.
        seed: of the probe for the divergence; all images of a batch share it, so their order changes nothing.
        keep: keep all iterates.

    Raises:
        UserError: less than one iteration, a damping outside [0, 1), an unknown rule.
    """
    _check(iterations, damping, choose)
    c, count = scale(sampling), y[0].numel()
    y = c * y
    z, x = y, torch.zeros_like(sampling.adjoint(y))
    best, chosen = x, torch.zeros(len(y), dtype=torch.long, device=y.device)
    sigmas, residuals, trace = [_norm(z) / math.sqrt(count)], [torch.ones_like(_norm(y))], []
    random = torch.Generator().manual_seed(seed)
    for k in range(1, iterations + 1):
        p, sigma = x + c * sampling.adjoint(z), sigmas[-1]
        denoised = denoiser(p, sigma)
        probe = (2 * torch.randint(2, x.shape[-2:], generator=random) - 1).to(p)[None, None]
        onsager = divergence(denoiser, p, sigma, denoised, probe).view(-1, 1, 1, 1) / count * z
        x = damping * x + (1 - damping) * denoised
        error = y - c * sampling.A(x)
        z = damping * z + (1 - damping) * (error + onsager)
        sigmas.append(_norm(z) / math.sqrt(count))
        residuals.append(_norm(error) / _norm(y).clamp(min=1e-30))
        # An iterate that overflowed compares as infinitely bad.
        ranks = torch.stack(residuals[1:]).nan_to_num(nan=math.inf)
        better = (ranks.argmin(0) == k - 1) | (chosen == 0) | (choose == "last")
        best = torch.where(better.view(-1, 1, 1, 1), x, best)
        chosen = torch.where(better, k, chosen)
        trace += [x] * keep
    return Passed(best, chosen, torch.stack(sigmas), torch.stack(residuals), trace)


def _check(iterations: int, damping: float, choose: str) -> None:
    if iterations < 1 or not 0 <= damping < 1:
        raise UserError(f"iterations start at 1 and damping lies in [0, 1), not {iterations} and {damping}")
    if choose not in ("residual", "last"):
        raise UserError(f"the iterate to return is chosen by 'residual' or it is the 'last', not '{choose}'")


def _norm(v: Tensor) -> Tensor:
    """Return the Euclidean norm of each image's numbers, (B, ...) -> (B,)."""
    return torch.linalg.vector_norm(v.flatten(1), dim=1)

r"""ISTA and FISTA: proximal gradient descent on :math:`F(x) = \tfrac12\|\Phi x - y\|^2 + \lambda\,g(x)`.

ISTA alternates the two steps of Eqs. 2 and 3 of the paper,

.. math:: r_k = x_{k-1} - \rho\,\Phi^\top(\Phi x_{k-1} - y), \qquad x_k = \mathrm{prox}_{\rho\lambda g}(r_k),

and converges for every step :math:`\rho < 2/L`, where :math:`L = \|\Phi^\top\Phi\|` is 1 for orthonormal rows.
Chapter 02 proves it.
"""

import copy
import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from istapp.basics.errors import UserError
from istapp.metrics import psnr
from istapp.solvers.priors import Prior


class Operator(Protocol):
    r"""What a solver knows of a sampling operator; `BlockSampling` is one."""

    @property
    def norm(self) -> float:
        r"""The largest eigenvalue of :math:`\Phi^\top\Phi`."""
        ...

    def A(self, x: Tensor) -> Tensor:
        """Measure `x`."""
        ...

    def adjoint(self, y: Tensor) -> Tensor:
        """Back-project `y`."""
        ...


@dataclass
class Solution:
    """What a solver found, and how it got there.

    Attributes:
        x: the image, (B, 1, H, W), unclipped.
        history: lists over iterations, the start at index 0. ``objective``: F(x) summed over the batch; ``residual``:
            the relative optimality residual; ``psnr``: in dB, where a reference was given.
    """

    x: Tensor
    history: dict[str, list[float]] = field(default_factory=dict)


def gradient(x: Tensor, y: Tensor, sampling: Operator) -> Tensor:
    r"""Return :math:`\Phi^\top(\Phi x - y)`, the gradient of the data term."""
    return sampling.adjoint(sampling.A(x) - y)


def objective(x: Tensor, y: Tensor, sampling: Operator, prior: Prior, lam: float) -> Tensor:
    r"""Return :math:`F(x) = \tfrac12\|\Phi x - y\|^2 + \lambda g(x)` of each image, (B,)."""
    return (sampling.A(x) - y).square().flatten(1).sum(1) / 2 + lam * prior.value(x)


def optimality_residual(x: Tensor, y: Tensor, sampling: Operator, prior: Prior, lam: float) -> float:
    r"""Return :math:`\|x - \mathrm{prox}_{\lambda g/L}(x - \nabla f(x)/L)\| / \|x\|`: zero exactly at a minimiser."""
    step = 1 / sampling.norm
    moved = prior.prox(x - step * gradient(x, y, sampling), step * lam)
    return float(torch.linalg.vector_norm(x - moved)) / max(float(torch.linalg.vector_norm(x)), 1e-300)


def ista(
    y: Tensor,
    sampling: Operator,
    prior: Prior,
    lam: float,
    iterations: int = 100,
    step: float = 1.0,
    start: Tensor | None = None,
    reference: Tensor | None = None,
    beyond_bound: bool = False,
    track: bool = True,
) -> Solution:
    r"""Minimise :math:`F` by ISTA.

    Args:
        y: measurements, (B, m, h, w).
        sampling: the operator that made them.
        prior: the function :math:`g`.
        lam: its weight :math:`\lambda \ge 0`.
        iterations: number of steps.
        step: :math:`\rho`; below 2/L every limit is a minimiser, up to 1/L the objective falls at the proven rate.
        start: first image, (B, 1, H, W); :math:`\Phi^\top y` by default.
        reference: true image in [0, 1], to record the PSNR.
        beyond_bound: allow a step of 2/L or more, to watch it fail.
        track: record the history, which doubles the time.

    Raises:
        UserError: a step at or beyond the bound, a negative weight.
    """
    _check(lam, step, 2 / sampling.norm, beyond_bound, "ISTA converges for steps below 2/L")
    x = sampling.adjoint(y) if start is None else start
    recorder = _Recorder(x, y, sampling, prior, lam, reference, track)
    for _ in range(iterations):
        r = x - step * gradient(x, y, sampling)
        x = prior.prox(r, step * lam)
        recorder.note(x)
    return Solution(x, recorder.history)


def fista(
    y: Tensor,
    sampling: Operator,
    prior: Prior,
    lam: float,
    iterations: int = 100,
    step: float = 1.0,
    start: Tensor | None = None,
    reference: Tensor | None = None,
    beyond_bound: bool = False,
    track: bool = True,
) -> Solution:
    r"""Minimise :math:`F` by FISTA (Beck and Teboulle 2009): ISTA's step, taken from an extrapolated point.

    .. math:: t_{k+1} = \tfrac12\bigl(1 + \sqrt{1 + 4t_k^2}\bigr), \qquad
              z_{k+1} = x_k + \frac{t_k - 1}{t_{k+1}}(x_k - x_{k-1}).

    Arguments as for `ista`; the O(1/k²) rate is proven for steps up to 1/L, and longer ones are refused.

    Raises:
        UserError: a step beyond 1/L, a negative weight.
    """
    # The tolerance forgives the rounding in the computed norm.
    _check(lam, step, (1 + 1e-6) / sampling.norm, beyond_bound, "FISTA's rate holds for steps up to 1/L")
    x = z = sampling.adjoint(y) if start is None else start
    t = 1.0
    recorder = _Recorder(x, y, sampling, prior, lam, reference, track)
    for _ in range(iterations):
        previous = x
        x = prior.prox(z - step * gradient(z, y, sampling), step * lam)
        t_next = (1 + math.sqrt(1 + 4 * t**2)) / 2
        z = x + (t - 1) / t_next * (x - previous)
        t = t_next
        recorder.note(x)
    return Solution(x, recorder.history)


def _check(lam: float, step: float, bound: float, beyond_bound: bool, why: str) -> None:
    if not lam >= 0:
        raise UserError(f"lambda must not be negative: {lam}")
    if not step > 0:
        raise UserError(f"the step must be positive: {step}")
    if step >= bound and not beyond_bound:
        raise UserError(f"{why}, here {bound:.4g}, not {step}; pass beyond_bound=True to try it all the same")


class _Recorder:
    """Appends objective, residual and PSNR of each iterate to a history, of the start first."""

    def __init__(
        self, x: Tensor, y: Tensor, sampling: Operator, prior: Prior, lam: float, reference: Tensor | None, track: bool
    ) -> None:
        # A copy, so that looking draws nothing from a random prior's generator: tracked and untracked runs agree.
        self.problem = (y, sampling, copy.deepcopy(prior), lam)
        self.reference, self.track = reference, track
        names = ["objective", "residual"] + ["psnr"] * (reference is not None)
        self.history: dict[str, list[float]] = {name: [] for name in names} if track else {}
        self.note(x)

    def note(self, x: Tensor) -> None:
        """Append what is to be known of an iterate."""
        if not self.track:
            return
        self.history["objective"].append(float(objective(x, *self.problem).sum()))
        self.history["residual"].append(optimality_residual(x, *self.problem))
        if self.reference is not None:
            estimate = x[..., : self.reference.shape[-2], : self.reference.shape[-1]]
            self.history["psnr"].append(psnr(estimate, self.reference))

r"""ISTA (Daubechies, Defrise, De Mol 2004), the conventional solver, with one stated prior.

Takes the steps of ISTA, Eqs. 2 and 3 of the paper, for :math:`\tfrac12\|\Phi x - y\|^2 + \lambda\|\Psi x\|_1`,

.. math:: r_k = x_{k-1} - \rho\,\Phi^\top(\Phi x_{k-1} - y), \quad x_k = \Psi^\top\mathrm{soft}(\Psi r_k, \rho\lambda),

where :math:`\Psi` is the orthonormal db4 wavelet over three octaves, its coarse averages left free, at a random shift
in each iteration (cycle spinning). With another :math:`\Psi` each time, each step lowers an objective of its own, and
no single one is minimised. Step :math:`\rho = 1`, 400 iterations, no trainable parameters. :math:`\lambda` was
chosen on training images (`data/results/tuning.csv`), never on a test set. Chapter 02 derives it.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from istapp.method import loading
from istapp.method.base import Method
from istapp.method.options import Option
from istapp.sampling import BlockSampling
from istapp.solvers.priors import CycleSpinning, Wavelet
from istapp.solvers.proximal import ista

#: The weight of the prior: the best mean over ratios on training images.
LAMBDA = 0.016


class ISTA(Method):
    """ISTA with the cycle-spun wavelet prior."""

    name = "ista"
    options = (
        Option("lam", LAMBDA, "the weight of the prior", 0, 1000),
        Option("iterations", 400, "steps, each the same work", 1, 100_000),
    )

    def __init__(self, lam: float = LAMBDA, iterations: int = 400) -> None:
        """Weigh the prior by `lam` and take that many steps."""
        self.lam, self.iterations = lam, iterations
        self.variant = "" if (lam, iterations) == (LAMBDA, 400) else f"lambda {lam:g}, {iterations} iterations"

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Run ISTA from the back-projection."""
        prior = CycleSpinning(Wavelet())  # new each time, so that the shifts do not depend on earlier images
        return ista(y, sampling, prior, self.lam, self.iterations, step=1 / sampling.norm, track=False).x


METHOD = ISTA


def build(weights: str | Path | None = None, **options: Any) -> ISTA:
    """Return ISTA; `METHOD.options` has its options."""
    loading.no_weights("ista", weights)
    return ISTA(**options)

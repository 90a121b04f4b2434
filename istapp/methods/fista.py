r"""FISTA (Beck and Teboulle 2009): ISTA with momentum, the same prior as `ista`.

.. math:: x_k = \Psi^\top\mathrm{soft}\bigl(\Psi(z_k - \rho\,\Phi^\top(\Phi z_k - y)), \rho\lambda\bigr), \qquad
          z_{k+1} = x_k + \tfrac{t_k - 1}{t_{k+1}}(x_k - x_{k-1}).

Step 1, 200 iterations, no trainable parameters. :math:`\lambda` was chosen on training images
(`data/results/tuning.csv`); it is smaller than ISTA's, which
does not arrive in its 400 iterations. Chapter 02 derives it.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from istapp.method import loading
from istapp.method.base import Method
from istapp.method.options import Option
from istapp.sampling import BlockSampling
from istapp.solvers.priors import CycleSpinning, Wavelet
from istapp.solvers.proximal import fista

#: The weight of the prior: the best mean over ratios on training images.
LAMBDA = 0.002


class FISTA(Method):
    """FISTA with the cycle-spun wavelet prior."""

    name = "fista"
    options = (
        Option("lam", LAMBDA, "the weight of the prior", 0, 1000),
        Option("iterations", 200, "steps, each the same work", 1, 100_000),
    )

    def __init__(self, lam: float = LAMBDA, iterations: int = 200) -> None:
        """Weigh the prior by `lam` and take that many steps."""
        self.lam, self.iterations = lam, iterations
        self.variant = "" if (lam, iterations) == (LAMBDA, 200) else f"lambda {lam:g}, {iterations} iterations"

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Run FISTA from the back-projection."""
        prior = CycleSpinning(Wavelet())
        return fista(y, sampling, prior, self.lam, self.iterations, step=1 / sampling.norm, track=False).x


METHOD = FISTA


def build(weights: str | Path | None = None, **options: Any) -> FISTA:
    """Return FISTA; `METHOD.options` has its options."""
    loading.no_weights("fista", weights)
    return FISTA(**options)

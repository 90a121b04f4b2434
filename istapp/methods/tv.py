r"""Total variation: :math:`\min_x \tfrac12\|\Phi x - y\|^2 + \lambda\,\mathrm{TV}(x)`.

Isotropic total variation (Rudin, Osher, Fatemi 1992) over the whole image, so it acts across blocks; minimised by FISTA
with an inexact proximal step of 10 inner iterations. 200 iterations, no trainable parameters; :math:`\lambda` was
chosen on training images (`data/results/tuning.csv`). Chapter 02 derives it.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from istapp.method import loading
from istapp.method.base import Method
from istapp.method.options import Option
from istapp.sampling import BlockSampling
from istapp.solvers.priors import TV
from istapp.solvers.proximal import fista

#: The weight of the prior: the best mean over ratios on training images.
LAMBDA = 0.001


class TotalVariation(Method):
    """FISTA with the isotropic total variation prior."""

    name = "tv"
    options = (
        Option("lam", LAMBDA, "the weight of the prior", 0, 1000),
        Option("iterations", 200, "steps, each the same work", 1, 100_000),
    )

    def __init__(self, lam: float = LAMBDA, iterations: int = 200) -> None:
        """Weigh the prior by `lam` and take that many outer steps."""
        self.lam, self.iterations = lam, iterations
        self.variant = "" if (lam, iterations) == (LAMBDA, 200) else f"lambda {lam:g}, {iterations} iterations"

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Run FISTA from the back-projection."""
        return fista(y, sampling, TV(10), self.lam, self.iterations, step=1 / sampling.norm, track=False).x


METHOD = TotalVariation


def build(weights: str | Path | None = None, **options: Any) -> TotalVariation:
    """Return the total variation method; `METHOD.options` has its options."""
    loading.no_weights("tv", weights)
    return TotalVariation(**options)

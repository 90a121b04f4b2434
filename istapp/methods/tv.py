r"""Total variation: :math:`\min_x \tfrac12\|\Phi x - y\|^2 + \lambda\,\mathrm{TV}(x)`.

Isotropic total variation (Rudin, Osher, Fatemi 1992) over the whole image, so it acts across blocks; minimised by FISTA
with an inexact proximal step of 10 inner iterations. 200 iterations, no trainable parameters; :math:`\lambda` was
chosen on training images (`data/results/tuning.csv`). Chapter 02 derives it.
"""

from dataclasses import replace

from istapp.methods.fista import FISTA
from istapp.solvers.priors import TV

#: The weight of the prior: the best mean over ratios on training images.
LAMBDA = 0.001


class TotalVariation(FISTA):
    """FISTA with the isotropic total variation prior."""

    name = "tv"
    options = (replace(FISTA.options[0], default=LAMBDA), FISTA.options[1])

    def prior(self) -> TV:
        """Return total variation with ten steps of its inner solver."""
        return TV(10)


METHOD = TotalVariation

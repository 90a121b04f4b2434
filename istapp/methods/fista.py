r"""FISTA (Beck and Teboulle 2009): ISTA with momentum, the same prior as `ista`.

.. math:: x_k = \Psi^\top\mathrm{soft}\bigl(\Psi(z_k - \rho\,\Phi^\top(\Phi z_k - y)), \rho\lambda\bigr), \qquad
          z_{k+1} = x_k + \tfrac{t_k - 1}{t_{k+1}}(x_k - x_{k-1}).

Step 1, 200 iterations, no trainable parameters. :math:`\lambda` was chosen on training images
(`data/results/tuning.csv`); it is smaller than ISTA's, which
does not arrive in its 400 iterations. Chapter 02 derives it.
"""

from dataclasses import replace

from istapp.methods.ista import ISTA
from istapp.solvers.proximal import fista

#: The weight of the prior: the best mean over ratios on training images.
LAMBDA = 0.002


class FISTA(ISTA):
    """FISTA with the cycle-spun wavelet prior."""

    name = "fista"
    options = (replace(ISTA.options[0], default=LAMBDA), replace(ISTA.options[1], default=200))
    solver = staticmethod(fista)


METHOD = FISTA

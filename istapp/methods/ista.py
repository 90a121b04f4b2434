r"""ISTA (Daubechies, Defrise, De Mol 2004), the conventional solver, with one stated prior.

Takes the steps of ISTA, Eqs. 2 and 3 of the paper, for :math:`\tfrac12\|\Phi x - y\|^2 + \lambda\|\Psi x\|_1`,

.. math:: r_k = x_{k-1} - \rho\,\Phi^\top(\Phi x_{k-1} - y), \quad x_k = \Psi^\top\mathrm{soft}(\Psi r_k, \rho\lambda),

where :math:`\Psi` is the orthonormal db4 wavelet over three octaves, its coarse averages left free, at a random shift
in each iteration (cycle spinning). With another :math:`\Psi` each time, each step lowers an objective of its own, and
no single one is minimised. Step :math:`\rho = 1`, 400 iterations, no trainable parameters. :math:`\lambda` was
chosen on training images (`data/results/tuning.csv`), never on a test set. Chapter 02 derives it.
"""

from torch import Tensor

from istapp.method.base import Method
from istapp.method.options import Option
from istapp.sampling import BlockSampling
from istapp.solvers.priors import CycleSpinning, Prior, Wavelet
from istapp.solvers.proximal import ista

#: The weight of the prior: the best mean over ratios on training images.
LAMBDA = 0.016


class ISTA(Method):
    """ISTA with the cycle-spun wavelet prior; `fista` and `tv` change the solver and the prior."""

    name = "ista"
    options = (
        Option("lam", LAMBDA, "the weight of the prior", 0, 1000),
        Option("iterations", 400, "steps, each the same work", 1, 100_000),
    )
    solver = staticmethod(ista)

    def __init__(self, lam: float | None = None, iterations: int | None = None) -> None:
        """Weigh the prior by `lam` and take that many steps, by default as `options` says."""
        usual = [option.default for option in self.options]
        self.lam = float(usual[0] if lam is None else lam)
        self.iterations = int(usual[1] if iterations is None else iterations)
        changed = [self.lam, self.iterations] != usual
        self.variant = f"lambda {self.lam:g}, {self.iterations} iterations" if changed else ""

    def prior(self) -> Prior:
        """Return the prior, new for every call, so that its shifts do not depend on earlier images."""
        return CycleSpinning(Wavelet())

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Run the solver from the back-projection."""
        step = 1 / sampling.norm
        return self.solver(y, sampling, self.prior(), self.lam, self.iterations, step, track=False).x


METHOD = ISTA

r"""BM3D-AMP (Metzler, Maleki and Baraniuk 2016): message passing (`istapp.solvers.amp`) with BM3D as its denoiser.

No parameters, nothing learned, any ratio. BM3D itself (Dabov et al. 2007) is its authors' package `bm3d`, which is
free for **non-commercial use only** and therefore an optional extra: ``pip install "istapp[bm3d]"``. Where it is absent
the built-in `SlidingDCT` stands in, BM3D without its matching of blocks, and the variant of the rows says so.

The published code works on images from 0 to 255 and takes 30 iterations; here images lie in [0, 1], and since all
of it scales with the image, a noise of :math:`\sigma` there is :math:`\sigma/255` here. Undamped, the loop runs away at
10 %, where every block repeats one small matrix. Damping gains 6 dB there on training images but does not hold every
image, so each gets the iterate whose measurements come closest to its own. The damping is the best mean over ratios on
training images, with the built-in denoiser (`data/results/tuning-amp.csv`).
"""

from torch import Tensor

from istapp.basics.errors import UserError
from istapp.method.base import Method
from istapp.method.options import Option
from istapp.sampling import BlockSampling
from istapp.solvers.amp import Passed, amp
from istapp.solvers.denoisers import BM3D, SlidingDCT

ITERATIONS, DAMPING, CHOOSE = 20, 0.2, "residual"
DENOISERS = {"bm3d": BM3D, "dct": SlidingDCT}


class BM3DAMP(Method):
    """Denoising-based message passing with BM3D, or with the built-in stand-in."""

    name = "bm3d-amp"
    stand_in = "denoiser: sliding DCT"
    options = (
        Option("denoiser", "bm3d", "dct is built in and the default without bm3d", choices=("bm3d", "dct")),
        Option("iterations", ITERATIONS, "each calls the denoiser twice", 1, 1000),
        Option("damping", DAMPING, "the share of the old image that is kept in the new one", 0, 0.99),
        Option("choose", CHOOSE, "the iterate to return", choices=("residual", "last")),
    )

    def __init__(
        self, denoiser: str | None = None, iterations: int = ITERATIONS, damping: float = DAMPING, choose: str = CHOOSE
    ) -> None:
        """Take the named denoiser, ``bm3d`` or ``dct``; None: BM3D where it is installed.

        Raises:
            UserError: an unknown denoiser, or one that is not installed.
        """
        denoiser = denoiser or ("bm3d" if BM3D.installed() else "dct")
        if denoiser not in DENOISERS:
            raise UserError(f"bm3d-amp has the denoisers bm3d and dct, not '{denoiser}'")
        self.denoiser = DENOISERS[denoiser]()
        self.iterations, self.damping, self.choose = iterations, damping, choose
        changes = [self.stand_in] * (denoiser == "dct")
        if (iterations, damping, choose) != (ITERATIONS, DAMPING, CHOOSE):
            changes.append(f"{iterations} iterations, damping {damping:g}, chosen by {choose}")
        self.variant = "; ".join(changes)

    def passed(self, y: Tensor, sampling: BlockSampling, keep: bool = False) -> Passed:
        """Run the loop and return all that it reports; `keep`: all iterates too."""
        return amp(y, sampling, self.denoiser, self.iterations, self.damping, self.choose, keep=keep)

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Return the chosen iterate."""
        return self.passed(y, sampling).x


METHOD = BM3DAMP

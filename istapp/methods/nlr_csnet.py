r"""In the spirit of NLR-CSNet: the deep image prior with a non-local one beside it.

The authors (Sun et al., IEEE Transactions on Multimedia 2020) published no code, and neither layers nor
weights nor iterations of theirs are at hand. What follows keeps their idea and nothing else: an untrained network, a
prior that similar patches of an image should look alike, and half-quadratic splitting between the two. With an image
:math:`x` of its own for the prior, the problem is

.. math:: \min_{\theta, x}\ \|\Phi f_\theta(z) - y\|^2 + \mu\,\|x - f_\theta(z)\|^2 + \lambda\,R(x),\qquad
          R(x) = \sum_i \sum_j w_{ij}\,(x_i - f_j)^2,

where pixel :math:`j` runs through a window around pixel :math:`i`, :math:`w_{ij}` falls with the distance between the
patches around them and sums to one over :math:`j`, and :math:`f` is the network's output when the weights were last
computed. The x-step then is exact: with the non-local mean :math:`Wf`,

.. math:: x = \frac{\mu f + \lambda W f}{\mu + \lambda}.

The :math:`\theta`-step is a number of Adam's steps, as in `istapp.methods.dip`, whose network this is.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from istapp.basics.errors import UserError
from istapp.method.options import Option
from istapp.methods.dip import DeepImagePrior, Penalty

#: The weights of the coupling and of the non-local prior, against a data term of weight 1.
#: On the training crop of `istapp.methods.dip.RATE`, at 10 %, mu of 0.1, 0.02 and 0.005 (lambda four times that) gave
#: 25.54, 27.01 and 27.14 dB, a bandwidth of 0.02 at mu 0.1 gave 26.25 dB, and `dip` alone 27.18 dB: in so short a fit
#: the prior does not help. 0.02 is the strongest that hardly hurts, not a tuned optimum.
MU, LAMBDA = 0.02, 0.08

#: Bandwidth of the patch distance (root mean square difference, images in [0, 1]) at which a weight falls to 1/e.
BANDWIDTH = 0.05

#: The x-step is taken after every so many steps of Adam.
EVERY = 50


def neighbours(image: Tensor, reach: int = 5) -> Tensor:
    """Return every pixel's (2 reach + 1)² window, by shifts of the whole image.

    The image is reflected at its edges: (B, 1, H, W) -> (B, (2 reach + 1)², H, W). The pixel itself is the middle one.
    """
    height, width = image.shape[-2:]
    padded = F.pad(image, (reach,) * 4, mode="reflect")
    sides = range(2 * reach + 1)
    return torch.cat([padded[..., i : i + height, j : j + width] for i in sides for j in sides], 1)


def non_local_weights(image: Tensor, bandwidth: float = BANDWIDTH, reach: int = 5, patch: int = 5) -> Tensor:
    r"""Return :math:`w_{ij} \propto \exp(-d_{ij}^2 / h^2)`, (B, (2 reach + 1)², H, W), of sum 1 over the window.

    :math:`d_{ij}` is the root mean square difference of the patches around both pixels (Buades, Coll, Morel 2005).
    """
    squares = (neighbours(image, reach) - image).square()
    margin = patch // 2
    distances = F.avg_pool2d(F.pad(squares, (margin,) * 4, mode="reflect"), patch, stride=1)
    return torch.softmax(-distances / bandwidth**2, 1)


def non_local_mean(image: Tensor, weights: Tensor) -> Tensor:
    r"""Return :math:`(Wf)_i = \sum_j w_{ij} f_j`, the same shape as the image (B, 1, H, W)."""
    reach = (round(weights.shape[1] ** 0.5) - 1) // 2
    return (weights * neighbours(image, reach)).sum(1, keepdim=True)


def non_local_value(x: Tensor, image: Tensor, weights: Tensor) -> Tensor:
    r"""Return :math:`R(x) = \sum_i \sum_j w_{ij}(x_i - f_j)^2` of each image, (B,)."""
    reach = (round(weights.shape[1] ** 0.5) - 1) // 2
    return (weights * (x - neighbours(image, reach)).square()).flatten(1).sum(1)


def x_step(image: Tensor, weights: Tensor, mu: float, lam: float) -> Tensor:
    r"""Return the minimiser of :math:`\mu\|x - f\|^2 + \lambda R(x)` over x, (B, 1, H, W)."""
    return (mu * image + lam * non_local_mean(image, weights)) / (mu + lam)


class NLRCSNet(DeepImagePrior):
    """The deep image prior that is drawn towards the non-local mean of its own output."""

    name = "nlr-csnet"
    stand_in = "in the spirit of, no public code"
    options = (
        Option("mu", MU, "the weight of the coupling between the network and the image of the prior", 1e-9, 1000),
        Option("lam", LAMBDA, "the weight of the non-local prior", 0, 1000),
        Option("bandwidth", BANDWIDTH, "the patch distance at which a weight has fallen to 1/e", 1e-4, 10),
        Option("every", EVERY, "steps of Adam between two steps of the prior", 1, 1_000_000),
        *DeepImagePrior.options,
    )

    def __init__(
        self, mu: float = MU, lam: float = LAMBDA, bandwidth: float = BANDWIDTH, every: int = EVERY, **options: Any
    ) -> None:
        """Weigh coupling and prior by `mu` and `lam`, and renew x `every` so many iterations; other options as `dip`.

        Raises:
            UserError: an option outside its range.
        """
        if not (mu > 0 and lam >= 0 and bandwidth > 0 and every >= 1):
            raise UserError("nlr-csnet needs a positive mu, bandwidth and every, and no negative lam")
        self.mu, self.lam, self.bandwidth, self.every = mu, lam, bandwidth, every
        super().__init__(**options)

    def _changed(self) -> list[tuple[str, float, float]]:
        own = (("mu", self.mu, MU), ("lambda", self.lam, LAMBDA), ("bandwidth", self.bandwidth, BANDWIDTH))
        return [*super()._changed(), *own, ("every", self.every, EVERY)]

    def penalty(self) -> Penalty:
        r"""Return :math:`\mu\|x - f\|^2`, with a new x after every `every` iterations and none before the first."""
        x: Tensor | None = None

        def pull(iteration: int, output: Tensor) -> Tensor | float:
            """Return the term of one iteration, after a new x where one is due."""
            nonlocal x
            if iteration and iteration % self.every == 0:
                f = output.detach()
                x = x_step(f, non_local_weights(f, self.bandwidth), self.mu, self.lam)
            return 0.0 if x is None else self.mu * (x - output).square().sum()

        return pull


METHOD = NLRCSNet

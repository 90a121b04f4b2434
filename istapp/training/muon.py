r"""Muon (Jordan et al. 2024): momentum whose every matrix is turned into the nearest one with equal singular values.

With G the gradient of a weight, an average M of it over the steps and :math:`\tilde G = (1 - \mu) G + \mu M`
(Nesterov's form), the step is

.. math:: W \leftarrow W - \eta\,\max(1, r/c)^{1/2}\, U V^\top, \qquad \tilde G = U \Sigma V^\top

for a weight with r rows and c columns. :math:`U V^\top` needs no decomposition: the odd polynomial
:math:`p(s) = a s + b s^3 + c s^5`, applied five times to the singular values of a matrix of norm 1, brings all of them
near 1 (Newton-Schulz). A convolution of C x C x 3 x 3 is the matrix C x 9C. Chapter 05 derives it.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

#: Coefficients of the polynomial: steep at zero, so that small singular values rise fast; it ends between 0.7 and 1.2.
A, B, C = 3.4445, -4.775, 2.0315


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    r"""Return about :math:`U V^\top` of each of (N, r, c) matrices :math:`U \Sigma V^\top`: singular values 0.7 to 1.2.

    A matrix of zeros stays one. Singular values below about a hundredth of the norm come out smaller.
    """
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x  # the small side makes the small product
    for _ in range(iterations):  # A x + (B g + C g g) x, each sum with its product
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for weights of two and more dimensions; weights of one shape are turned together, in one batch."""

    def __init__(
        self, weights: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        """Step `weights`, read as (first dimension) x (all others), by `lr`, and shrink them by ``lr * weight_decay``.

        Every step has the same size, however small the gradient is, so that without decay weights that have nothing
        left to learn walk on, and away from zero.
        """
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take one step along the gradients."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes.setdefault(weight.shape, []).append(weight)
            for weights in shapes.values():
                if group.get("weight_decay"):  # groups of an older state have none
                    torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                self._step_together(weights, group["lr"], group["momentum"])

    def _step_together(self, weights: list[Tensor], rate: float, momentum: float) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        averages = [self._average(weight) for weight in weights]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, averages, momentum)
        together = torch.stack(ahead)
        turned = orthogonalise(together.flatten(2)).reshape(together.shape)
        scale = rate * max(1.0, len(weights[0]) / weights[0][0].numel()) ** 0.5
        torch._foreach_add_(weights, list(turned.unbind()), alpha=-scale)

    def _average(self, weight: Tensor) -> Tensor:
        if "average" not in self.state[weight]:
            self.state[weight]["average"] = torch.zeros_like(weight)
        return self.state[weight]["average"]

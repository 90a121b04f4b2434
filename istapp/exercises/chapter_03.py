"""Checks of the exercises of chapter 03: iterations become layers."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp.exercises.answers import ask, check, close, normal, number, require, tensor
from istapp.solvers import fista
from istapp.solvers.priors import dct_matrix, soft


@check("3.1")
def check_3_1(idle: int, reason: str, network: nn.Module, y: Tensor) -> str:
    """How many numbers of LISTA can never learn anything?

    Args:
        idle: how many.
        reason: "their input is zero", "their output is zero" or "they cancel".
        network: a LISTA with its parameters `W`, `V` and `theta`, one entry a layer.
        y: measurements, (B, m).
    """
    parameters = list(network.parameters())
    with torch.enable_grad():
        slopes = torch.autograd.grad(network(y.to(parameters[0])).square().sum(), parameters)
    dead = sum(int((slope.reshape(len(slope), -1).abs().amax(1) == 0).sum()) * slope[0].numel() for slope in slopes)
    yours = number(idle, "`idle`")
    require(
        yours == dead,
        f"The gradient says {'fewer' if yours > dead else 'more'}: see layer by layer which tensors it leaves at "
        "exactly zero, for every y.",
    )
    require(reason == "their input is zero", "The number is right, the reason is not. What is x_0?")
    return "The gradient of exactly so many numbers is zero whatever y is, as they multiply zeros."


class _Problem:
    """The operator y = A x on rows, as a solver wants it."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.norm = matrix, float(torch.linalg.matrix_norm(matrix, ord=2) ** 2)

    def A(self, x: Tensor) -> Tensor:  # noqa: N802
        """Measure."""
        return x @ self.matrix.T

    def adjoint(self, y: Tensor) -> Tensor:
        """Measure the other way round."""
        return y @ self.matrix


class _L1:
    """Sparsity of rows."""

    def value(self, x: Tensor) -> Tensor:
        """Return g of each row."""
        return x.abs().sum(1)

    def prox(self, v: Tensor, t: float) -> Tensor:
        """Soft-threshold."""
        return soft(v, t)


@check("3.2")
def check_3_2(UnrolledFISTA: Callable[[int], nn.Module], A: Tensor) -> str:  # noqa: N803
    """FISTA as a network.

    Args:
        UnrolledFISTA: a class; `UnrolledFISTA(K)` maps y (B, m) to the K-th iterate of FISTA with lambda = 0.2.
        A: the matrix, (m, n).
    """
    y = normal(5, len(A))
    problem = _Problem(A.double())
    for depth in (1, 2, 3, 16):
        with torch.no_grad():
            x = tensor(ask(UnrolledFISTA(depth).double(), y), (5, A.shape[1]), "the output")
        right = fista(y, problem, _L1(), 0.2, depth, 1 / problem.norm, torch.zeros_like(x), track=False).x
        where = {
            1: "a single layer is not ISTA's step from zero",
            2: "one layer is right, two are not. The second has no momentum yet: look at t_1 and t_2",
            3: "two layers are right, three are not. The third looks back two layers, with beta > 0",
        }
        require(close(x, right, 1e-9), f"Of FISTA's iterates, {where.get(depth, 'three are right, sixteen are not')}.")
    return "It equals FISTA at depths 1, 2, 3 and 16."


@check("3.3")
def check_3_3(normalised: Callable[[Tensor], Tensor], network: nn.Module, y: Tensor) -> str:
    """LISTA for every loudness.

    Args:
        normalised: maps y to x, whatever the scale of y.
        network: the trained LISTA, for one scale.
        y: measurements of the scale that it knows, (B, m).
    """
    with torch.no_grad():
        plain, asked = network(y), ask(normalised, y)
        asked = tensor(asked, plain.shape, "`normalised(y)`")
        for scale in (0.01, 10.0):
            scaled = tensor(ask(normalised, scale * y), plain.shape, "`normalised(y)`") / scale
            require(
                close(asked, scaled, 1e-3),
                f"Measurements {scale:g} times as loud do not give {scale:g} times the answer.",
            )
        mixed = torch.cat([y[:1], 100 * y[1:2]])
        require(
            close(tensor(ask(normalised, mixed), plain[:2].shape, "`normalised(y)`")[1] / 100, asked[1], 1e-3),
            "A loud signal in a batch changes what a quiet one is divided by. Each row has a loudness of its own.",
        )
        apart = float((asked - plain).norm() / plain.norm())
    require(
        apart < 0.7,
        "It follows the scale, but at the loudness of the training it is far from what the network says there. Does "
        "the network still get signals as loud as those it was trained on?",
    )
    return "Ten times the signal gives ten times the answer, row by row, and the network sees what it was trained for."


@check("3.4")
def check_3_4(stage: Any) -> str:
    """A classical prior inside ISTA-Net.

    Args:
        stage: with `H` and `H_back`, which make (3.11) the shrinkage of the 3 x 3 DCT's coefficients, the constant
            pattern spared.
    """
    d = torch.from_numpy(dct_matrix(3))
    patterns = torch.einsum("ai,bj->abij", d, d).reshape(9, 1, 3, 3)
    r, theta = normal(1, 1, 40, 40), 0.3
    inside = (..., slice(6, -6), slice(6, -6))
    with torch.no_grad():
        back = tensor(ask(stage.H_back.double(), ask(stage.H.double(), r)), r.shape, "the way there and back")
        answer = tensor(stage.H_back(soft(stage.H(r), theta)), r.shape, "the stage")
    require(
        close(back[inside], r[inside], 1e-5),
        "Without a threshold, H and its way back do not give the image again. How often does a sliding window see "
        "each pixel, and have you put ReLU(a) and ReLU(-a) together?",
    )

    def shrunk(spared: bool) -> Tensor:
        """Return the right answer, with the constant pattern spared or not."""
        thresholds = torch.tensor([0.0 if spared else theta] + [theta] * 8).double().view(1, 9, 1, 1)
        return F.conv_transpose2d(soft(F.conv2d(r, patterns, padding=1), thresholds), patterns, padding=1) / 9

    require(
        not close(answer[inside], shrunk(spared=False)[inside], 1e-5),
        "All nine patterns are shrunk rightly. The constant one should be spared: scale its channel.",
    )
    require(
        close(answer[inside], shrunk(spared=True)[inside], 1e-5),
        "The way there and back is right, the shrinking is not: are the coefficients in H those of the DCT's patterns?",
    )
    return "Away from the border your stage is transform, shrink, transform back, and the constant pattern is spared."


@check("3.5")
def check_3_5(Coupled: Callable[[int], Any], A: Tensor) -> str:  # noqa: N803
    """LISTA with V = I - W A.

    Args:
        Coupled: a class; `Coupled(K)` has parameters `W` (K, n, m) and `theta` (K,) and maps y (B, m) to x (B, n).
        A: the matrix, (m, n).
    """
    network, matrix = Coupled(3).double(), A.double()
    n = matrix.shape[1]
    y = normal(4, len(matrix), seed=2)
    with torch.no_grad():
        network.W.copy_(network.W + 0.05 * normal(*network.W.shape))
        network.theta.copy_(torch.tensor([0.02, 0.05, 0.1]))
        answer = tensor(ask(network, y), (4, n), "the output")
        x = torch.zeros(4, n).double()
        for layer, (weight, theta) in enumerate(zip(network.W, network.theta)):
            coupled = torch.eye(n).double() - weight @ matrix
            x = soft(y @ weight.T + x @ coupled.T, theta)
            if layer == 0:
                first = x
    require(not close(answer, first), "Only the first layer seems to act.")
    require(
        close(answer, x, 1e-8),
        "With weights drawn at random yours is not the layer (3.5) with V = I - W A in all layers. If y = A x and the "
        "threshold is zero, does your layer leave x where it is?",
    )
    return "With random weights it is (3.5) with the coupling built in, in a third of the numbers."

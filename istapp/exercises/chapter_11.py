"""Checks of the exercises of chapter 11: figures drawn from what happens."""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp import methods
from istapp.exercises.answers import ask, check, close, names, normal, number, require, tensor
from istapp.figures.anatomy import Step, observe
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.sampling import BlockSampling


def _shapes(channels: int, x: Tensor, ratio: float) -> list[str]:
    """Return the shapes that Figure 2 shows."""
    import matplotlib.pyplot as plt

    from istapp.figures import drawing

    network = ISTANetPP(3, channels)
    figure = drawing.architecture(network, observe(network, x, BlockSampling(ratio)))
    plt.close(figure)
    return list(drawing.written(figure, "shape"))


@check("11.1")
def check_11_1(changed: Mapping[str, Collection[str]]) -> str:
    """Which shapes of Figure 2 change?

    Args:
        changed: for "50 %", "64 channels" and "99 x 99", the shapes of the figure at 10 %, 32 channels and 66 x 99
            that become others, such as "1×1×66×99".
    """
    x = torch.rand(1, 1, 66, 99)
    base = _shapes(32, x, 0.1)
    cases = {
        "50 %": _shapes(32, x, 0.5),
        "64 channels": _shapes(64, x, 0.1),
        "99 x 99": _shapes(32, torch.rand(1, 1, 99, 99), 0.1),
    }
    for name, shapes in cases.items():
        require(name in changed, f'`changed` has no entry "{name}".')
        true, yours = {a for a, b in zip(base, shapes) if a != b}, names(changed[name], "each of `changed`")
        require(yours <= set(base), f"For {name}, not in the figure: {sorted(yours - set(base))}.")
        require(yours <= true, f'In the case "{name}" a shape that you name stays as it is.')
        require(yours == true, f'In the case "{name}" more shapes change than you name.')
    return "Two figures drawn from observations differ in just these shapes, in all three cases."


@check("11.2")
def check_11_2(by_hand: Callable[[int], int], right: Collection[str]) -> str:
    """ReconNet's parameters.

    Args:
        by_hand: maps m to ReconNet's parameters.
        right: labels of the methods in "ReconNet", "ISTA-Net" and "ISTA-Net+" for which multiplying by five is right.
    """
    kind = methods.class_of("reconnet")
    for ratio, m in ((0.1, 109), (0.3, 327), (0.5, 545)):
        counted, yours = kind(ratio=ratio).parameter_count, number(ask(by_hand, m), "the count")
        require(yours != counted - 1089, "Only the bias of the first layer is missing.")
        require(yours == counted, f"With m = {m} the module counts {'more' if counted > yours else 'fewer'}.")
    for label, name in (("ReconNet", "reconnet"), ("ISTA-Net", "ista-net"), ("ISTA-Net+", "ista-net-plus")):
        sizes = {methods.class_of(name)(ratio=ratio).parameter_count for ratio in (0.1, 0.5)}
        require(
            (label in names(right, "`right`")) == (len(sizes) == 1),
            f"The count is right. Does {label} have one size for all ratios?",
        )
    return "Three modules agree with the count by hand, and you know where five times one is five."


class _Plain(methods.Network):
    """Convolutions one after another, and a sum that is no skip: it adds a number that was learned."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct."""
        return self.two(F.relu(self.one(sampling.adjoint(y)))) + self.offset


@check("11.3")
def check_11_3(skips: Callable[[Sequence[Step]], int]) -> str:
    """Skip connections of any network.

    Args:
        skips: maps an observation to the number of skip connections in it.
    """
    x, sampling = torch.rand(1, 1, 66, 66), BlockSampling(0.1)
    require(
        number(ask(skips, observe(_Plain(), x, sampling)), "the number") == 0,
        "A chain of convolutions has no skip, not even if it ends by adding a learned number.",
    )
    for stages in (2, 3, 5):
        found = number(ask(skips, observe(ISTANetPP(stages, 4), x, sampling)), "the number")
        require(
            found == 3 * stages,
            f"In ISTA-Net++ with {stages} stages you find {'more' if found > 3 * stages else 'fewer'} than there are: "
            "one around each residual block, one around them all. The gradient step has a difference, and no skip.",
        )
    return "None in a chain, and three a stage in ISTA-Net++, at three depths."


@check("11.4")
def check_11_4(reach: Callable[[Sequence[int]], int]) -> str:
    """How far is a pixel heard?

    Args:
        reach: maps the sides of the kernels that follow each other to the pixels reached to each side.
    """
    for kernels in ((3,), (3, 3, 3, 3, 3, 3), (5, 3), (7, 1, 5)):
        x = torch.zeros(1, 1, 41, 41)
        x[..., 20, 20] = 1
        for side in kernels:
            x = F.conv2d(x, torch.ones(1, 1, side, side), padding=side // 2)
        true, yours = int((x[0, 0, 20] > 0).sum() - 1) // 2, number(ask(reach, kernels), "the reach")
        require(yours != 2 * true + 1, "That is the side of the whole square. To each side it is less than half.")
        require(yours == true, f"Kernels of {kernels} reach {'farther' if true > yours else 'less far'}.")
    return "A pixel sent through four chains of kernels reaches as far as you say."


@check("11.5")
def check_11_5(lead: Callable[[Tensor, Tensor, Tensor, int], Tensor]) -> str:
    """Who wins in which square?

    Args:
        lead: maps two images, the scene and n to the lead of the first in dB, for each square of n x n pixels,
            (H - n + 1, W - n + 1).
    """
    scene = torch.rand(1, 1, 30, 40).double()
    first, second = (scene + s * normal(1, 1, 30, 40, seed=i) for i, s in enumerate((0.1, 0.12)))
    for n in (8, 15):
        answer = tensor(ask(lead, first, second, scene, n), (31 - n, 41 - n), "the lead")
        swapped = tensor(ask(lead, second, first, scene, n), (31 - n, 41 - n), "the lead")
        require(close(answer, -swapped, 1e-9), "The lead of the second should be minus that of the first.")
        for top, left in ((0, 0), (5, 11), (30 - n, 40 - n)):
            square = (..., slice(top, top + n), slice(left, left + n))
            errors = [(image - scene)[square].square().mean() for image in (first, second)]
            true = float(10 * torch.log10(errors[1] / errors[0]))
            require(
                not close(answer[top, left], -true),
                "The sign is the other way round: who wins has a positive lead.",
            )
            require(close(answer[top, left], true), f"In the square at row {top}, column {left} it is another one.")
    return "Squares picked out one by one agree, at two sizes."

"""Checks of the exercises of chapter 13: a photograph of one's own."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from istapp.exercises.answers import ask, check, close, normal, number, require, tensor, truth
from istapp.method.base import Method
from istapp.sampling import BlockSampling

Encode = Callable[[Tensor, int], bytes]


@check("13.1")
def check_13_1(size: int, per_pixel: float, ratio: float, encode: Encode) -> str:
    """The size of a file of measurements.

    Args:
        size: bytes of a photograph of 528 x 528 at 25 % with 6 bits.
        per_pixel: bits for each pixel.
        ratio: the ratio, a fraction, that fills about the same file with 12 bits.
        encode: the chapter's, from measurements and bits to bytes.
    """
    data = encode(BlockSampling(0.25).A(torch.rand(1, 1, 528, 528)), 6)
    yours = number(size, "`size`")
    require(yours != len(data) - 8, "Only the range is missing: two numbers of four bytes each.")
    require(
        yours == len(data),
        f"The file is {'larger' if len(data) > yours else 'smaller'}. How many blocks, how many numbers for each?",
    )
    require(
        abs(number(per_pixel, "`per_pixel`") - 8 * len(data) / 528**2) < 0.01,
        "The bytes are right. Bits per pixel are not.",
    )
    filled = len(encode(BlockSampling(float(ratio)).A(torch.rand(1, 1, 528, 528)), 12))
    require(abs(filled / len(data) - 1) < 0.02, f"With 12 bits and that ratio the file has {filled:,} bytes.")
    return "The encoder writes exactly so many bytes, and nearly the same with twice the bits and that ratio."


@check("13.2")
def check_13_2(
    directly: Callable[..., Tensor], same: Mapping[str, bool], weights: Tensor, linear: Method, network: Method
) -> str:
    """Luma at once, or the planes first?

    Args:
        directly: maps (method, y, sampling), y (3, m, h, w) of the planes, to the luma (1, 1, H, W) with one call of
            the method on one plane.
        same: for "linear" and "network", whether it gives the same luma as the planes first.
        weights: of the three planes, (3, 1, 1, 1).
        linear: the linear method.
        network: any other.
    """
    planes = torch.rand(3, 1, 66, 66)
    sampling = linear.sampling(0.1)
    y, sizes = sampling.A(planes), []

    def counted(y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct, and note how many planes came at once."""
        sizes.append(len(y))
        return linear(y, sampling)

    answer = tensor(ask(directly, counted, y, sampling), (1, 1, 66, 66), "the luma")
    require(sizes == [1], "It should reconstruct one plane, once: a third of the work.")
    require(
        close(answer, (weights * linear(y, sampling)).sum(0, keepdim=True), 1e-4),
        "For a linear method yours is not the luma of the planes. Which combination of measurements is that of Y?",
    )
    for name, method in (("linear", linear), ("network", network)):
        s = method.sampling(0.1)
        y = s.A(planes)
        gap = (ask(directly, method, y, s) - (weights * method(y, s)).sum(0, keepdim=True)).abs().max()
        require(name in same, f'`same` has no entry "{name}".')
        require(
            truth(same[name], "each of `same`") == bool(gap < 1e-4) or method is linear and name == "network",
            f'The function is right. For "{name}" random planes say otherwise: is it additive?',
        )
    return "Measurements mix as the planes do. A linear method keeps that, and a network is not one."


@check("13.3")
def check_13_3(planes: Callable[[Tensor, Tensor, Tensor], Tensor], luma: Callable[[Tensor], Tensor]) -> str:
    """From Y, U and V back to the planes.

    Args:
        planes: maps Y, U = x_B - Y and V = x_R - Y, each (1, 1, H, W), to red, green and blue, (3, 1, H, W).
        luma: the chapter's, from three planes to Y.
    """
    colour = torch.rand(3, 1, 20, 30)
    y = luma(colour)
    answer = tensor(ask(planes, y, colour[2:] - y, colour[:1] - y), colour.shape, "the planes")
    require(not close(answer, colour.flip(0), 1e-4), "Red and blue have changed places.")
    for i, name in ((0, "Red"), (2, "Blue"), (1, "Green")):
        require(
            close(answer[i], colour[i], 1e-4),
            f"{name} does not come back. {'Solve the definition of Y for it.' if i == 1 else 'It is in U or V.'}",
        )
    gray = ask(planes, y, 0 * y, 0 * y)
    require(close(gray, y.expand(3, -1, -1, -1), 1e-4), "Without colour all planes should be Y.")
    return "All three planes come back, and without U and V they are gray."


@check("13.4")
def check_13_4(centred: Callable[[Tensor, BlockSampling], tuple[float, Tensor]]) -> str:
    """Send the mean first.

    Args:
        centred: maps (y, sampling) to the least squares estimate of the mean, and to what is then quantised.
    """
    for level in (0.2, 0.7):
        x = level + 0.1 * normal(1, 1, 99, 99)
        sampling = BlockSampling(0.2)
        y, ones = sampling.A(x), sampling.A(torch.ones_like(x))
        answer = ask(centred, y, sampling)
        require(isinstance(answer, tuple | list) and len(answer) == 2, "`centred` should return a number and a tensor.")
        mean, rest = number(answer[0], "the mean"), tensor(answer[1], y.shape, "the rest")
        require(close(rest + mean * ones, y, 2e-3), "The rest and the mean times Phi 1 should add up to y again.")
        require(
            abs(mean - level) < 0.05,
            "They add up, but it is not near the image's mean. Fit y by mu Phi 1.",
        )
        require(abs(float((rest * ones).sum() / ones.square().sum())) < 2e-3, "Another mean leaves a smaller rest.")
        require(
            float(rest.max() - rest.min()) < float(y.max() - y.min()), "The range of what is quantised did not shrink."
        )
    return "The decoder gets y again, no other mean leaves less, and the range has shrunk."


@check("13.5")
def check_13_5(received: Callable[[BlockSampling, Tensor], BlockSampling]) -> str:
    """What is left of a camera when measurements are lost?

    Args:
        received: maps (sampling, rows), rows the numbers of the measurements that arrived, to the operator of these.
    """
    full = BlockSampling(0.1)
    x = normal(1, 1, 33, 66)
    for seed in range(3):
        rows = torch.randperm(full.m)[: 60 + seed].sort().values
        left = ask(received, full, rows)
        require(isinstance(left, BlockSampling), "`received` should return a BlockSampling.")
        require(left.m == len(rows), f"{len(rows)} measurements arrived, and your operator takes {left.m}.")
        require(
            close(left.A(x), full.A(x)[:, rows]),
            "Your operator measures other numbers than those that arrived. Which rows of Phi have made them?",
        )
        require(close(left.phi @ left.phi.T, torch.eye(left.m), 1e-9), "Its rows are not orthonormal.")
        require(abs(left.ratio - len(rows) / 1089) < 1e-3, "The numbers are right. A network is told the wrong ratio.")
    return "It measures what arrived, its rows are orthonormal, and its ratio is the one that is left."

"""Checks of the exercises of chapter 06: inside the network."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from istapp.exercises.answers import ask, check, close, normal, number, require, tensor
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.metrics import psnr
from istapp.sampling import BlockSampling


@check("6.1")
def check_6_1(projected: Callable[[Tensor, Tensor, BlockSampling], Tensor]) -> str:
    """A last projection onto the measurements.

    Args:
        projected: maps (x, y, sampling) to the nearest image that has the measurements y.
    """
    for ratio in (0.1, 0.5):
        sampling, truth = BlockSampling(ratio), normal(2, 1, 66, 33)
        y, x = sampling.A(truth), truth + normal(2, 1, 66, 33, seed=1)
        answer = tensor(ask(projected, x, y, sampling), x.shape, "the projected image")
        require(close(sampling.A(answer), y, 1e-8), f"At {ratio:.0%} your image does not have the measurements y.")
        moved = answer - x
        require(
            close(sampling.normal(moved), moved, 1e-8),
            "It has the measurements, but it also changed what they do not see. Then the error may grow.",
        )
        assert (answer - truth).norm() <= (x - truth).norm()
    return "It has the measurements, and nothing that they do not see has changed: the error cannot grow."


@check("6.2")
def check_6_2(
    drop: Sequence[float], least: int, network: ISTANetPP, y: Tensor, sampling: BlockSampling, truth: Tensor
) -> str:
    """Which stage can the network least do without?

    Args:
        drop: for each stage, the change of PSNR in dB when it is left out.
        least: number of the stage, from 1, that can least be spared.
        network: the network.
        y: measurements.
        sampling: their operator.
        truth: the photograph.
    """
    count = len(network.stages)
    require(len(drop) == count, f"`drop` should have a number for each of the {count} stages.")
    with torch.no_grad():
        rho, sigma = network.conditions(sampling.ratio)

        def quality(left_out: int | None) -> float:
            """Return the PSNR in dB without one stage."""
            x = x0 = sampling.adjoint(y)
            for k, stage in enumerate(network.stages):
                if k != left_out:
                    r = x - rho[0, k] * (sampling.normal(x) - x0)
                    x = stage(r, None if sigma is None else sigma[0, k : k + 1])
            return psnr(x, truth)

        full = quality(None)
        for k in (0, count // 2, count - 1):
            true = quality(k) - full
            require(
                abs(number(drop[k], "an entry of `drop`") - true) < 0.02,
                f"Without stage {k + 1} the PSNR changes by another number. Both half-steps go, and the others keep "
                "their own rho and sigma.",
            )
    worst = min(range(count), key=lambda k: float(drop[k])) + 1
    require(least != worst - 1, "The drops are right. Stages are counted from 1.")
    require(least == worst, "The drops are right. The stage that you name is not the one whose absence costs most.")
    return f"So it is. Without stage {worst} the network loses {-float(drop[worst - 1]):.1f} dB."


@check("6.3")
def check_6_3(
    turn: Callable[[Tensor, int], Tensor],
    back: Callable[[Tensor, int], Tensor],
    masks: Callable[[Tensor, int], Tensor],
) -> str:
    """Eight looks at the same measurements.

    Args:
        turn: maps an image or measurements (B, c, h, w) and g = 0 ... 7 to one of its eight orientations.
        back: undoes `turn` with the same g.
        masks: maps Phi (m, 1089) and g to the matrix that belongs to the turned image.
    """
    sampling, x = BlockSampling(0.04), normal(1, 1, 66, 99)
    y, seen = sampling.A(x), []
    for g in range(8):
        turned = ask(turn, x, g)
        undone = tensor(ask(back, turned, g), x.shape, "`back(turn(x, g), g)`")
        require(close(undone, x), f"With g = {g} `back` does not undo `turn`. In which order were the steps taken?")
        require(
            all(turned.shape != other.shape or not close(turned, other) for other in seen),
            f"The orientation g = {g} has come before; eight different ones are wanted.",
        )
        seen.append(turned)
        phi = tensor(ask(masks, sampling.phi, g), sampling.phi.shape, "`masks(phi, g)`")
        require(
            close(BlockSampling(phi=phi).A(turned), ask(turn, y, g), 1e-9),
            f"With g = {g} the turned masks do not measure of the turned image what the masks measured of the image. "
            "Each row of Phi is a picture of 33 x 33.",
        )
    return "Eight orientations, each undone exactly, and the measurements are the same numbers in another order."


@check("6.4")
def check_6_4(amplification: Callable[..., float]) -> str:
    """By how much is a perturbation amplified?

    Args:
        amplification: maps (method, y, noise, sampling) to the size of the change of the image, in units of the noise.
    """
    sampling = BlockSampling(0.1)
    y, noise = sampling.A(torch.rand(1, 1, 66, 66).double()), 0.01 * normal(1, sampling.m, 2, 2)

    def asked(method: Callable[[Tensor, BlockSampling], Tensor], noise: Tensor = noise) -> float:
        """Return what the answer makes of a method."""
        return number(ask(amplification, method, y, noise, sampling), "the amplification")

    plain = asked(lambda y, s: s.adjoint(y))
    require(
        close(plain, 1),
        "Back-projection with orthonormal rows keeps lengths, so it amplifies by exactly 1. Compare lengths.",
    )
    require(close(asked(lambda y, s: 3 * s.adjoint(y)), 3), "Back-projection times three amplifies by another number.")
    require(close(asked(lambda y, s: s.adjoint(y), 10 * noise), 1), "For a linear method the noise's size drops out.")
    shifted = asked(lambda y, s: s.adjoint(y) + 7)
    require(close(shifted, 1), "Adding a constant image amplifies nothing. Subtract the clean answer.")
    squared = asked(lambda y, s: s.adjoint(y).square())
    true = float((sampling.adjoint(y + noise).square() - sampling.adjoint(y).square()).norm() / noise.norm())
    require(close(squared, true), "For a method that is not linear it is the change around this y that counts.")
    return "It is right for five methods whose answer is known."

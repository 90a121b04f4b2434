"""Checks of the exercises of chapter 08: stages and channels."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from istapp.exercises.answers import ask, check, close, normal, number, require, truth
from istapp.methods.ista_net_plus import ISTANetPlus
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.sampling import BlockSampling


@check("8.1")
def check_8_1(alone: int, each: int) -> str:
    """How many stages may ISTA-Net+ have?

    Args:
        alone: with 32 channels, until it has as many parameters as ISTA-Net++ with 20 stages.
        each: the same for each of five networks together.
    """
    budget = ISTANetPP(20, 32).parameter_count
    for stages, networks, name in ((alone, 1, "one ratio"), (each, 5, "five ratios")):
        stages = int(number(stages, "a number of stages"))
        require(stages >= 1, "A network has a stage at least.")
        fits = networks * ISTANetPlus(stages=stages, channels=32).parameter_count <= budget
        more = networks * ISTANetPlus(stages=stages + 1, channels=32).parameter_count <= budget
        require(fits, f"For {name} that is more than ISTA-Net++ has.")
        require(not more, f"For {name} there is room for another stage.")
    return "One more stage would be too many, in both cases."


@check("8.2")
def check_8_2(widest: Callable[[int], int], worthwhile: bool) -> str:
    """When does the operator cost more than the convolutions?

    Args:
        widest: maps m to the largest number of channels at which it still does.
        worthwhile: whether a free operator would save more than a tenth at 32 channels.
    """
    for m in (43, 109, 327, 545, 1089):
        channels = int(number(ask(widest, m), "the number of channels"))
        convolutions = [sum(p.numel() for p in ISTANetPP(1, max(c, 1)).stages.parameters() if p.ndim == 4) * (c > 0)
                        for c in (channels, channels + 1)]  # fmt: skip
        require(2 * m >= convolutions[0], f"With m = {m} the convolutions of a stage so wide cost more already.")
        require(2 * m < convolutions[1], f"With m = {m} the operator still costs more in a wider stage.")
    require(not truth(worthwhile, "`worthwhile`"), "The widths are right. What share is it at 32 channels?")
    return "Weights of the convolutions, counted in the module, agree for five numbers of measurements."


@check("8.3")
def check_8_3(extrapolate: Callable[[np.ndarray, np.ndarray, float], float], ceiling: bool) -> str:
    """A straight line through few points.

    Args:
        extrapolate: maps parameters, their PSNR and a size to the PSNR of the line p = a + b log2 P there.
        ceiling: whether such a line knows that quality has a limit.
    """
    sizes = np.array([1000.0, 4000.0, 9000.0, 70_000.0])
    line = 20 + 0.5 * np.log2(sizes)
    require(
        close(number(ask(extrapolate, sizes, line, 2.0**20), "the PSNR"), 30),
        "Points that lie on p = 20 + log2(P) / 2 should lead to 30 dB at 2^20 parameters. Is the axis logarithmic, "
        "and the logarithm that of 2?",
    )
    noisy = line + np.array([0.1, -0.2, 0.05, 0.1])
    yours = number(ask(extrapolate, sizes, noisy, 1e6), "the PSNR")
    design = np.stack([np.ones(4), np.log2(sizes)], 1)
    a, b = np.linalg.lstsq(design, noisy, rcond=None)[0]
    require(close(yours, a + b * np.log2(1e6)), "On a line it is right. With noise it is not the least squares fit.")
    require(not truth(ceiling, "`ceiling`"), "The fit is right. What does the line say at 10^30 parameters?")
    return "It is exact on a line, the least squares fit elsewhere, and it knows no limit."


@check("8.4")
def check_8_4(best_mixture: Callable[[Tensor, Tensor, Tensor], float]) -> str:
    """The best mixture of two estimates.

    Args:
        best_mixture: maps x, the linear estimate and the truth to the t in [0, 1] for which t x + (1 - t) linear
            has the smallest squared error.
    """
    for seed, (noise, other) in enumerate(((0.1, 0.2), (0.3, 0.1), (0.02, 2.0))):
        truth = torch.rand(1, 1, 33, 33).double()
        x, linear = (truth + s * normal(1, 1, 33, 33, seed=9 * seed + i) for i, s in enumerate((noise, other)))
        t = number(ask(best_mixture, x, linear, truth), "t")
        require(0 <= t <= 1, "t should lie between 0 and 1.")

        def error(t: float, x: Tensor = x, linear: Tensor = linear, truth: Tensor = truth) -> float:
            """Return the mean squared error of a mixture."""
            return float((t * x + (1 - t) * linear - truth).square().mean())

        best = min(error(step / 20) for step in range(21))
        require(
            error(t) <= best + 1e-9,
            "Another t of 0, 0.05, ... 1 has a smaller error. Is t the share of x?",
        )
    same = torch.rand(1, 1, 9, 9).double()
    require(close(ask(best_mixture, same, same + 1, same), 1), "Where x is the truth, t should be 1.")
    return "No mixture in steps of a twentieth is better, on three pairs, and a perfect x is kept."


@check("8.5")
def check_8_5(share: Callable[[ISTANetPP], ISTANetPP]) -> str:
    """One stage for all.

    Args:
        share: makes all stages of a network the first one; steps and noise levels go on to differ.
    """
    for stages, channels in ((4, 8), (6, 4)):
        network = ISTANetPP(stages, channels)
        first, conditions = list(network.stages[0].parameters()), network.conditions(0.1)
        one = sum(p.numel() for p in first)
        whole = network.parameter_count
        shared = ask(share, network)
        require(isinstance(shared, ISTANetPP), "`share` should return the network.")
        require(len(shared.stages) == stages, f"Of {stages} stages it has kept {len(shared.stages)}.")
        require(
            shared.parameter_count == whole - (stages - 1) * one,
            "The parameters are not fewer by all stages but one. Copies of a stage are tensors of their own.",
        )
        require(
            all(
                a is not None and b is not None and close(a.detach(), b.detach())
                for a, b in zip(conditions, shared.conditions(0.1))
            ),
            "The parameters are right, but steps or noise levels have changed.",
        )
        sampling = BlockSampling(0.1)
        with torch.no_grad():
            require(
                shared(sampling.A(torch.rand(1, 1, 33, 33)), sampling).shape == (1, 1, 33, 33),
                "The parameters are right, but the network no longer makes an image.",
            )
    return "As many stages as before, the tensors of one, and a condition for each."

"""Checks of the exercises of chapter 04: ISTA-Net++ step by step."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp.exercises.answers import ask, check, close, normal, number, require, tensor
from istapp.methods.ista_net_pp import ConditionModule, ISTANetPP
from istapp.sampling import BLOCK, BlockSampling, measurements


def _count(stages: int, channels: int) -> int:
    return ISTANetPP(stages, channels).parameter_count


@check("4.1")
def check_4_1(parameters: int, share: float, wide: int) -> str:
    """Parameters on paper.

    Args:
        parameters: of ISTA-Net++ with 9 stages and 16 channels.
        share: of them in the condition module, a fraction.
        wide: the smallest number of channels with which 9 stages pass the full network.
    """
    network = ISTANetPP(9, 16)
    assert network.condition is not None
    require(
        number(parameters, "`parameters`") == network.parameter_count,
        f"The module counts {'fewer' if parameters > network.parameter_count else 'more'} parameters. Biases, both "
        "blocks of a stage, and two outputs of the condition module for each stage?",
    )
    inside = sum(p.numel() for p in network.condition.parameters()) / network.parameter_count
    require(
        abs(number(share, "`share`") - inside) < 5e-4,
        "The total is right. The share is not; it is a fraction.",
    )
    require(_count(9, int(wide)) > _count(20, 32), "With so many channels 9 stages are still smaller than 20 of 32.")
    require(_count(9, int(wide) - 1) <= _count(20, 32), "Fewer channels pass the full network already.")
    return "All three agree with the modules."


@check("4.2")
def check_4_2(NoSkip: Callable[[int], nn.Module], MyStage: Callable[[int], nn.Module]) -> str:  # noqa: N803
    """A stage without the long skip.

    Args:
        NoSkip: a class; its `forward(x, x0, rho, sigma, sampling)` leaves out the sum with r.
        MyStage: the class with the skip.
    """
    without, whole = NoSkip(8).double(), MyStage(8).double()
    without.load_state_dict(whole.state_dict())
    sampling, x = BlockSampling(0.1), normal(1, 1, 66, 66)
    x0 = sampling.normal(normal(1, 1, 66, 66, seed=1))
    rho, sigma = torch.tensor(0.7).double(), torch.tensor(0.3).double()
    with torch.no_grad():
        asked = ask(without, x, x0, rho, sigma, sampling)
        answer, complete = tensor(asked, x.shape, "the stage's output"), whole(x, x0, rho, sigma, sampling)
    gone = complete - answer
    require(not close(gone, torch.zeros_like(x)), "Your stage does what a stage with the skip does.")
    require(not close(gone, x), "You took away x. The skip carries r, the image after the gradient step.")
    require(close(gone, x - rho * (sampling.normal(x) - x0)), "What is missing in your stage is not r of (4.4).")
    return "With the same weights, what your stage lacks is r and nothing else."


@check("4.3")
def check_4_3(stages: Callable[[int], int], largest: int) -> str:
    """When does every pixel depend on every measurement?

    Args:
        stages: maps n to the number of stages after which it does, for n x n blocks.
        largest: side in pixels of the largest image for which 20 stages are enough.
    """
    for n in (2, 4, 7):
        heard = torch.zeros(1, 1, n * BLOCK, n * BLOCK)
        heard[..., :BLOCK, :BLOCK] = 1
        needed = 0
        while heard.min() == 0:
            r = F.interpolate(F.max_pool2d(heard, BLOCK), scale_factor=BLOCK)
            heard, needed = F.max_pool2d(r, 13, stride=1, padding=6), needed + 1
        yours = number(ask(stages, n), "the number of stages")
        require(
            yours == needed,
            f"Growing sets of pixels need {'fewer' if yours > needed else 'more'} stages for {n} x {n} blocks. One "
            "stage reaches six pixels beyond a block; what does the next gradient step make of them?",
        )
    require(number(largest, "`largest`") == 20 * BLOCK, "The stages are right. `largest` counts pixels, for 20 stages.")
    return "Sets that grow from a corner block agree, and the paper's network is deep enough for its test images."


@check("4.4")
def check_4_4(flaws: Mapping[str, str]) -> str:
    """Why a softplus?

    Args:
        flaws: for "identity", "relu" and "sigmoid", one of "can be negative", "can die at zero" and "is bounded".
    """
    with torch.no_grad():
        raw = torch.cat([nn.Sequential(*list(ConditionModule(40))[:5])(torch.tensor([0.1])) for _ in range(50)])
    steps = {"identity": raw, "relu": F.relu(raw), "sigmoid": torch.sigmoid(100 * raw)}
    for name, rho in steps.items():
        require(name in flaws, f'`flaws` has no entry "{name}".')
        seen = {
            "can be negative": bool((rho < 0).any()),
            "can die at zero": name == "relu" and bool((rho == 0).any()),
            "is bounded": bool(rho.max() <= 1) and name == "sigmoid",
        }
        require(flaws[name] in seen, f"Of the three flaws, which one is meant by {flaws[name]!r}?")
        require(seen[flaws[name]], f"2000 untrained steps through the {name} do not show that. Look at their range.")
    return "2000 untrained steps show each of the three flaws, and softplus has none of them."


@check("4.5")
def check_4_5(idle: int, phi: Tensor) -> str:
    """The first step that does nothing.

    Args:
        idle: how many of the 760,220 parameters can never learn anything.
        phi: a matrix (m, 1089) for which the first step matters.
    """
    network = ISTANetPP(3, 4)
    sampling, x = BlockSampling(0.3), torch.rand(1, 1, 33, 33, dtype=torch.float64)
    with torch.enable_grad():
        loss = (network.double()(sampling.A(x), sampling) - x).square().mean()
        last = [network.get_parameter(f"condition.4.{name}") for name in ("weight", "bias")]
        weight, bias = torch.autograd.grad(loss, last)
    dead = bias.abs() < 1e-12 * bias.abs().max()
    true = int(dead.sum()) * (weight.shape[1] + 1)
    yours = number(idle, "`idle`")
    require(yours != 1, "rho_1 itself is computed, not stored. Which stored numbers are used for it alone?")
    require(yours == true, "The gradient of another number of parameters is zero. Which are used for rho_1 alone?")
    matrix = tensor(phi, (len(phi), BLOCK**2), "phi")
    given = BlockSampling(phi=matrix)
    x0 = given.adjoint(given.A(x))
    moved = float((given.normal(x0) - x0).norm() / x0.norm())
    require(moved > 1e-6, "The number is right. With this matrix the first gradient step still changes nothing.")
    return f"So many gradients are zero, and with your matrix the first step moves x0 by {moved:.0%}."


@check("4.6")
def check_4_6(
    Foveated: Callable[[Tensor], BlockSampling],  # noqa: N803
    with_maps: Callable[[nn.Module, Tensor, BlockSampling], Tensor],
    MyISTANetPP: Callable[[int, int], nn.Module],  # noqa: N803
) -> str:
    """A ratio for each block.

    Args:
        Foveated: a class; `Foveated(ratios)`, (h, w) ratios, measures block by block; numbers not taken are zero.
        with_maps: maps (network, y, sampling) to the image, with rho and sigma constant on blocks.
        MyISTANetPP: the chapter's network.
    """
    network, x = MyISTANetPP(3, 8).double(), torch.rand(1, 1, 66, 99, dtype=torch.float64)
    with torch.no_grad():
        for ratio in (0.1, 0.3):
            flat = Foveated(torch.full((2, 3), ratio).double())
            y = ask(flat.A, x)
            image = tensor(ask(with_maps, network, y, flat), x.shape, "the image")
            plain = BlockSampling(ratio)
            require(close(y, plain.A(x)), f"With {ratio:.0%} everywhere the measurements are not the usual ones.")
            require(close(image, network(y, plain), 1e-9), f"With {ratio:.0%} everywhere it is not ISTA-Net++.")
        ratios = torch.tensor([[0.5, 0.1, 0.1], [0.1, 0.1, 0.1]]).double()
        y = Foveated(ratios).A(x)
        require(
            float(y[0, measurements(0.1) :, 0, 1].abs().max()) == 0,
            "With equal ratios all is well. A block of 10 % must not have more numbers than 10 % allow.",
        )
        require(float(y[0, measurements(0.1) :, 0, 0].abs().max()) > 0, "The block of 50 % lost its numbers.")
        before = ask(with_maps, network, y, Foveated(ratios))
        constant = network(y, BlockSampling(0.5))
    require(not close(before, constant), "The measurements are right, but rho and sigma do not follow the ratios.")
    return "Equal ratios give ISTA-Net++ to rounding, and unequal ones are respected block by block."

"""The floor of a training: its operations, held against the peak of the machine."""

import copy
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from istapp.basics.measuring import matrix_peak, take_turns
from istapp.method.base import Network
from istapp.sampling import BlockSampling
from istapp.training.run import Run
from istapp.training.trainer import Trainer


def operations_per_pixel(network: Network, sampling: BlockSampling, x: torch.Tensor) -> float:
    """Return the floating-point operations of one training step per pixel, forward and backward."""
    with torch.no_grad():  # what an operator remembers, such as Q, is solved for once and is no part of a step
        network.loss(x, sampling)
    with FlopCounterMode(display=False) as counter:
        network.loss(x, sampling).backward()
    return counter.get_total_flops() / x.numel()


def share_of_peak(run: Run, pixels_per_second: float) -> float:
    """Return how much of the machine's matrix peak a run's speed uses, the peak measured now in the run's precision."""
    device, recipe = torch.device(run.device), run.recipe  # its batch for a processor: large enough to count
    network = copy.deepcopy(run.network).to(device).train().requires_grad_(True)
    sampling = network.operator(run.ratios, run.matrix_seed, recipe.batch, device)
    batch = torch.rand(recipe.batch, 1, recipe.patch, recipe.patch, device=device)
    work = operations_per_pixel(network, sampling, batch)
    return pixels_per_second * work / matrix_peak(device, getattr(torch, run.precision))


def optimiser_share(trainer: Trainer, step: float) -> float:
    """Return the part of a step of so many seconds that the optimisers and the average take, the median of five."""
    (taken,) = take_turns(
        [lambda: (trainer._update(0.0), trainer._average_weights())], trainer.device, least=5, most=5, warm=0
    )
    return min(1.0, median(taken) / step)

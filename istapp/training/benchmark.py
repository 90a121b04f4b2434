"""The floor of a training: its operations, and the peak of the machine that they are held against."""

import copy
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from istapp.method.base import Network
from istapp.sampling import BlockSampling
from istapp.training.trainer import Run


def seconds_of(work: Callable[[], object], device: torch.device, at_least: float = 2.0) -> float:
    """Return the median seconds of `work`, called for about `at_least` seconds after one call to warm up."""

    def once() -> float:
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    once()
    times: list[float] = []
    while sum(times) < at_least or len(times) < 3:
        times.append(once())
    return sorted(times)[len(times) // 2]


def matrix_peak(device: torch.device, dtype: torch.dtype = torch.bfloat16) -> float:
    """Return the operations per second of a large matrix product, (n, n) times (n, n): the practical peak."""
    n = 8192 if device.type == "cuda" else 1024
    a = torch.randn(n, n, device=device).to(dtype)
    return 2 * n**3 / seconds_of(lambda: a @ a, device, 1.0)


def operations_per_pixel(network: Network, sampling: BlockSampling, x: torch.Tensor) -> float:
    """Return the floating-point operations of one training step per pixel, forward and backward."""
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

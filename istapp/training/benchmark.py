"""How fast training runs on a machine, beside the plain loop and the machine's own peak, measured in one run."""

import copy
import time
from collections.abc import Callable, Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

from istapp import datasets
from istapp.methods.base import Network
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.precision import native
from istapp.sampling import BlockSampling, MixedSampling
from istapp.training.patches import Patches
from istapp.training.recipe import ours
from istapp.training.trainer import Run, Trainer


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
    device, recipe = torch.device(run.device), run.recipe.on(run.device)
    network = copy.deepcopy(run.network).to(device).train().requires_grad_(True)
    sampling = network.operator(run.ratios, run.matrix_seed, recipe.batch, device)
    batch = torch.rand(recipe.batch, 1, recipe.patch, recipe.patch, device=device)
    work = operations_per_pixel(network, sampling, batch)
    return pixels_per_second * work / matrix_peak(device, getattr(torch, run.precision))


def training_speed(device_name: str, stages: int, channels: int, batch: int = 16) -> Iterator[str]:
    """Measure the plain eager float32 loop and the trainer, and yield lines of a table."""
    device = torch.device(device_name)
    images = datasets.load("photos")
    recipe = ours(1e12, batch=batch, silent_start=False)
    random = torch.Generator(device).manual_seed(0)
    network = ISTANetPP(stages, channels).to(device)
    sampling = MixedSampling((0.1, 0.3, 0.5), batch=batch, device=device)
    patches = Patches(images, recipe.patch, device)
    work = operations_per_pixel(network, sampling, patches.draw(batch, random))
    precision = native(device)
    peak = matrix_peak(device, getattr(torch, precision))
    yield f"ISTA-Net++ K={stages} C={channels}, {batch} patches of {recipe.patch} x {recipe.patch}, {device_name}"
    yield f"{work / 1e6:.2f} Mflop per pixel; {precision} matrix peak {peak / 1e12:.2f} Tflop/s"

    optimiser = torch.optim.Adam(network.parameters(), 1e-4)

    def plain() -> None:
        optimiser.zero_grad()
        network.loss(patches.draw(batch, random), sampling).backward()
        optimiser.step()

    slow = recipe.pixels_per_step / seconds_of(plain, device, 10)
    run = Run(
        ISTANetPP(stages, channels), images, recipe, (0.1, 0.3, 0.5), device=device_name,
        compiled=device.type == "cuda", validate_every=10**9, quiet=True,
    )  # fmt: skip
    fast = recipe.pixels_per_step / seconds_of(Trainer(run).one_step, device, 10)
    for name, speed in (("plain float32 loop", slow), ("this trainer", fast)):
        yield f"{name:20} {speed / 1e6:8.3f} Mpixel/s  {100 * speed * work / peak:5.1f} % of the peak"
    yield f"ratio {fast / slow:.2f}"

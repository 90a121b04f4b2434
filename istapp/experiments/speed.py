"""How fast this machine is: forward passes and training steps beside the plain eager float32 ones, in one process.

    istapp benchmark                                          ISTA-Net++ of one small size
    istapp benchmark --stages 20 --channels 32 --side 256     one size
    istapp benchmark --networks reconnet ista-net-plus        what is shipped of these methods

The ways of computing one thing take turns, so that a busy machine disturbs all alike, and what counts is the median
over the turns with the interval of the middle 80 %. The floor is told beside it: the operations over the speed of a
large product of matrices in the same number format. (Where PyTorch's product is not made for a processor, its
convolutions can be faster: a share above one.)
"""

import copy
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from istapp import methods
from istapp.basics.measuring import middle, peak_memory, product, take_turns
from istapp.basics.provenance import commit, device_name
from istapp.images import datasets
from istapp.method.fast import Fast, fast, networks
from istapp.method.precision import lay_out, native
from istapp.methods import Method, Network
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.sampling import MixedSampling
from istapp.training import Run, ours
from istapp.training.benchmark import optimiser_share
from istapp.training.patches import Patches
from istapp.training.trainer import Trainer

PLAIN, LAID_OUT, FAST = "plain float32", "float32, channels-last", "fast path"
COMPILED, EXACT = "fast path, compiled", "float32, compiled"


@dataclass
class Timing:
    """One way of computing one thing, measured.

    Attributes:
        what: ``forward`` of one image, or a training ``step`` of a batch of patches of 66 x 66 pixels.
        method: as `istapp` calls it.
        stages: K, 0 for a network without.
        channels: C, 0 for a network without.
        pixels: that it computes on.
        way: plain, laid out, or the fast path.
        precision: of the convolutions.
        seconds: median.
        low: of the middle 80 % of the turns.
        high: of the middle 80 % of the turns.
        ratio: how many times as fast as the plain way, median of the turns.
        ratio_low: of the middle 80 %.
        ratio_high: of the middle 80 %.
        turns: how many there were.
        pixels_per_second: by the median.
        share_of_peak: operations per second over the machine's matrix peak in that precision.
        optimiser_share: of a training step, the optimiser's part; empty for a forward pass.
        peak_memory: MiB at most in use beyond what the process had before; empty where it cannot be told.
        device: ``cpu`` or ``cuda``.
        machine: what its maker calls it.
        threads: that torch uses.
        commit: of the code.
    """

    what: str
    method: str
    stages: int
    channels: int
    pixels: int
    way: str
    precision: str
    seconds: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    turns: int
    pixels_per_second: float
    share_of_peak: float
    optimiser_share: float | str
    peak_memory: float | str
    device: str
    machine: str
    threads: int
    commit: str


@dataclass
class _Way:
    name: str
    precision: str
    work: Callable[[], object]
    trainer: Trainer | None = None


def _timings(what: str, network: Method, ways: list[_Way], pixels: int, operations: float, device: str) -> list[Timing]:
    formats = list(dict.fromkeys(way.precision for way in ways))
    products = [product(device, getattr(torch, name)) for name in formats]
    turns = take_turns([way.work for way in ways] + [work for _, work in products], device)
    peaks = {
        name: operations / statistics.median(own)
        for name, (operations, _), own in zip(formats, products, turns[len(ways) :])
    }
    config = getattr(network, "config", {})
    rows = []
    for way, own in zip(ways, turns):
        seconds, low, high = middle(own)
        ratio, ratio_low, ratio_high = middle([plain / mine for plain, mine in zip(turns[0], own)])
        optimisers = optimiser_share(way.trainer, seconds) if way.trainer else ""
        rows.append(Timing(
            what, network.name, config.get("stages", 0), config.get("channels", 0), pixels, way.name, way.precision,
            seconds, low, high, ratio, ratio_low, ratio_high, len(own), pixels / seconds,
            operations / seconds / peaks[way.precision],
            optimisers, peak_memory(way.work, device), device, device_name(device),
            torch.get_num_threads(), commit(),
        ))  # fmt: skip
    return rows


def forward(
    method: Network, ratio: float, side: int = 256, device: str = "cpu", compiled: bool = False
) -> list[Timing]:
    """Measure one reconstruction of side x side pixels: plain, channels-last, and by the fast path.

    `compiled`: the fast path for many images, too, also in float32; the compilation itself is not measured.
    """
    sampling = method.sampling(ratio, method.config.get("matrix_seed", 0))
    whole = -(-side // sampling.block) * sampling.block
    y = sampling.A(torch.rand(1, 1, whole, whole, device=device))
    plain = lay_out(copy.deepcopy(method).to(device), torch.contiguous_format)
    laid_out = lay_out(copy.deepcopy(method).to(device))
    quick, quickest = fast(copy.deepcopy(method), device), fast(copy.deepcopy(method), device, many=True)

    def run(network: Method) -> Callable[[], object]:
        """Return a call of the network that keeps nothing for gradients."""
        return torch.no_grad()(lambda: network(y, sampling))

    ways = [_Way(PLAIN, "float32", run(plain)), _Way(LAID_OUT, "float32", run(laid_out))]
    ways.append(_Way(FAST, native(device), run(quick)))
    if compiled:
        ways.append(_Way(COMPILED, native(device), run(quickest)))
        exact = Fast(copy.deepcopy(method), device, many=True, precision="float32")
        ways.append(_Way(EXACT, "float32", run(exact)))
    with FlopCounterMode(display=False) as counter:
        ways[0].work()
    return _timings("forward", method, ways, whole**2, counter.get_total_flops(), device)


def step(stages: int, channels: int, batch: int = 8, device: str = "cpu") -> list[Timing]:
    """Measure one training step of ISTA-Net++: the plain loop (Adam, squared error, float32) and the trainer."""
    images, ratios = datasets.load("photos"), (0.1, 0.3, 0.5)
    recipe = ours(1e12, batch=batch, renew_matrix=50)
    network = ISTANetPP(stages, channels).to(device)
    sampling = MixedSampling(ratios, batch=batch, device=device)
    patches = Patches(images, recipe.patch, torch.device(device))
    random = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters(), 1e-4)

    def plain() -> None:
        """Take the step that everybody writes first."""
        optimiser.zero_grad()
        network.loss(patches.draw(batch, random), sampling).backward()
        optimiser.step()

    job = Run(
        ISTANetPP(stages, channels), images, recipe, ratios, device=device,
        mode="compiled" if device == "cuda" else "eager", validate_every=10**9, quiet=True,
    )  # fmt: skip
    trainer = Trainer(job)
    with FlopCounterMode(display=False) as counter:
        network.loss(patches.draw(batch, random), sampling).backward()
    ways = [
        _Way(PLAIN, "float32", plain),
        _Way(FAST, job.precision, trainer.one_step, trainer),
    ]
    return _timings("step", network, ways, recipe.pixels_per_step, counter.get_total_flops(), device)


def measure(
    sizes: Sequence[tuple[int, int]], sides: Sequence[int], names: Sequence[str] = (), device: str = "cpu",
    batch: int = 8, only_steps: bool = False,
) -> Iterator[Timing]:  # fmt: skip
    """Yield the timings of ISTA-Net++ of (K, C) sizes at image sides, and of the shipped networks of named methods.

    Raises:
        UserError: a method is unknown or has no weights, or the machine has no such device.
    """
    for name in names:
        method = methods.get(name)
        for network in _networks_of(method):
            ratio = network.ratios[0] if network.ratios else 0.1
            for side in sides:
                yield from forward(network, ratio, side, device, compiled=True)
    for stages, channels in sizes if not names else ():
        torch.manual_seed(0)
        network = ISTANetPP(stages, channels).eval().requires_grad_(False)
        for side in () if only_steps else sides:
            yield from forward(network, 0.1, side, device, compiled=True)
        yield from step(stages, channels, batch, device)


def _networks_of(method: Method) -> Iterator[Network]:
    yield from (network for network in networks(method) if isinstance(network, Network))


def line(row: Timing) -> str:
    """Return a timing as a line of text."""
    size = f"K={row.stages} C={row.channels}" if row.stages else ""
    optimiser = f"  optimiser {100 * row.optimiser_share:.1f} %" if isinstance(row.optimiser_share, float) else ""
    memory = f"  {row.peak_memory:,.0f} MiB" if isinstance(row.peak_memory, float) else ""
    return (
        f"{row.what:8} {row.method:14} {size:12} {row.pixels:>9,} px  {row.way:24} {row.precision:9} "
        f"{1000 * row.seconds:9.1f} ms [{1000 * row.low:.1f}, {1000 * row.high:.1f}]  {row.ratio:5.2f} times "
        f"[{row.ratio_low:.2f}, {row.ratio_high:.2f}]  {row.pixels_per_second / 1e6:7.3f} Mpixel/s  "
        f"{100 * row.share_of_peak:5.1f} % of peak{optimiser}{memory}"
    )

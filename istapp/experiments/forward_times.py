"""How long a reconstruction of 256 x 256 pixels takes: the plain way and the fast path, one image and sixteen at once.

On a GPU by its own events, elsewhere by the clock; after a warm-up, the median of many.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from statistics import quantiles

import torch

from istapp.basics.paths import read_table, write_table
from istapp.basics.provenance import commit, device_name
from istapp.experiments.campaigns import Experiment
from istapp.experiments.queue import Places
from istapp.method.fast import fast, networks
from istapp.method.precision import lay_out
from istapp.methods import get
from istapp.sampling import pad

SIDE, BATCHES = 256, (1, 16)


@dataclass
class ForwardTime:
    """One timing.

    Attributes:
        run: whose network.
        method: as `istapp` calls it.
        way: ``plain`` (eager, float32 without TF32) or ``fast path``.
        precision: of the convolutions.
        batch: images at once.
        ratio: in percent.
        milliseconds: per image, the median.
        low: of the middle 80 %.
        high: of the middle 80 %.
        repeats: how many were timed.
        device: what its maker calls it.
        torch: version.
        date: UTC.
        commit: of the code.
    """

    run: str
    method: str
    way: str
    precision: str
    batch: int
    ratio: float
    milliseconds: float
    low: float
    high: float
    repeats: int
    device: str
    torch: str
    date: str
    commit: str


def take(experiment: Experiment, places: Places, device: str = "cpu", say: Callable[[str], None] = print) -> None:
    """Time a finished run's network and add the rows to ``times.csv``, each as soon as it is known."""
    path = places.results / "times.csv"
    network = get(experiment.method, weights=places.weights_of(experiment.id)).to(device)
    ratio = experiment.ratios[0]
    sampling = network.sampling(ratio, experiment.matrix_seed if network.ratios else 0)
    quick = fast(copy.deepcopy(network), device)
    for each in networks(network):
        lay_out(each, torch.contiguous_format)
    for way, method in (("plain", network), ("fast path", quick)):
        for batch in BATCHES:
            y = sampling.A(pad(torch.rand(batch, 1, SIDE, SIDE, device=device), sampling.block)[0])
            with torch.no_grad():
                taken = sorted(t / batch for t in milliseconds(lambda m=method, y=y: m(y, sampling), device))
            low, *_, high = quantiles(taken, n=10)
            row = ForwardTime(
                experiment.id, experiment.method, way, getattr(method, "precision", "float32"), batch, 100 * ratio,
                taken[len(taken) // 2], low, high, len(taken), device_name(device), torch.__version__,
                datetime.now(UTC).isoformat(timespec="seconds"), commit(),
            )  # fmt: skip
            names = [field.name for field in fields(ForwardTime)]
            text = {k: f"{v:.5g}" if isinstance(v, float) else str(v) for k, v in asdict(row).items()}
            write_table(path, names, [*read_table(path, names), text])
            say(f"{experiment.id}: {way}, {batch} at once: {row.milliseconds:.2f} ms per image")


def milliseconds(work: Callable[[], object], device: str, enough: float = 1.0) -> list[float]:
    """Return the milliseconds of each of calls after three to warm up: about `enough` seconds, at least 5 calls."""
    for _ in range(3):
        work()
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < 5 or (time.perf_counter() - began < enough and len(taken) < 200):
        taken.append(_by_events(work) if device == "cuda" else _by_clock(work))
    return taken


def _by_events(work: Callable[[], object]) -> float:
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    last.synchronize()
    return first.elapsed_time(last)


def _by_clock(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)

"""How long a reconstruction of 256 x 256 pixels takes: the plain way and the fast path, one image and sixteen at once.

By the clock, after a warm-up, the median of many.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from istapp.basics.measuring import middle, take_turns
from istapp.basics.paths import write_records
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
                (taken,) = take_turns([lambda m=method, y=y: m(y, sampling)], device, 1.0, least=5, most=200, warm=3)
            median, low, high = middle([1000 * seconds / batch for seconds in taken])
            row = ForwardTime(
                experiment.id, experiment.method, way, getattr(method, "precision", "float32"), batch, 100 * ratio,
                median, low, high, len(taken), device_name(device), torch.__version__,
                datetime.now(UTC).isoformat(timespec="seconds"), commit(),
            )  # fmt: skip
            write_records(path, [row], add=True)
            say(f"{experiment.id}: {way}, {batch} at once: {row.milliseconds:.2f} ms per image")

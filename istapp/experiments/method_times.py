"""How long each method takes for one image of 256 x 256 pixels on this machine: the time column of Table 1.

    istapp benchmark --methods                                   all methods at hand
    istapp benchmark --methods tv ista-net --out seconds.csv     these ones, beside the rows that a file has

The image is the middle of a bundled photograph, the arithmetic float32, the time that of the reconstruction alone.
The first call is thrown away, the GPU is waited for, and the median of several calls counts.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from istapp import methods
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.basics.measuring import take_turns
from istapp.basics.paths import read_table, write_table
from istapp.basics.provenance import commit, device_name
from istapp.experiments.campaigns import ALL
from istapp.experiments.evaluation import device
from istapp.images import datasets
from istapp.images.registry import centre
from istapp.methods import Method
from istapp.sampling import pad

#: The columns of `seconds.csv`. `run`: the experiment whose weights ran; `clock`: ``wall``, or ``processor`` on one
#: thread, where the processor's own seconds are those of an idle machine however busy this one is; `size` in pixels;
#: `ratio` in percent; `median` in seconds.
COLUMNS = (
    "method", "run", "device", "machine", "threads", "clock", "size", "ratio", "parameters", "median", "repeats",
    "commit",
)  # fmt: skip
FILE = paths.RESULTS / "seconds.csv"
_KEY = ("method", "run", "device", "machine", "threads", "size", "ratio")

SIZE = 256
REPEATS, ENOUGH = 5, 20.0  # so many calls, but no further one after so many seconds in all


def candidates(names: Sequence[str] = ()) -> Iterator[tuple[str, str, Method]]:
    """Yield name, run and method of everything that can run here: shipped networks by run, the rest without one.

    Methods that optimise a network for every image take minutes and are yielded only when they are named.

    Raises:
        UserError: a named method is unknown or cannot run here.
    """
    for name in names or methods.names():
        try:
            own = [e for e in ALL.values() if e.method == name and e.main and paths.weights_of(e.id).exists()]
            for e in own:
                yield name, e.id, methods.get(name, weights=paths.weights_of(e.id))
            if not own and (names or methods.class_of(name).kind != "untrained network"):
                yield name, "", methods.get(name)
        except UserError:
            if names:
                raise


def measure(method: Method, ratio: float, seed: int = 0, where: str = "cpu", size: int = SIZE) -> tuple[float, int]:
    """Return the median seconds of a reconstruction of size x size pixels, and of how many calls."""
    image = centre(datasets.photo("camera"), size).luma().to(where)
    sampling = method.sampling(ratio, seed)
    y = sampling.A(pad(image, sampling.block)[0])
    clock = time.process_time if _clock(where) == "processor" else time.perf_counter
    (taken,) = take_turns([lambda: method(y, sampling)], where, ENOUGH, least=1, most=REPEATS, clock=clock)
    return statistics.median(taken), len(taken)


def _clock(where: str) -> str:
    return "processor" if where == "cpu" and torch.get_num_threads() == 1 else "wall"


def benchmark(
    names: Sequence[str] = (), where: str = "cpu", out: Path | None = None, size: int = SIZE,
    say: Callable[[str], None] = print,
) -> list[dict[str, str]]:  # fmt: skip
    """Measure methods (default: all that can run here) and return the rows, which `out` keeps beside those it has.

    Rows of the same method, weights, machine and threads are replaced; without `out` nothing is kept.

    Raises:
        UserError: an unknown method or device, or `out` is another kind of file.
    """
    device(where)
    stored = {tuple(row[k] for k in _KEY): row for row in read(out)} if out else {}
    rows = []
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        for name, run, method in candidates(names):
            ratio = 0.1 if method.ratios is None else method.ratios[0]
            seed = ALL[run].matrix_seed if run and issubclass(methods.class_of(name), methods.Tied) else 0
            median, repeats = measure(method.to(where), ratio, seed, where, size)
            row = {
                "method": name, "run": run, "device": where, "machine": device_name(where),
                "threads": str(torch.get_num_threads()), "clock": _clock(where), "size": str(size),
                "ratio": f"{100 * ratio:g}", "parameters": str(method.parameter_count), "median": f"{median:.6f}",
                "repeats": str(repeats), "commit": commit(),
            }  # fmt: skip
            stored[tuple(row[k] for k in _KEY)] = row
            if out:
                write_table(out, COLUMNS, stored.values())
            rows.append(row)
            say(f"{name:14} {run or '-':28} {median:10.4f} s, median of {repeats}, {row['machine']}")
    finally:
        torch.backends.cudnn.allow_tf32 = before
    return rows


def read(path: Path = FILE) -> list[dict[str, str]]:
    """Return the rows of a file of timings as text; none if there is no such file.

    Raises:
        UserError: it has other columns, or a number that is none.
    """
    return read_table(path, COLUMNS, "a file of timings", ("size", "ratio", "parameters", "median"))

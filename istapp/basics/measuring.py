"""How long work takes and how much memory: one way to measure it for every timing of the project.

Works that are compared take turns, so that a busy machine disturbs all alike. The device is waited for before and after
each call. What counts is the median, with the borders of the middle 80 %.
"""

import ctypes
import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

Work = Callable[[], object]


def wait(device: str | torch.device) -> None:
    """Wait until a GPU has done all that it was asked for; a processor is never behind."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Work, device: str | torch.device = "cpu", clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of one call of some work, on a GPU until it is done."""
    wait(device)
    start = clock()
    work()
    wait(device)
    return clock() - start


def take_turns(
    works: Sequence[Work], device: str | torch.device = "cpu", enough: float = 6.0, least: int = 3,
    most: float = math.inf, warm: int = 1, clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:  # fmt: skip
    """Return the seconds of every call of some works, which take turns.

    Args:
        works: what to call, without arguments.
        device: that is waited for.
        enough: after so many seconds no further turn begins.
        least: so many turns are taken at all events.
        most: and never more.
        warm: turns before them that do not count.
        clock: seconds of any kind.
    """
    for work in [*works] * warm:
        work()
    taken: list[list[float]] = [[] for _ in works]
    spent, turns = 0.0, 0
    while turns < least or (turns < most and spent * (turns + 1) / turns < enough):  # what the next one would come to
        for work, own in zip(works, taken):
            own.append(seconds(work, device, clock))
            spent += own[-1]
        turns += 1
    return taken


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and the borders of the middle 80 % of some values."""
    ordered = sorted(values)
    edge = round(0.1 * (len(ordered) - 1))
    return statistics.median(ordered), ordered[edge], ordered[-1 - edge]


def product(device: str | torch.device, dtype: torch.dtype) -> tuple[float, Work]:
    """Return the operations of a large product of matrices, and the product: the practical peak of a machine."""
    n = 8192 if torch.device(device).type == "cuda" else 1024
    a = torch.randn(n, n, device=device).to(dtype)
    return 2.0 * n**3, partial(torch.matmul, a, a)


def matrix_peak(device: str | torch.device, dtype: torch.dtype = torch.bfloat16) -> float:
    """Return the operations per second of a large product of matrices in a number format."""
    operations, work = product(device, dtype)
    return operations / statistics.median(take_turns([work], device, enough=1.0)[0])


def peak_memory(work: Callable[[], object], device: str) -> float | str:
    """Return the MiB that a work needed at most beyond what was in use; an empty text where nobody can tell."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # memory that was freed and kept would count as there before
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the largest size so far
        before = _resident("VmRSS")
        work()
        return max(0.0, _resident("VmHWM") - before)
    except (OSError, AttributeError, StopIteration):  # another system, or another library of C
        return ""


def _resident(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024

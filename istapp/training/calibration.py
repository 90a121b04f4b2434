"""Which way of computing a training is fastest on a machine, of those that compute the same there.

Each way takes the same twenty steps from the same weights, none of them zero, with a deadline of its own. Accepted is
one whose gradient points where the reference's does and that ends at the reference's error; the fastest accepted one
trains. The reference is eager float32, without TF32.
"""

import copy
import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median

import torch
from torch import Tensor

from istapp.basics.errors import UserError
from istapp.basics.measuring import matrix_peak, seconds, take_turns
from istapp.basics.provenance import commit, device_name
from istapp.method.precision import native
from istapp.training.benchmark import operations_per_pixel, optimiser_share
from istapp.training.gradients import MODES
from istapp.training.interrupts import Overdue, deadline
from istapp.training.run import Run
from istapp.training.trainer import Trainer

#: Steps that all ways have in common, and what they may end apart: in the logarithm of the MSE, and by the cosine of
#: the angle between the first gradients.
STEPS, LARGEST_DIFFERENCE, SMALLEST_COSINE = 20, 0.01, 0.99

#: Over how many times as many steps the rates would rise. Over twice as many, twenty steps of a network of the paper's
#: size amplify rounding to a difference of 0.03; over ten times as many it stays at 0.001 and the error falls almost as
#: far.
RISE = 10

#: What layers are multiplied by that a run begins with at zero.
NEARLY_SILENT = 0.1

#: Batches after the last step over which the error is averaged.
BATCHES = 4

#: Steps between matrices while calibrating: a way that keeps what it computed from an old one must not pass.
RENEW = 7

#: Seconds in all, and how they are dealt out to the ways in turn; what one leaves over the next may use.
SECONDS, SHARES = 60.0, {"float32 eager": 0.3, "eager": 0.1, "compiled": 0.35, "graph": 0.15, "kernels": 0.1}


#: How the reason of a trial begins that its clock ended.
OVERDUE = "not done within its"


@dataclass
class Trial:
    """One way of computing, tried on one network.

    Attributes:
        run: whose network and batch it was.
        precision: of the convolutions.
        mode: one of `istapp.training.gradients.MODES`.
        accepted: whether it computes what the reference computes.
        reason: why not; empty where it does.
        difference: how far the logarithm of its MSE after 20 steps is from the reference's.
        cosine: of the angle between its first gradient and the reference's.
        pixels_per_second: of whole steps.
        share_of_peak: operations per second over the machine's matrix peak in that precision.
        peak_memory: MiB at most in use on a GPU, 0 elsewhere.
        optimiser_share: part of a step that optimisers and average take.
        renewal_share: seconds of making a matrix over those between two; on a GPU most of it runs beside the steps.
        start_up: seconds to the end of the first gradient: compiling, recording.
        seconds: that the trial took.
        batch: patches per step.
        device: what its maker calls it.
        torch: version.
        date: UTC.
        commit: of the code.
    """

    run: str
    precision: str
    mode: str
    accepted: bool = False
    reason: str = ""
    difference: float = math.nan
    cosine: float = math.nan
    pixels_per_second: float = 0.0
    share_of_peak: float = 0.0
    peak_memory: float = 0.0
    optimiser_share: float = math.nan
    renewal_share: float = math.nan
    start_up: float = 0.0
    seconds: float = 0.0
    batch: int = 0
    device: str = ""
    torch: str = torch.__version__
    date: str = ""
    commit: str = ""

    def __str__(self) -> str:
        """One line."""
        name = f"{self.precision} {self.mode}"
        if not self.accepted:
            return f"{name:20} not accepted after {self.seconds:.1f} s: {self.reason}"
        memory = f", {self.peak_memory:,.0f} MiB" if self.peak_memory else ""
        return (
            f"{name:20} {self.pixels_per_second / 1e6:8.3f} Mpixel/s, {100 * self.share_of_peak:.1f} % of peak{memory}"
            f", optimisers {100 * self.optimiser_share:.1f} %, log MSE {self.difference:+.4f}, cosine {self.cosine:.4f}"
        )


@dataclass
class _Reference:
    gradient: Tensor
    error: float


def ways(device: str) -> list[tuple[str, str]]:
    """Return (precision, mode) of every way that a kind of device may have, the reference first."""
    own = native(device)
    eager = [("float32", "eager")] + [(own, "eager")] * (own != "float32")
    return eager + ([(own, mode) for mode in MODES[1:]] if device == "cuda" else [])


def calibrate(
    job: Run, seconds: float = SECONDS, say: Callable[[str], None] = print, skip: Sequence[str] = (),
    trying: Callable[[str], None] = lambda way: None, run: str = "",
) -> list[Trial]:  # fmt: skip
    """Try every way on the job's untrained network and return what came out, in the order of trial.

    Args:
        job: the network with weights that are not trained, and everything else; nothing of it is changed.
        seconds: at most, in the main thread (elsewhere no clock can interrupt a compiler).
        say: told every result.
        skip: ways, as ``"bfloat16 graph"``, that are not tried.
        trying: called with a way before it is tried, and with ``""`` after the last.
        run: the experiment's id, for the rows.
    """
    end, reference, all_ways = time.monotonic() + seconds, None, ways(job.device)
    found: list[Trial] = []
    _wake(job.device)
    try:
        for i, (precision, mode) in enumerate(all_ways):
            trial = Trial(run, precision, mode, batch=job.recipe.on(job.device).batch)
            trial.device, trial.commit = device_name(job.device), commit()
            trial.date = datetime.now(UTC).isoformat(timespec="seconds")
            began = time.monotonic()
            if i and f"{precision} {mode}" in skip:
                trial.reason = "a process died in it before"
            else:
                trying(f"{precision} {mode}")
                later = sum(_share(*way) for way in all_ways[i + 1 :])
                reference = _tried(trial, job, reference, end - began - seconds * later) or reference
            trial.seconds = time.monotonic() - began
            found.append(trial)
            say(str(trial))
    finally:
        trying("")
    return found


def _wake(device: str) -> None:
    """Let a device set itself up, which takes a GPU seconds that are no trial's."""
    x = torch.ones(1, 8, 8, 8, device=device)
    torch.nn.functional.conv2d(x, torch.ones(8, 8, 3, 3, device=device)).sum().item()


def _share(precision: str, mode: str) -> float:
    return SHARES.get(f"{precision} {mode}", SHARES[mode])


def _tried(trial: Trial, job: Run, reference: _Reference | None, seconds: float) -> _Reference | None:
    """Fill in a trial, whatever happens, and return the reference if this is it."""
    is_reference, own = (trial.precision, trial.mode) == ("float32", "eager"), None
    try:
        with deadline(seconds):
            trainer = _trainer(job, trial)
            if reference is None and not is_reference:
                raise UserError("there is no reference to hold it against")
            x = trainer.draws.draw(0)
            own = _judged(trial, trainer, x, reference)
            if trial.accepted:
                _add_speed(trial, trainer, x)
    except Overdue:
        trial.reason = f"{OVERDUE} {max(0, seconds):.0f} s"
    except Exception as error:  # compilers, drivers and allocators raise what they like
        trial.reason = " ".join(f"{type(error).__name__}: {error}".split())[:240]
    finally:
        trainer = None
        _give_memory_back(job.device)
    return own if is_reference else None  # also where only its speed was not done in time


def _give_memory_back(device: str) -> None:
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def _trainer(job: Run, trial: Trial) -> Trainer:
    """Return a trainer of a copy of the job's network for the common steps.

    The layers that a run begins with at zero are near it here, so that everything has a gradient, and the rates only
    begin to rise: at random weights and full rates twenty steps are chaotic, and no two ways would end alike.
    """
    network, at_work = copy.deepcopy(job.network), job.recipe.on(job.device)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name in set(network.silent()):
                weight.mul_(NEARLY_SILENT)
    recipe = replace(
        at_work, gpu_batch=0, pixels=1e15, warm_up=RISE * STEPS * at_work.pixels_per_step, silent_start=False,
        renew_matrix=RENEW if job.recipe.renew_matrix else 0,
    )  # fmt: skip
    copied = replace(
        job, network=network, recipe=recipe, keep=None, precision=trial.precision, mode=trial.mode,
        quiet=True, validate_every=10**9,
    )  # fmt: skip
    if job.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer = Trainer(copied)
    trainer.strict = True
    return trainer


def _judged(trial: Trial, trainer: Trainer, x: Tensor, reference: _Reference | None) -> _Reference:
    """Take the common steps, after a first gradient on x, judge them, and return what the first way leaves."""
    trial.start_up = seconds(lambda: trainer.compute(x), trainer.device)
    gradient = torch.cat([p.grad.flatten().double() for p in trainer.network.parameters() if p.grad is not None])
    gradient = gradient / gradient.norm()
    began = time.perf_counter()
    for done in range(1, STEPS + 1):
        trainer.one_step()  # where the clock ends the trial of the reference, a rough speed is better than none
        trial.pixels_per_second = done * trainer.now.pixels_per_step / (time.perf_counter() - began)
    errors = [float(trainer.compute(trainer.draws.draw(STEPS + i))) for i in range(BATCHES)]
    error = sum(e if trainer.recipe.error == "log-mse" else math.log(max(e, 1e-30)) for e in errors) / BATCHES
    own = _Reference(gradient, error)
    theirs = reference or own
    trial.difference, trial.cosine = error - theirs.error, float(gradient @ theirs.gradient)
    trial.reason = _verdict(trial, error)
    trial.accepted = not trial.reason
    return own


def _verdict(trial: Trial, error: float) -> str:
    """Say why a way is not accepted; nothing where it is."""
    if not (math.isfinite(error) and math.isfinite(trial.cosine)):
        return "its error or its gradient is not finite"
    if trial.cosine < SMALLEST_COSINE:
        return f"the cosine of its gradient with the reference's is {trial.cosine:.4f}, below {SMALLEST_COSINE}"
    if abs(trial.difference) > LARGEST_DIFFERENCE:
        return f"after {STEPS} steps its log MSE differs by {trial.difference:+.4f}, more than {LARGEST_DIFFERENCE}"
    return ""


def _add_speed(trial: Trial, trainer: Trainer, x: Tensor) -> None:
    """Measure whole steps, the optimisers' part of them, and what a new matrix costs."""
    per_half_second = 0.5 * trial.pixels_per_second / trainer.now.pixels_per_step
    chunk = max(1, min(STEPS, int(per_half_second)))
    steps = take_turns([lambda: [trainer.one_step() for _ in range(chunk)]], trainer.device, most=3, warm=0)[0]
    step = median(steps) / chunk
    trial.pixels_per_second = trainer.now.pixels_per_step / step
    trial.optimiser_share = optimiser_share(trainer, step)
    renewal = seconds(lambda: trainer.draws._make(1), trainer.device) if trainer.run.recipe.renew_matrix else 0.0
    trial.renewal_share = renewal / (50 * step)
    if trainer.device.type == "cuda":
        trial.peak_memory = torch.cuda.max_memory_allocated() / 2**20
    operations = operations_per_pixel(trainer.network, trainer.sampling, x)
    peak = matrix_peak(trainer.device, getattr(torch, trial.precision))
    trial.share_of_peak = trial.pixels_per_second * operations / peak


def fastest(trials: Sequence[Trial]) -> Trial:
    """Return the fastest accepted way; the reference where none was accepted."""
    accepted = [trial for trial in trials if trial.accepted]
    return max(accepted, key=lambda trial: trial.pixels_per_second) if accepted else trials[0]

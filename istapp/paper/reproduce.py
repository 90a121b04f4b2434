"""One command per table and figure: what is missing of it, how long that takes, and the work.

    istapp reproduce table1                              the laptop's share: what is shipped or needs no training
    istapp reproduce all --profile paper --device cuda   trains what is missing, then takes every row

Rows that are there for the same weights are not taken again, and each is kept as soon as it is known, so the same
command goes on where it stopped. What an artefact needs is data, see `istapp.paper.artefacts`.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from istapp import methods
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.experiments import method_times, queue
from istapp.experiments.campaigns import ALL, Experiment
from istapp.experiments.evaluation import device, evaluate
from istapp.experiments.identity import short
from istapp.experiments.queue import Places
from istapp.experiments.rows import Row, read_rows
from istapp.images import datasets
from istapp.images.registry import pixels
from istapp.method import weights
from istapp.paper.artefacts import ARTEFACTS, Evaluation, Plan, plan, weights_of

#: How much faster a GPU is taken to be where nobody has measured it, and an H200 than two cores in training: 29 million
#: pixels a second of the full network against 0.02 million.
GPU_FACTOR, TRAINING_FACTOR = 50.0, 1450.0

#: Seconds for 256 x 256 pixels on a CPU where neither `seconds.csv` nor any row tells, and what an image costs beside.
UNKNOWN_SECONDS, OVERHEAD = 10.0, 0.05

Say = Callable[[str], None]
Gaps = list[tuple[str, float]]


class _TimeIsUp(Exception):
    """Leaves an evaluation between two images; what it has measured is stored by then."""


def missing(evaluation: Evaluation, places: Places) -> Gaps:
    """Return image and ratio of the rows that nobody has taken yet of these pixels and with these weights.

    What a row does not tell of them is no reason to take it again, nor is other code: `--again` is for that.
    """
    files = {places.rows_of(evaluation.file), paths.RESULTS / f"{evaluation.file}.csv"}
    made_by = _made_by(evaluation.run, places)
    wanted = (evaluation.method, evaluation.label, str(evaluation.seed), evaluation.run)
    form = None if evaluation.run else methods.get(evaluation.method).variant  # what would be taken here and now
    have = {
        (row["image"], row["ratio"]) for path in files if path.exists() for row in read_rows(path)
        if (row["method"], row["dataset"], row["seed"], row["run"]) == wanted
        and ("blockwise" in row["variant"].split("; ")) == evaluation.blockwise and form in (None, row["variant"])
        and row["pixels"] in ("", short(pixels(row["dataset"], row["image"]))) and made_by(row)
    }  # fmt: skip
    return [(name, ratio) for name, ratio in evaluation.rows() if (name, f"{100 * ratio:g}") not in have]


def _made_by(run: str, places: Places) -> Callable[[Row], bool]:
    """Return what tells the rows that the weights of a run made, by their name and as far as known by their hash."""
    if not run:
        return lambda row: True
    path = weights_of(run, places)
    own = ("", short(weights.header(path).get("weights_hash", ""))) if path.is_file() else None
    return lambda row: (
        row["provenance"].endswith(f" {run}.safetensors") and (own is None or row["weights"] in own)
    )  # fmt: skip


@cache
def parameters(run: str) -> int:
    """Return the number of parameters of a run's network."""
    return ALL[run].network().parameter_count


def _area(evaluation: Evaluation) -> dict[str, float]:
    """Return the pixels of each image, in units of 256 x 256."""
    return {Path(entry.file).stem: entry.height * entry.width / 256**2 for entry in evaluation.entries()}


def seconds(evaluation: Evaluation, device_name: str = "cpu") -> float:
    """Return the expected seconds for 256 x 256 pixels.

    As `seconds.csv` has them, scaled by the number of parameters where it is another network's; else as rows have them.
    """
    known = [
        row
        for row in method_times.read(paths.RESULTS / "seconds.csv")
        if (row["method"], row["device"]) == (evaluation.method, device_name)
    ]
    for row in sorted(known, key=lambda row: row["run"] != evaluation.run):
        size = float(row["parameters"]) if evaluation.run else 0
        return float(row["median"]) * (parameters(evaluation.run) / size if size else 1)
    if device_name == "cuda":
        return seconds(evaluation) / GPU_FACTOR
    file, area = paths.RESULTS / f"{evaluation.file}.csv", _area(evaluation)
    stored = [row for row in read_rows(file) if row["dataset"] == evaluation.label] if file.exists() else []
    speeds = sorted(float(row["seconds"]) / area[row["image"]] for row in stored if row["image"] in area)
    return speeds[len(speeds) // 2] if speeds else UNKNOWN_SECONDS


def minutes_of(evaluation: Evaluation, lacking: Sequence[tuple[str, float]], device_name: str = "cpu") -> float:
    """Return the expected minutes for some of an evaluation's rows."""
    area = _area(evaluation)
    return (sum(area[name] for name, _ in lacking) * seconds(evaluation, device_name) + OVERHEAD * len(lacking)) / 60


def training_minutes(experiment: Experiment, device_name: str = "cpu") -> float:
    """Return the expected minutes of a whole run; the paper edition states an H200's."""
    return experiment.minutes * (1 if device_name == "cuda" or experiment.edition == "laptop" else TRAINING_FACTOR)


@dataclass
class Work:
    """What is left of a plan.

    Attributes:
        training: runs without weights.
        rows: evaluations and their missing rows.
        minutes: expected for everything.
        there: rows of the plan that are there.
    """

    training: list[Experiment]
    rows: list[tuple[Evaluation, Gaps]]
    minutes: float
    there: int


def work_of(wanted: Plan, places: Places, device_name: str = "cpu", again: bool = False) -> Work:
    """Return what is left of a plan; with `again`, rows that are there count as missing."""
    training = [e for e in wanted.training if queue.status(e.id, places) != "done"]
    gaps = [(e, list(e.rows()) if again else missing(e, places)) for e in wanted.evaluations]
    rows = [(evaluation, lacking) for evaluation, lacking in gaps if lacking]
    total = sum(training_minutes(e, device_name) for e in training)
    total += sum(minutes_of(evaluation, lacking, device_name) for evaluation, lacking in rows)
    there = sum(len(list(e.rows())) for e in wanted.evaluations) - sum(len(lacking) for _, lacking in rows)
    return Work(training, rows, total, there)


def duration(minutes: float) -> str:
    """Return minutes as a person says them."""
    if minutes < 90:
        return f"{minutes:.1f} min" if minutes < 9.95 else f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"


def report(work: Work, left_out: Iterable[str], device_name: str = "cpu") -> list[str]:
    """Return lines that say what is missing and how long it takes."""
    count = sum(len(lacking) for _, lacking in work.rows)
    lines = [f"{work.there} rows are there, {count} are missing, {len(work.training)} runs are to be trained: "
             f"about {duration(work.minutes)} on {device_name}"]  # fmt: skip
    lines += [f"  train {e.id}: about {duration(training_minutes(e, device_name))}" for e in work.training]
    for e, lacking in work.rows:
        percents = ", ".join(f"{100 * ratio:g}" for ratio in sorted({ratio for _, ratio in lacking}))
        extra = (f", matrix {e.seed}" if e.seed else "") + (", block by block" if e.blockwise else "")
        lines.append(f"  {e.file} on {e.label} at {percents} %{extra}: {len(lacking)} rows, "
                     f"about {duration(minutes_of(e, lacking, device_name))}")  # fmt: skip
    return lines + [f"  left out: {line}" for line in left_out]


class Clock:
    """Tells the time left, corrected by how the expected minutes have come true so far."""

    def __init__(self, expected: float, minutes: float = math.inf) -> None:
        """Start now, with work for `expected` minutes and `minutes` to spend."""
        self.expected, self.begun, self.done = expected, time.monotonic(), 0.0
        self.end = self.begun + 60 * minutes

    @property
    def left(self) -> float:
        """Minutes until the end that was set."""
        return (self.end - time.monotonic()) / 60

    def spend(self, minutes: float) -> str:
        """Count work that was expected to take `minutes` as done, and return the time that the rest will take."""
        self.done += minutes
        pace = (time.monotonic() - self.begun) / 60 / self.done if self.done else 1
        return f"about {duration(max(0, self.expected - self.done) * pace)} left"


def take_rows(
    evaluation: Evaluation, lacking: Gaps, places: Places, device_name: str, clock: Clock, progress: Say
) -> None:
    """Take rows that are missing, ratio by ratio, and store each at once.

    Raises:
        UserError: the set or the weights are not at hand, or the method refuses.
    """
    weights = weights_of(evaluation.run, places) if evaluation.run else None
    method = methods.get(evaluation.method, weights=weights)
    each = minutes_of(evaluation, lacking, device_name) / len(lacking)

    def tell(line: str) -> None:
        """Tell the time that is left, and stop when it is over."""
        progress(f"{line}; {clock.spend(each)}")
        if clock.left <= 0:
            raise _TimeIsUp

    for ratio in dict.fromkeys(ratio for _, ratio in lacking):
        images = datasets.load(evaluation.dataset, images=[name for name, other in lacking if other == ratio])
        evaluate(
            method, images, [ratio], evaluation.seed, device_name, evaluation.blockwise,
            places.rows_of(evaluation.file), evaluation.run, evaluation.label, tell,
        )  # fmt: skip


def work_off(
    work: Work, places: Places, device_name: str = "cpu", minutes: float = math.inf,
    say: Say = print, progress: Say = lambda line: None,
) -> bool:  # fmt: skip
    """Do what is missing, in order, for at most `minutes`, and return whether everything was done.

    Whoever refuses (a method at a ratio, a run without weights) is named and left out.
    """
    clock, whole = Clock(work.minutes, minutes), True
    for experiment in work.training:
        if clock.left <= 0 or not queue.run(experiment, clock.left, device_name, places, say):
            return False
        clock.spend(training_minutes(experiment, device_name))
    for evaluation, lacking in work.rows:
        if clock.left <= 0:
            return False
        try:
            take_rows(evaluation, lacking, places, device_name, clock, progress)
        except _TimeIsUp:
            return False
        except UserError as error:
            say(f"left out: {evaluation.file} on {evaluation.label}: {error}")
            whole = False
    return whole


def reproduce(
    name: str, profile: str = "laptop", device_name: str = "cpu", minutes: float = math.inf,
    out: Path | None = None, again: bool = False, say: Say = print, progress: Say = lambda line: None,
) -> bool:  # fmt: skip
    """Say what an artefact (or ``all``) lacks and how long that takes, then do it; return whether it is whole.

    Args:
        name: one of `ARTEFACTS`, or ``all``.
        profile: ``laptop`` trains nothing; ``paper`` trains the runs of the paper edition that are missing.
        device_name: ``cpu`` or ``cuda``.
        minutes: stop cleanly after these; 0 only tells.
        out: a folder for state, weights and rows instead of the project's own places.
        again: take the rows once more that other code, or nobody knows which, has made.
        say: called with a line of text.
        progress: called with a line of text after every image.

    Raises:
        UserError: an unknown name, profile or device.
    """
    device(device_name)
    places = Places.in_folder(out)
    wanted = plan(list(ARTEFACTS) if name == "all" else [name], profile, places)
    work = work_of(wanted, places, device_name, again)
    for line in report(work, wanted.left_out, device_name):
        say(line)
    if not work.training and not work.rows:
        return True
    done = work_off(work, places, device_name, minutes, say, progress)
    progress("")
    goes_on = "; the same command goes on from here" if minutes > 0 else ""  # without minutes it only tells
    say(f"{name}: whole, as far as it can be here" if done else f"{name}: not whole{goes_on}")
    return done

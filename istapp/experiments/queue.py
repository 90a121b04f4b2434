"""The queue: works off the training runs of `istapp.experiments.campaigns` on any machine.

    istapp experiments                      what there is and how far it is
    istapp train ista-net-pp-laptop         one run; the same command goes on where it stopped
    istapp train --queue --minutes 10       the next unfinished ones, in order of worth

A run leaves four things: weights with their header, the curve, and rows of results on the test sets at hand. Unfinished
state stays in `runs/`, or in the one folder that ``--out`` names, which is all that has to travel between machines.
"""

import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from istapp.basics import paths
from istapp.basics.errors import UserError, nearest
from istapp.basics.progress import line
from istapp.basics.provenance import is_gpu, stamp, tensors_hash
from istapp.experiments import campaigns
from istapp.experiments.campaigns import Experiment
from istapp.experiments.evaluation import device, evaluate
from istapp.images import datasets
from istapp.method import weights
from istapp.methods import get
from istapp.training import Result, Run, halved_where_free, train
from istapp.training import state as states
from istapp.training.benchmark import share_of_peak
from istapp.training.parallel import Peers

__all__ = [
    "Experiment", "Places",
    "find", "members", "queue", "run", "status", "work_off",
]  # fmt: skip


def find(name: str, places: "Places | None" = None, on_gpu: bool = False) -> Experiment:
    """Return the experiment of that id, or of a method's name its next unfinished run: a small one without a GPU.

    Raises:
        UserError: there is none, or a method has nothing left to train.
    """
    if name in campaigns.ALL:
        return campaigns.ALL[name]
    order = campaigns.ALL.values() if on_gpu else (*campaigns.LAPTOP, *campaigns.CAMPAIGN_1, *campaigns.CAMPAIGN_2)
    own = [experiment for experiment in order if experiment.method == name]
    waiting = [experiment for experiment in own if status(experiment.id, places or Places()) != "done"]
    if own and not waiting:
        raise UserError(f"every run of {name} is done; `istapp experiments` lists them")
    if not own:
        raise UserError(f"no experiment '{name}'{nearest(name, campaigns.ALL)}; `istapp experiments` lists them")
    return waiting[0]


@dataclass(frozen=True)
class Places:
    """Where a run's files go: a checkout's own folders, or one folder that can travel."""

    runs: Path = field(default_factory=lambda: paths.RUNS)
    weights: Path = field(default_factory=lambda: paths.WEIGHTS)
    results: Path = field(default_factory=lambda: paths.RESULTS)

    @classmethod
    def in_folder(cls, folder: Path | None) -> "Places":
        """Return everything in `folder`, or the defaults."""
        return cls(folder, folder, folder) if folder else cls()

    def weights_of(self, name: str) -> Path:
        """Return the path of a finished run's weights."""
        return self.weights / f"{name}.safetensors"

    def rows_of(self, name: str) -> Path:
        """Return the path of a finished run's rows."""
        return self.results / f"{name}.csv"

    def curve_of(self, name: str) -> Path:
        """Return the path of a finished run's curve."""
        return self.results / f"{name}.curve.csv"


def status(name: str, places: Places) -> str:
    """Return ``done``, ``unfinished`` or ``waiting``."""
    if states.exists(places.runs / name):  # beside weights it means that the tests were broken off
        return "unfinished"
    return "done" if places.weights_of(name).exists() or paths.weights_of(name).exists() else "waiting"


def is_only_begun(experiment: Experiment, places: Places) -> bool:
    """Tell whether a run has weights that processors made of a part of its pixels: a start for a GPU."""
    files = (places.weights_of(experiment.id), Places().weights_of(experiment.id))
    headers = [weights.header(path) for path in files if path.exists()]
    wanted = experiment.recipe.on("cuda")
    if not headers or wanted == experiment.recipe:
        return False
    by_gpu = any(is_gpu(machine["device"]) for header in headers for machine in weights.machines(header))
    return not by_gpu and not any(wanted.is_whole(header.get("pixels", 0)) for header in headers)


def members(group: str) -> list[Experiment]:
    """Return the runs of a group in the order in which they are trained; none where there is no such group."""
    return [experiment for experiment in campaigns.ALL.values() if experiment.group == group]


def queue(places: Places, on_gpu: bool) -> list[Experiment]:
    """Return the unfinished experiments in order of worth: the laptop edition, on a GPU the campaigns before it."""
    paper = (*campaigns.CAMPAIGN_1, *campaigns.CAMPAIGN_2) if on_gpu else ()
    begun = [each for each in paper if is_only_begun(each, places)]
    order = (*paper, *campaigns.LAPTOP)
    return [each for each in order if status(each.id, places) != "done" or each in begun]


def run(
    experiment: Experiment,
    minutes: float = math.inf,
    device_name: str = "cpu",
    places: Places | None = None,
    say: Callable[[str], None] = lambda line: None,
    quiet: bool = False,
    pixels: float | None = None,
    way: tuple[str, str] = ("", ""),
    settle: Callable[[int, float], float] | None = None,
) -> bool:
    """Train an experiment, or go on with it, and when it is done write weights, curve and rows.

    What is done already, in the same places, is left as it is, unless `pixels` asks for a larger budget than its
    weights have seen: then it goes on from the state before the rate fell. `way` is the number format and the mode of
    gradients (`istapp.training.calibration`), `settle` fixes the budget on the way (`istapp.training.Run`).

    Returns:
        Whether it is done.

    Raises:
        UserError: the images are not at hand, the stored state is damaged or another run's, or the budget is smaller
            than what the state has seen.
    """
    places = places or Places()
    where = device(device_name)
    if pixels is not None:
        experiment = replace(experiment, recipe=replace(experiment.recipe, pixels=pixels))
    if _is_done(experiment, places, pixels):
        goes_on = states.exists(places.runs / f"{experiment.id}.stable")  # it is not shipped
        more = "continues it to a larger budget" if goes_on else "trains it anew on a larger budget"
        say(
            f"{experiment.id} is done: {places.weights_of(experiment.id)}; --pixels {more}, "
            "--out FOLDER trains it anew in a folder"
        )
        return True
    network, keep = experiment.network(), places.runs / experiment.id
    job = Run(
        network, experiment.images(), experiment.recipe, experiment.ratios, experiment.seed, experiment.matrix_seed,
        keep=keep, device=device_name,
        precision=way[0], mode=way[1] or ("compiled" if where.type == "cuda" else "eager"), quiet=quiet, settle=settle,
    )  # fmt: skip
    result = train(job, minutes)
    experiment = replace(experiment, recipe=replace(experiment.recipe, pixels=result.budget))
    if not result.done:
        seen, all_ = result.pixels / 1e6, experiment.recipe.pixels / 1e6
        say(f"{experiment.id}: {seen:.1f} of {all_:.1f} million pixels; the same command goes on from here")
        return False
    if Peers().first:  # of several processes on one run
        _finish(experiment, places, job, result, say)
    return True


def _finish(experiment: Experiment, places: Places, job: Run, result: Result, say: Callable[[str], None]) -> None:
    """Write weights, curve and rows of a run that is done, and forget its state."""
    tensors = result.weights
    if not experiment.exact:
        tensors = halved_where_free(job.network, tensors, job.images, job.ratios)
    _save(experiment, places, tensors, _header(experiment, job, result, tensors_hash(weights.widened(tensors))))
    keep = places.runs / experiment.id
    curve = keep.with_name(f"{keep.name}.curve.csv")
    places.results.mkdir(parents=True, exist_ok=True)
    if curve != places.curve_of(experiment.id):
        shutil.move(curve, places.curve_of(experiment.id))
    _test(experiment, places, job.device, say, None if job.quiet else line)
    states.remove(keep)  # last: until then the same command goes on, if need be with the tests
    seen = f"{result.pixels / 1e6:.1f} million pixels in {result.minutes:.1f} min"
    say(f"{experiment.id}: {seen}, weights and rows written")


def _is_done(experiment: Experiment, places: Places, pixels: float | None) -> bool:
    """Tell whether there are finished weights in these places that have seen the budget asked for, if one was."""
    path = places.weights_of(experiment.id)
    if not path.exists() or status(experiment.id, places) != "done":
        return False
    last = experiment.recipe.on("cuda").pixels_per_step
    return pixels is None or weights.header(path).get("pixels", 0) >= pixels - last


def _save(experiment: Experiment, places: Places, tensors: dict[str, Any], header: dict[str, Any]) -> None:
    """Write the weights; rows of other weights of this run, of a shorter training, are not theirs and go."""
    path = places.weights_of(experiment.id)
    if path.exists() and weights.header(path).get("weights_hash") != header["weights_hash"]:
        places.rows_of(experiment.id).unlink(missing_ok=True)
    weights.save(path, tensors, header)


def _header(experiment: Experiment, job: Run, result: Result, weights_hash: str) -> dict[str, Any]:
    """Return what the weights say of themselves; `weights_hash` is their tensors'."""
    last = result.curve[-1]
    return stamp(
        device=job.device, method=experiment.method, run=experiment.id, purpose=experiment.purpose,
        config=experiment.config, parameters=job.network.parameter_count, main=experiment.main,
        training_set=experiment.training_set, training_hash=job.identity["images"], ratios=list(experiment.ratios),
        recipe=asdict(experiment.recipe.on(job.device)), precision=job.precision, mode=job.mode, seed=experiment.seed,
        matrix_seed=experiment.matrix_seed, steps=result.step,
        pixels=result.pixels, minutes=round(result.minutes, 2),
        machines=[each | {"minutes": round(each["minutes"], 2)} for each in result.machines],
        pixels_per_second=round(result.pixels_per_second),
        share_of_peak=round(share_of_peak(job, result.pixels_per_second), 4),
        validation_psnr={key.removeprefix("psnr_"): last[key] for key in last if key.startswith("psnr_")},
        weights_hash=weights_hash,
    )  # fmt: skip


def _test(
    experiment: Experiment,
    places: Places,
    device_name: str,
    say: Callable[[str], None],
    progress: Callable[[str], None] | None,
) -> None:
    """Write a row for every image of the test sets at hand; a set that is missing is named and left out."""
    method = get(experiment.method, weights=places.weights_of(experiment.id))
    for name in experiment.tests:
        try:
            datasets.load(name)
        except UserError as error:
            say(f"{experiment.id}: no rows on {name}: {error}")
            continue
        evaluate(
            method, name, experiment.ratios, device_name=device_name, out=places.rows_of(experiment.id),
            run=experiment.id, progress=progress,
        )  # fmt: skip
    if progress:
        progress("")


def work_off(
    minutes: float,
    device_name: str = "cpu",
    places: Places | None = None,
    together: int = 1,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Work on the queue until `minutes` are over, `together` runs side by side, and return the ids that got done.

    Raises:
        UserError: the images of a run are not at hand.
    """
    places = places or Places()
    end = time.monotonic() + 60 * minutes
    done: list[str] = []
    if not queue(places, device_name == "cuda"):
        say("every run is done" if device_name == "cuda" else
            "every run of the laptop edition is done; the networks of the paper's size are queued for --device cuda, "
            "and trained here by name: istapp train ID")  # fmt: skip
    while waiting := queue(places, device_name == "cuda"):
        left = (end - time.monotonic()) / 60
        if left <= 0.1:
            break
        if together == 1 or len(waiting) == 1:
            say(f"{waiting[0].id}: {left:.1f} min left for it")
            wanted = waiting[0].recipe.pixels if is_only_begun(waiting[0], places) else None
            if not run(waiting[0], left, device_name, places, say, pixels=wanted):
                break
            done.append(waiting[0].id)
        else:
            batch = [experiment.id for experiment in waiting[:together]]
            _side_by_side(batch, left, device_name, places)
            finished = [name for name in batch if status(name, places) == "done"]
            done += finished
            if not finished:
                break
    return done


def _side_by_side(names: Sequence[str], minutes: float, device_name: str, places: Places) -> None:
    """Run several experiments in processes of their own and wait for them."""
    out = ["--out", str(places.runs)] if places.runs == places.weights else []
    command = [sys.executable, "-m", "istapp", "train", "--minutes", f"{minutes:.2f}", "--device", device_name, *out]
    begun = [e for e in map(find, names) if is_only_begun(e, places)]
    more = {e.id: ["--pixels", f"{e.recipe.pixels:.0f}"] for e in begun}
    processes = [subprocess.Popen([*command, name, *more.get(name, [])]) for name in names]
    failed = [name for name, process in zip(names, processes) if process.wait() != 0]
    if failed:
        raise UserError(f"these runs failed, see above: {', '.join(failed)}")

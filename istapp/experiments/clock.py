"""A group of runs within a given time: calibrated, trained on equal pixels, tested and written in time.

    istapp train --queue --minutes 9 --device cuda --out FOLDER     the next group, in order of worth
    istapp train --group main --minutes 9 --out FOLDER              one group, on any device

The budget of a group is planned from the speed that was calibrated for its slowest member, and made final by the speed
that the training itself turned out to have, before the rate of the first member falls. From then on it holds for all
members, on whatever machine. The plan lies in FOLDER beside everything else, so that the same command goes on with it.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from istapp.basics.errors import UserError, nearest
from istapp.basics.paths import write_atomically, write_records
from istapp.basics.provenance import device_name as called
from istapp.experiments import campaigns, forward_times, queue
from istapp.experiments.campaigns import LIKE, ORDER, Experiment
from istapp.experiments.evaluation import device, evaluate
from istapp.experiments.queue import Places
from istapp.images import datasets
from istapp.method import weights
from istapp.training import Run, calibration, split, state, validation_psnr
from istapp.training.benchmark import operations_per_pixel
from istapp.training.calibration import Trial, calibrate, fastest

#: Seconds before the end by which everything is written, and what the forward timings after a group may take on a GPU;
#: of a clock shorter than nine minutes, no larger part than of that.
RESERVE, TIMINGS, NINE_MINUTES = 45.0, 30.0, 540.0

#: How much of the time is planned: less than all, since no speed is known exactly.
PLANNED, FINAL = 0.96, 0.985

#: A budget must be worth its name: so many times the pixels over which the rate rises.
LEAST = 4


@dataclass
class Plan:
    """What is kept between two calls with the same folder.

    Attributes:
        pixels: budget of each group.
        final: groups whose budget is fixed, since the rate of a member has begun to fall.
        visits: how often each group was finished.
        ways: what was calibrated, by group and machine: precision, mode, pixels per second, start-up seconds.
        trying: the way that is being tried just now, by machine; one that a process died in is not tried again.
        died: ways in which a process died, by machine.
    """

    pixels: dict[str, float] = field(default_factory=dict)
    final: list[str] = field(default_factory=list)
    visits: dict[str, int] = field(default_factory=dict)
    ways: dict[str, dict[str, Any]] = field(default_factory=dict)
    trying: dict[str, str] = field(default_factory=dict)
    died: dict[str, list[str]] = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def of(cls, places: Places) -> "Plan":
        """Return the plan in a folder, an empty one where there is none.

        Raises:
            UserError: it is damaged.
        """
        path = places.runs / "plan.json"
        try:
            stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            return cls(**stored, path=path)
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error}); remove it to plan anew") from None

    def write(self) -> None:
        """Write the plan to where it came from."""
        assert self.path is not None
        content = {key: value for key, value in asdict(self).items() if key != "path"}
        write_atomically(self.path, lambda beside: beside.write_text(json.dumps(content, indent=1), encoding="utf-8"))

    def next(self, places: Places) -> str | None:
        """Return the group to work on next: the first that is not done, or not to its full budget where named again."""
        for i, group in enumerate(ORDER):
            own = queue.members(group)
            if not own:
                continue
            if any(queue.status(e.id, places) != "done" for e in own):
                return group
            again = ORDER[:i].count(group)
            if again and self.visits.get(group, 0) <= again and self.pixels.get(group, math.inf) < 0.98 * _stated(own):
                return group
        return None


def _stated(own: list[Experiment]) -> float:
    """Return the budget that a group's runs name, the smallest if they differ."""
    return min(experiment.recipe.pixels for experiment in own)


def spend(
    minutes: float,
    device_name: str = "cpu",
    places: Places | None = None,
    group: str | None = None,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Work on one group, the next or a given one, and return the ids that got done.

    Raises:
        UserError: there is no such group, its images are not at hand, or the clock is too short to begin it.
    """
    end = time.monotonic() + 60 * minutes
    places = places or Places()
    plan = Plan.of(places)
    name = group or plan.next(places)
    if name is None:
        say("every group is done")
        return []
    own = queue.members(name)
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError("a group has one clock and one process; with torchrun train one run: istapp train ID")
    if not own:
        groups = {experiment.group: None for experiment in campaigns.ALL.values()}
        raise UserError(f"no group '{name}'{nearest(name, groups)}; there are {', '.join(groups)}")
    say(f"group {name}: {', '.join(experiment.id for experiment in own)}")
    return _Session(name, own, device_name, places, plan, end, say).work()


@dataclass
class _Session:
    """One call: a group, a machine, a clock."""

    name: str
    own: list[Experiment]
    device: str
    places: Places
    plan: Plan
    end: float
    say: Callable[[str], None]
    warm: str = ""  # the run whose network this process has compiled

    def __post_init__(self) -> None:
        part = min(1.0, (self.end - time.monotonic()) / NINE_MINUTES)
        self.reserve, self.timings = RESERVE * part, TIMINGS * part if self.device == "cuda" else 0.0

    def work(self) -> list[str]:
        device(self.device)
        waiting = self._waiting()
        way = self._calibrated()
        # A process compiles a network once, and the calibration did so for one of them.
        starts = [2.0 if experiment.id == self.warm else way["start_up"] for experiment in waiting]
        costs = [_costs(experiment, self.device, start) for experiment, start in zip(waiting, starts)]
        budget = self._budget(waiting, way, costs)
        done = []
        for i, experiment in enumerate(waiting):
            last = costs[i].after
            left = (self.end - self.reserve - last - time.monotonic()) / 60
            if left <= 0:
                break
            self.say(f"{experiment.id}: {left:.1f} min left to train it")
            settle = None if self.name in self.plan.final else self._settling(waiting[i:], costs[i:])
            if not queue.run(
                experiment, left, self.device, self.places, self.say, pixels=self.plan.pixels.get(self.name, budget),
                way=(way["precision"], way["mode"]), settle=settle,
            ):  # fmt: skip
                break
            self._fix(self.plan.pixels[self.name])
            done.append(experiment.id)
        else:
            self.plan.visits[self.name] = self.plan.visits.get(self.name, 0) + 1
            self.plan.write()
            self._time_forward(self.own[0])
        return done

    def _waiting(self) -> list[Experiment]:
        """Return the members to train, the slowest first: those short of a budget that is final, else all of them."""
        waiting = [e for e in self.own if self._is_short(e)] if self.name in self.plan.final else []
        if not waiting and self.name in self.plan.final:  # all have it: on to a new budget
            self.plan.final.remove(self.name)
        return sorted(waiting or self.own, key=_operations, reverse=True)

    def _is_short(self, experiment: Experiment) -> bool:
        """Tell whether a run is not done, or has seen fewer pixels than its group is to see."""
        if queue.status(experiment.id, self.places) != "done":
            return True
        files = (self.places.weights_of(experiment.id), Places().weights_of(experiment.id))
        seen = max(weights.header(path)["pixels"] for path in files if path.exists())
        return seen < self.plan.pixels[self.name] - experiment.recipe.on("cuda").pixels_per_step

    # ------------------------------------------------------------ speed

    def _calibrated(self) -> dict[str, Any]:
        """Return what the fastest way is and does on this machine, as the plan knows it or as it is found out now."""
        machine = f"{called(self.device)}, torch {torch.__version__}"
        key = f"{self.name} on {machine}"
        if key not in self.plan.ways:
            if machine in self.plan.trying:
                self.plan.died.setdefault(machine, []).append(self.plan.trying.pop(machine))
            slowest = max(self.own, key=_operations)
            job = Run(
                slowest.network(), slowest.images(), slowest.recipe, slowest.ratios, slowest.seed, slowest.matrix_seed,
                device=self.device,
            )  # fmt: skip
            self.say(f"calibrating with {slowest.id}")
            seconds = min(calibration.SECONDS, 0.4 * (self.end - time.monotonic()))
            trials = calibrate(
                job, seconds, self.say, self.plan.died.get(machine, ()), lambda way: self._try(machine, way), slowest.id
            )
            write_records(self.places.results / "calibration.csv", trials, add=True)
            self.plan.ways[key], self.warm = self._chosen(trials), slowest.id
            self.plan.write()
        way = self.plan.ways[key]
        self.say(f"trains with {way['precision']} {way['mode']}, {way['pixels_per_second'] / 1e6:.3f} Mpixel/s")
        return way

    def _chosen(self, trials: list[Trial]) -> dict[str, Any]:
        """Return what the plan keeps of the fastest way.

        Raises:
            UserError: none works, or the clock is too short to find out.
        """
        best = fastest(trials)
        if not best.pixels_per_second and best.reason.startswith(calibration.OVERDUE):
            raise UserError(
                f"the clock is too short for group {self.name}: {max(0, self.end - time.monotonic()) / 60:.1f} minutes "
                "are left and several are needed, one of them to calibrate"
            )
        if not best.pixels_per_second:
            raise UserError(f"no way to train works on this machine: {'; '.join(trial.reason for trial in trials)}")
        return {name: getattr(best, name) for name in ("precision", "mode", "pixels_per_second", "start_up")}

    def _try(self, machine: str, way: str) -> None:
        self.plan.trying = {**self.plan.trying, machine: way}
        if not way:
            self.plan.trying.pop(machine)
        self.plan.write()

    # ------------------------------------------------------------ budget

    def _budget(self, waiting: list[Experiment], way: dict[str, Any], costs: list["_Costs"]) -> float:
        """Return the pixels of every member, from the plan or from the clock, and write them to the plan.

        Raises:
            UserError: the clock is too short to begin with the group.
        """
        fixed = self.plan.pixels.get(self.name) if self.name in self.plan.final else None
        other = LIKE.get(self.name)
        if fixed is None and other in self.plan.final:
            fixed = self.plan.pixels[other]
            self._fix(fixed)
        if fixed is not None:
            self.say(f"budget of the group: {fixed / 1e6:,.1f} million pixels each, as planned before")
            return fixed
        budget = self._affordable(waiting, way["pixels_per_second"], costs, PLANNED)
        seen = [_seen(experiment, self.places) for experiment in waiting]
        least = max(_least(experiment, self.device) for experiment in waiting)
        if budget < least and not any(seen):
            seconds = self.reserve + self.timings + sum(cost.before + cost.after for cost in costs)
            need = seconds + len(waiting) * least / way["pixels_per_second"] / PLANNED
            raise UserError(
                f"the clock is too short for group {self.name}: {max(0, self.end - time.monotonic()) / 60:.1f} "
                f"minutes are left and about {need / 60 + 0.1:.1f} are needed on this machine"
            )
        reached = max(s / max(1e-9, 1 - e.recipe.decay) for s, e in zip(seen, waiting))
        budget = max(budget, least, reached)
        self.plan.pixels[self.name] = budget
        self.plan.write()
        self.say(f"budget of the group: {budget / 1e6:,.1f} million pixels each, to be settled on the way")
        return budget

    def _affordable(self, waiting: list[Experiment], speed: float, costs: list["_Costs"], share: float) -> float:
        """Return the pixels up to which all can be trained in the time that is left, at most their stated budget."""
        left = self._left(costs)
        seen = [_seen(experiment, self.places) for experiment in waiting]
        return min(_stated(self.own), (left * share * speed + sum(seen)) / len(waiting))

    def _left(self, costs: list["_Costs"]) -> float:
        """Return the seconds that are left for training steps."""
        spent = self.reserve + self.timings + sum(cost.before + cost.after for cost in costs)
        return max(0.0, self.end - time.monotonic() - spent)

    def _settling(self, waiting: list[Experiment], costs: list["_Costs"]) -> Callable[[int, float], float]:
        """Return what makes the budget final when the first member is near its fall."""
        first, rest = replace(costs[0], before=0.0), costs[1:]

        def settle(pixels: int, speed: float) -> float:
            own = waiting[0]
            left = self._left([first, *rest])
            seen = pixels + sum(_seen(experiment, self.places) for experiment in waiting[1:])
            budget = min(_stated(self.own), (left * FINAL * speed + seen) / len(waiting))
            budget = max(budget, pixels / max(1e-9, 1 - own.recipe.decay)) if speed else self.plan.pixels[self.name]
            self.say(
                f"{own.id}: {speed / 1e6:.3f} Mpixel/s, so {budget / 1e6:,.1f} million pixels for each of the group"
            )
            self._fix(budget)
            return budget

        return settle

    def _fix(self, budget: float) -> None:
        self.plan.pixels[self.name] = budget
        if self.name not in self.plan.final:
            self.plan.final.append(self.name)
        self.plan.write()

    def _time_forward(self, experiment: Experiment) -> None:
        """Take the forward timings of a group's first member, where the clock allows it."""
        if self.end - time.monotonic() < self.reserve / 2 or not experiment.ratios:
            return
        try:
            with calibration.deadline(self.end - time.monotonic() - self.reserve / 3):
                forward_times.take(experiment, self.places, self.device, self.say)
        except Exception as error:
            self.say(f"no more forward timings: {type(error).__name__} {error}")


def _operations(experiment: Experiment) -> float:
    """Return the operations of training on a pixel: the member with the most is taken for the slowest."""
    network = experiment.network().train().requires_grad_(True)
    sampling = network.operator(experiment.ratios, experiment.matrix_seed, 1)
    return operations_per_pixel(network, sampling, torch.rand(1, 1, experiment.recipe.patch, experiment.recipe.patch))


def _seen(experiment: Experiment, places: Places) -> int:
    """Return the pixels behind the state that a run would go on from; 0 where it would begin."""
    for suffix in ("", ".stable"):
        prefix = places.runs / f"{experiment.id}{suffix}"
        found = state.peek(prefix)
        if found and found["decay_from"] is None:
            return found["pixels"]
    return 0


def _least(experiment: Experiment, device_name: str) -> float:
    """Return the smallest budget that is worth training: the rate must have risen, and a few steps been taken."""
    recipe = experiment.recipe.on(device_name)
    return max(LEAST * min(recipe.warm_up, recipe.pixels / LEAST / 2), 8 * recipe.pixels_per_step)


@dataclass
class _Costs:
    """Seconds of a run beside its training steps: before and while it trains, and after."""

    before: float
    after: float


def _costs(experiment: Experiment, device_name: str, start_up: float) -> _Costs:
    """Measure a validation and a reconstruction, once each after one to warm up, and count how many there will be."""
    where = torch.device(device_name)
    network = experiment.network().to(where).eval().requires_grad_(False)
    held_out = split(experiment.images())[1]

    def seconds(work: Callable[[], object]) -> float:
        for _ in range(2):
            began = time.perf_counter()
            with contextlib.suppress(UserError):  # what is not trained may well return nonsense
                work()
        return time.perf_counter() - began

    ratio = experiment.ratios[:1]
    validation = len(experiment.ratios) * seconds(
        lambda: validation_psnr(network, held_out, ratio, matrix_seed=experiment.matrix_seed)
    )
    photo = datasets.load("photos", images=["camera"])
    own_seed = network.config.get("matrix_seed", 0)
    a_row = seconds(lambda: evaluate(network.eval(), photo, ratio, own_seed, device_name))
    area = photo[0].pixels.numel()
    rows = sum(len(experiment.ratios) * (0.02 + a_row * image / area) for image in _areas(experiment))
    peak = 4.0 if where.type == "cuda" else 2.0
    return _Costs(start_up + 21 * validation + 2.0, rows + peak)


def _areas(experiment: Experiment) -> Iterator[int]:
    """Yield the pixels of every test image at hand."""
    for name in experiment.tests:
        try:
            yield from (image.gray().pixels.numel() for image in datasets.load(name))
        except UserError:
            continue

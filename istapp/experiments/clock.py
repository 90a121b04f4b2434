"""A group of runs within a given time: calibrated, trained on equal pixels, tested and written in time.

    istapp train --queue --minutes 9 --device cuda --out FOLDER     the next group, in order of worth
    istapp train --group main --minutes 9 --out FOLDER              one group, on any device

The budget of a group is planned from the speed that was calibrated for its slowest member, then or earlier on such a
machine, and made final by the speed that the training itself turned out to have, before the rate of the first member
falls. From then on it holds for all members, on whatever machine. The plan lies in FOLDER beside everything else, so
that the same command goes on with it.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from istapp.basics.errors import UserError, nearest
from istapp.basics.paths import read_table, write_records
from istapp.basics.provenance import device_name as called
from istapp.experiments import campaigns, forward_times, queue
from istapp.experiments.campaigns import LIKE, Experiment
from istapp.experiments.costs import Costs, costs_of, least_pixels, operations, pixels_seen
from istapp.experiments.evaluation import device
from istapp.experiments.plan import Plan, seen_by_all, stated
from istapp.experiments.queue import Places
from istapp.method import weights
from istapp.training import Run, calibration
from istapp.training.calibration import Trial, calibrate, fastest
from istapp.training.interrupts import deadline

#: Seconds before the end by which everything is written, and what the forward timings after a group may take on a GPU;
#: of a clock shorter than nine minutes, no larger part than of that.
RESERVE, TIMINGS, NINE_MINUTES = 25.0, 15.0, 540.0

#: How much of the time is planned: less than all, since no speed is known exactly.
PLANNED, FINAL = 0.96, 0.985


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


def _recalled(wanted: Experiment, machine: str, device_name: str) -> dict[str, Any] | None:
    """Return the fastest accepted way on such a machine for the same steps, as the checkout's calibrations tell.

    None where one of the device's ways has not been tried there, as one that came later.
    """
    table = Places().results / "calibration.csv"
    rows = read_table(table, tuple(Trial.__annotations__), numbers=("pixels_per_second", "start_up"))
    own = [row for row in rows if f"{row['device']}, torch {row['torch']}" == machine and _alike(row["run"], wanted)]
    newest = {(row["precision"], row["mode"]): row for row in own}
    accepted = [row for row in newest.values() if row["accepted"] == "True"]
    if not accepted or not set(calibration.ways(device_name)) <= set(newest):
        return None
    best = max(accepted, key=lambda row: float(row["pixels_per_second"]))
    speeds = {name: float(best[name]) for name in ("pixels_per_second", "start_up")}
    return {"precision": best["precision"], "mode": best["mode"], **speeds}


def _alike(run: str, wanted: Experiment) -> bool:
    """Tell whether a step of a run is one of the experiment `wanted`: of the same network on as many patches."""
    other = campaigns.ALL.get(run)
    if other is None or other.method != wanted.method:
        return False
    a, b = other.recipe.on("cuda"), wanted.recipe.on("cuda")
    same_step = (a.patch, a.batch, a.optimiser) == (b.patch, b.batch, b.optimiser)
    return same_step and other.network().config == wanted.network().config


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
        """Calibrate, train and finish the group, and return the ids of the runs that got done."""
        device(self.device)
        waiting = self._waiting()
        way = self._calibrated()
        # A process compiles a network once, and the calibration did so for one of them.
        shared = way["mode"] == "kernels"  # nothing in them depends on the member but its channels
        starts = [2.0 if shared or experiment.id == self.warm else way["start_up"] for experiment in waiting]
        costs = [costs_of(experiment, self.device, start) for experiment, start in zip(waiting, starts)]
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
        return sorted(waiting or self.own, key=operations, reverse=True)

    def _is_short(self, experiment: Experiment) -> bool:
        """Tell whether a run is not done, or has seen fewer pixels than its group is to see."""
        if queue.status(experiment.id, self.places) != "done":
            return True
        files = (self.places.weights_of(experiment.id), Places().weights_of(experiment.id))
        seen = max(weights.header(path).get("pixels", 0) for path in files if path.exists())
        return seen < self.plan.pixels[self.name] - experiment.recipe.on("cuda").pixels_per_step

    # ------------------------------------------------------------ speed

    def _calibrated(self) -> dict[str, Any]:
        """Return what the fastest way is and does on this machine, as the plan knows it or as it is found out now."""
        machine = f"{called(self.device)}, torch {torch.__version__}"
        key = f"{self.name} on {machine}"
        if key not in self.plan.ways:
            if machine in self.plan.trying:
                self.plan.died.setdefault(machine, []).append(self.plan.trying.pop(machine))
            slowest = max(self.own, key=operations)
            found = _recalled(slowest, machine, self.device)
            if found and f"{found['precision']} {found['mode']}" not in self.plan.died.get(machine, ()):
                self.say(f"calibrated before, on {machine}")
                self.plan.ways[key] = found
            else:
                self.plan.ways[key], self.warm = self._calibrate(slowest, machine), slowest.id
            self.plan.write()
        way = self.plan.ways[key]
        self.say(f"trains with {way['precision']} {way['mode']}, {way['pixels_per_second'] / 1e6:.3f} Mpixel/s")
        return way

    def _calibrate(self, slowest: Experiment, machine: str) -> dict[str, Any]:
        """Find out what the fastest way is, keep a row of each, and return what the plan keeps of it."""
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
        return self._chosen(trials)

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

    def _budget(self, waiting: list[Experiment], way: dict[str, Any], costs: list[Costs]) -> float:
        """Return the pixels of every member, from the plan or from the clock, and write them to the plan.

        Raises:
            UserError: the clock is too short to begin with the group.
        """
        fixed = self.plan.pixels.get(self.name) if self.name in self.plan.final else None
        other = LIKE.get(self.name)
        if fixed is None and other is not None:
            fixed = self.plan.pixels[other] if other in self.plan.final else seen_by_all(other)
            if fixed is not None:
                self._fix(fixed)
        if fixed is not None:
            self.say(f"budget of the group: {fixed / 1e6:,.1f} million pixels each, as planned before")
            return fixed
        budget = self._affordable(waiting, way["pixels_per_second"], costs, PLANNED)
        seen = [pixels_seen(experiment, self.places) for experiment in waiting]
        least = max(least_pixels(experiment, self.device) for experiment in waiting)
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

    def _affordable(self, waiting: list[Experiment], speed: float, costs: list[Costs], share: float) -> float:
        """Return the pixels up to which all can be trained in the time that is left, at most their stated budget."""
        left = self._left(costs)
        seen = [pixels_seen(experiment, self.places) for experiment in waiting]
        return min(stated(self.own), (left * share * speed + sum(seen)) / len(waiting))

    def _left(self, costs: list[Costs]) -> float:
        """Return the seconds that are left for training steps."""
        spent = self.reserve + self.timings + sum(cost.before + cost.after for cost in costs)
        return max(0.0, self.end - time.monotonic() - spent)

    def _settling(self, waiting: list[Experiment], costs: list[Costs]) -> Callable[[int, float], float]:
        """Return what makes the budget final when the first member is near its fall."""
        first, rest = replace(costs[0], before=0.0), costs[1:]

        def settle(pixels: int, speed: float) -> float:
            """Return the final budget, from the pixels seen and the speed so far."""
            own = waiting[0]
            left = self._left([first, *rest])
            seen = pixels + sum(pixels_seen(experiment, self.places) for experiment in waiting[1:])
            budget = min(stated(self.own), (left * FINAL * speed + seen) / len(waiting))
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
            with deadline(self.end - time.monotonic() - self.reserve / 3):
                forward_times.take(experiment, self.places, self.device, self.say)
        except Exception as error:
            self.say(f"no more forward timings: {type(error).__name__} {error}")

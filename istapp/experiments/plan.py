"""What a campaign has planned and found out, kept in its folder between two calls."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from istapp.basics.errors import UserError, reason
from istapp.basics.paths import write_atomically
from istapp.experiments import queue
from istapp.experiments.campaigns import ORDER, Experiment
from istapp.experiments.queue import Places
from istapp.method import weights
from istapp.training import state as states

#: What is known of a way to train.
_WAY = {"precision", "mode", "pixels_per_second", "start_up"}


def _is_named(value: object, holds: Callable[[Any], bool]) -> bool:
    """Tell whether a value is a dictionary by name, of values of which something holds."""
    return isinstance(value, dict) and all(holds(each) for each in value.values())


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


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
            plan = cls(**stored, path=path)
            plan._refuse_nonsense()
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{path} is damaged ({reason(error)}); remove it to plan anew") from None
        return plan

    def _refuse_nonsense(self) -> None:
        """Raise ValueError for what no plan holds: it was read from a file."""
        right = {
            "pixels": _is_named(self.pixels, lambda each: type(each) in (int, float) and 0 < each < math.inf),
            "final": _is_words(self.final) and set(self.final) <= set(self.pixels),
            "visits": _is_named(self.visits, lambda each: type(each) is int),
            "ways": _is_named(self.ways, lambda each: isinstance(each, dict) and set(each) >= _WAY),
            "trying": _is_named(self.trying, lambda each: isinstance(each, str)),
            "died": _is_named(self.died, _is_words),
        }
        if wrong := [name for name, holds in right.items() if not holds]:
            raise ValueError(f"its {wrong[0]} is {str(getattr(self, wrong[0]))[:40]}")

    def write(self) -> None:
        """Write the plan to where it came from."""
        assert self.path is not None
        content = {key: value for key, value in asdict(self).items() if key != "path"}
        write_atomically(self.path, lambda beside: beside.write_text(json.dumps(content, indent=1), encoding="utf-8"))

    def next(self, places: Places) -> str | None:
        """Return the group to work on next: the first that is not done, or not to its full budget where named again.

        Named again it is only continued: where the states are lost that it would go on from, it waits.
        """
        for i, group in enumerate(ORDER):
            own = queue.members(group)
            if not own:
                continue
            if any(queue.status(e.id, places) != "done" or queue.is_only_begun(e, places) for e in own):
                return group
            times, budget = ORDER[:i].count(group), self.pixels.get(group, math.inf)
            short = self.visits.get(group, 0) <= times and not any(e.recipe.is_whole(budget) for e in own)
            if times and short and all(states.exists(places.runs / f"{e.id}.stable") for e in own):
                return group
        return None


def seen_by_all(group: str) -> float | None:
    """Return the pixels that the networks of a group have seen, all alike, as their weights at home say; else None.

    What processors have only begun counts for nothing: a GPU will see more.
    """
    own = queue.members(group)
    if any(queue.is_only_begun(e, Places()) for e in own):
        return None
    headers = [weights.header(path) for e in own if (path := Places().weights_of(e.id)).exists()]
    seen = {header.get("pixels") for header in headers}
    return seen.pop() if len(headers) == len(own) and len(seen) == 1 else None


def stated(own: list[Experiment]) -> float:
    """Return the budget that a group's runs name, the smallest if they differ."""
    return min(experiment.recipe.pixels for experiment in own)

"""The ladder of recipes: one change at a time, a small network, and what it is worth on the validation split.

    istapp ladder                  what each rung says, and how far the rows are
    istapp ladder --minutes 60     trains what is missing, in order; the same command goes on
    istapp ladder --minutes 3 --group "large batches" --device cuda

ISTA-Net++ with K = 5 and C = 16 learns from Train400. A rung is a recipe (or a loss, or a start) that differs from a
neighbour in one thing; its row is the mean PSNR in dB of the held-out training images at five ratios. No test image
enters. Rows of failures stay. A last group of rungs asks the same of the paper's size, K = 20 and C = 32, on few pixels
in small steps: what is best for five stages need not be so for twenty. Chapter 05 draws the ladder from
`data/results/ladder.csv`.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from istapp.basics import paths
from istapp.basics.errors import UserError, nearest
from istapp.basics.provenance import commit, device_name
from istapp.experiments.campaigns import FIVE, RENEW
from istapp.images import datasets
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.metrics import ErrorMeasure, mean_squared
from istapp.sampling import BlockSampling
from istapp.training import Recipe, Run, first, ours, released, train
from istapp.training.gradients import MODES

FILE = paths.RESULTS / "ladder.csv"
SIZE = {"stages": 5, "channels": 16}
SHORT, LONG = 40e6, 300e6

#: The paper's size.
FULL = {"stages": 20, "channels": 32}

#: The rung that the others are measured by.
OURS = "ours: and a rate that stays and falls"

#: The rung that the variations are measured by.
BASE = "ours, half the pixels"

#: The rung that those of the paper's size are measured by.
DEEP = "20 stages of 32 channels"
COLUMNS = (
    "key", "rung", "group", "seed", "pixels", "psnr_10", "psnr_20", "psnr_30", "psnr_40", "psnr_50", "mean", "minutes",
    "precision", "recipe", "device", "commit",
)  # fmt: skip


class EveryStage(ISTANetPP):
    """ISTA-Net++ whose loss is the mean of the errors of all its stages' images."""

    def loss(self, x: Tensor, sampling: BlockSampling, error: ErrorMeasure = mean_squared) -> Tensor:
        """Return the mean error over the stages, a scalar."""
        return torch.stack([error(estimate, x) for _, estimate in self.trace(sampling.A(x), sampling)]).mean()


class UnitStep(ISTANetPP):
    """ISTA-Net++ that begins with step sizes of one, the step of projected gradient descent on orthonormal rows."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        with torch.no_grad():
            self.get_parameter("condition.4.bias")[: len(self.stages)] = math.log(math.e - 1)  # its softplus is 1


@dataclass(frozen=True)
class Rung:
    """One recipe on the ladder.

    Attributes:
        name: what it changes, as the chapter's picture says it.
        group: ``steps`` from the first recipe to ours; elsewhere what it varies.
        recipe: how it trains.
        seeds: one, or several where the difference is small.
        network: the class of network.
        size: its stages and channels.
        on_gpu: whether it is only trained on a GPU, by a recorded graph.
    """

    name: str
    group: str
    recipe: Recipe
    seeds: tuple[int, ...] = (1,)
    network: Callable[..., ISTANetPP] = field(default_factory=lambda: ISTANetPP)
    size: dict[str, int] = field(default_factory=lambda: SIZE)
    on_gpu: bool = False

    @property
    def key(self) -> str:
        """What a row is known by, whatever the rung is called: a hash of recipe, network and size."""
        content = [self.recipe.identity, self.recipe.ending, self.network.__name__, self.size]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


THREE_SEEDS = (1, 2, 3)


def rungs() -> list[Rung]:
    """Return the ladder, in the order in which it is climbed: first what leads to our recipe, then what varies it."""
    return [*_steps(), *_variations(), *_deep(), *_large()]


def _steps() -> list[Rung]:
    """From the first recipe to ours, one change at a time, and what only a long run tells."""
    old = first(SHORT, batch=8, renew_matrix=RENEW)
    faster = replace(old, rate=2e-3)
    muon = replace(faster, optimiser="muon", muon_rate=0.01)
    silent = replace(muon, silent_start=True)
    return [
        Rung("first recipe", "steps", old, THREE_SEEDS),
        Rung("AdamW twice as fast", "steps", faster),
        Rung("and Muon", "steps", muon),
        Rung("and a silent start", "steps", silent),
        Rung("and the logarithm", "steps", replace(silent, error="log-mse")),
        Rung(OURS, "steps", ours(SHORT, renew_matrix=RENEW), THREE_SEEDS),
        Rung("the logarithm alone", "steps", replace(faster, error="log-mse")),
        Rung("released recipe", "steps", released(SHORT)),
        Rung("ours with the winners below", "winners", ours(SHORT, renew_matrix=RENEW, rate=4e-3, batch=4)),
        Rung("ours with AdamW 0.004", "winners", ours(SHORT, renew_matrix=RENEW, rate=4e-3)),
        Rung("ours with batch 4", "winners", ours(SHORT, renew_matrix=RENEW, batch=4)),
        Rung("ours on single blocks", "winners", ours(SHORT, renew_matrix=RENEW, blocks=1, batch=32)),
        Rung("ours, long", "long", ours(LONG, renew_matrix=RENEW)),
    ]


def _variations() -> list[Rung]:
    """Our recipe with one thing changed, on half the pixels."""
    base = ours(SHORT / 2, renew_matrix=RENEW)
    found = [Rung(BASE, "base", base, THREE_SEEDS)]

    def vary(group: str, name: str, **changes: Any) -> None:
        """Add a rung with some fields changed."""
        found.append(Rung(name, group, replace(base, **changes)))

    for rate in (0.0025, 0.005, 0.02, 0.04):
        vary("rate of Muon", f"Muon {rate:g}", muon_rate=rate)
    for rate in (5e-4, 1e-3, 4e-3, 8e-3):
        vary("rate of AdamW", f"AdamW {rate:g}", rate=rate)
    for error in ("mse^0.25", "mse^0.5", "mse"):
        vary("error", error, error=error)
    for epsilon in (1e-6, 1e-4):
        vary("error", f"epsilon {epsilon:g}", epsilon=epsilon)
    vary("ratios", "low ratios more often", low_ratios=0.5)
    for batch in (4, 16, 64, 128):  # at one rate: fewer steps are left for a large one
        vary("batch", f"batch {batch}", batch=batch)
    vary("patches", "single blocks", blocks=1, batch=32)
    vary("patches", "3x3 blocks", blocks=3, batch=4)
    vary("patches", "growing, 3x3 in the fall", decay_blocks=3)
    vary("average", "no average", average=0.0)
    vary("average", "average over 1000 steps", average=0.999)
    vary("clipping", "no clipping", clip=0.0)
    for momentum in (0.9, 0.98):
        vary("momentum", f"momentum {momentum:g}", momentum=momentum)
    vary("schedule", "fall over 15 %", decay=0.15)
    vary("schedule", "fall over 60 %", decay=0.6)
    vary("schedule", "cosine all the way", decay=1.0, decay_shape="cosine")
    vary("matrix", "one fixed matrix", renew_matrix=0)
    vary("start", "no silent start", silent_start=False)
    found.append(Rung("first steps of 1", "start", base, network=UnitStep))
    found.append(Rung("loss on every stage", "error", base, network=EveryStage))
    return found


def _deep() -> list[Rung]:
    """What a network of the paper's size needs: our recipe on single blocks, so that few pixels are many steps."""
    base = ours(10e6, blocks=1, warm_up=5e5, renew_matrix=RENEW)
    slower = replace(base, muon_rate=0.003, rate=6e-4)
    found = {
        DEEP: base,
        "20 stages, rates of 0.3": slower,
        "20 stages, rates of 0.3, weights decay": replace(slower, muon_decay=0.1),
        "20 stages, rates of 0.1": replace(base, muon_rate=0.001, rate=2e-4),
        "20 stages, Muon alone at 0.3": replace(base, muon_rate=0.003),
    }
    return [Rung(name, "depth", recipe, size=FULL) for name, recipe in found.items()]


def _large() -> list[Rung]:
    """What the batches that a GPU wants need, at the paper's size: some 1,400 steps of 64 patches."""
    slower = ours(400e6, batch=64, renew_matrix=RENEW, warm_up=8e6, muon_rate=0.003, rate=6e-4, muon_decay=0.1)
    found = {
        "batch 64, rates of 0.3, weights decay": slower,
        "batch 64, weights decay": replace(slower, muon_rate=0.01, rate=2e-3),
        "batch 64, rates of 0.3": replace(slower, muon_decay=0.0),
        "256 single blocks, rates of 0.3, weights decay": replace(slower, batch=256, blocks=1),
        "batch 64, rates of 0.3, weights decay, mse^0.25": replace(slower, error="mse^0.25"),
    }
    return [Rung(name, "large batches", recipe, size=FULL, on_gpu=True) for name, recipe in found.items()]


def read(path: Path | None = None) -> list[dict[str, str]]:
    """Return the rows there are, as text, each called as its rung is called today.

    Raises:
        UserError: the file has other columns, or a number that is none; ``nan`` is the mean of a rung that failed.
    """
    rows = paths.read_table(path or FILE, COLUMNS, "a ladder", ("seed", "pixels", "mean"), failed="nan")
    named = {rung.key: {"rung": rung.name, "group": rung.group} for rung in rungs()}
    return [row | named.get(row["key"], {}) for row in rows]


def waiting(rows: list[dict[str, str]], device: str = "cpu", group: str = "") -> Iterator[tuple[Rung, int]]:
    """Yield rung and seed of every row of a group, or of all, that is missing on a kind of device: first seeds first.

    A rung whose first row lies within 0.2 dB of our recipe's on as many pixels gets three seeds.
    """
    have = {(row["key"], row["seed"]) for row in rows}
    close = _close(rows)
    wanted = [(rung, rung.seeds[0]) for rung in rungs()]
    wanted += [(r, s) for r in rungs() for s in (THREE_SEEDS if r.name in close else r.seeds) if s != r.seeds[0]]
    for rung, seed in wanted:
        here = device == "cuda" or not rung.on_gpu
        if here and group in ("", rung.group) and (rung.key, str(seed)) not in have:
            yield rung, seed


def _close(rows: list[dict[str, str]]) -> set[str]:
    """Return the names of the rungs within 0.2 dB of our recipe's of the same budget, by their first seed."""
    firsts = [row for row in rows if row["seed"] == "1" and row["mean"] != "nan" and row["group"] != "long"]
    ours_ = {row["pixels"]: float(row["mean"]) for row in firsts if row["rung"] in (OURS, BASE)}
    return {r["rung"] for r in firsts if abs(float(r["mean"]) - ours_.get(r["pixels"], math.inf)) < 0.2}


def refuse_unknown(group: str) -> None:
    """Refuse the name of a group that has no rungs; an empty one stands for all.

    Raises:
        UserError: there is no such group.
    """
    known = {rung.group for rung in rungs()}
    if group and group not in known:
        raise UserError(
            f"the ladder has no group '{group}'{nearest(group, known)}; there are {', '.join(sorted(known))}"
        )


def climb(
    minutes: float = math.inf, out: Path | None = None, say: Callable[[str], None] = print, device: str = "cpu",
    group: str = "",
) -> int:  # fmt: skip
    """Train the rungs of a group, or of all, that are missing, for at most `minutes`; return how many still are.

    A rung that is broken off is trained anew; each takes a minute or two.

    Raises:
        UserError: Train400 is not at hand, or there is no such group.
    """
    refuse_unknown(group)
    out, end = out or FILE, time.monotonic() + 60 * minutes
    images = datasets.load("Train400")
    while todo := next(waiting(read(out), device, group), None):
        rung, seed = todo
        left = (end - time.monotonic()) / 60
        if left <= 0:
            break
        row = _row(rung, seed, images, device, left)
        if row is None:
            break
        paths.write_table(out, COLUMNS, [*read(out), row])
        say(f"{rung.name}, seed {seed}: {row['mean']} dB on the validation split, {row['minutes']} min")
    return len(list(waiting(read(out), device, group)))


def _row(rung: Rung, seed: int, images: list[datasets.Image], device: str, minutes: float) -> dict[str, str] | None:
    torch.manual_seed(seed)
    network = rung.network(**rung.size)
    mode = MODES[-1] if rung.on_gpu else "eager"
    run = Run(network, images, rung.recipe, FIVE, seed, device=device, mode=mode, quiet=True, validate_every=10**9)
    row = {
        "key": rung.key, "rung": rung.name, "group": rung.group, "seed": str(seed),
        "pixels": f"{rung.recipe.pixels:.0f}", "precision": run.precision, "recipe": str(rung.recipe),
        "device": device_name(device), "commit": commit(),
    }  # fmt: skip
    began = time.monotonic()
    try:
        result = train(run, minutes)
    except UserError:  # it diverged, which is a result, too
        return {column: row.get(column, "") for column in COLUMNS} | {"mean": "nan"}
    if not result.done:
        return None
    values = [result.curve[-1][f"psnr_{100 * ratio:g}"] for ratio in FIVE]
    row |= {f"psnr_{100 * ratio:g}": f"{value:.3f}" for ratio, value in zip(FIVE, values)}
    row |= {"mean": f"{sum(values) / len(values):.3f}", "minutes": f"{(time.monotonic() - began) / 60:.2f}"}
    return row

"""A training run as data, and how far it came."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from istapp.images.datasets import Image, data_hash
from istapp.method.base import Network
from istapp.method.precision import native
from istapp.training.recipe import Recipe


@dataclass
class Run:
    """A training run as data: what it is (network, images, recipe, seed) and where it is kept.

    Attributes:
        network: trained in place.
        images: training images; every 20th is held out for validation and never cut into patches.
        recipe: how.
        ratios: CS ratios in (0, 1].
        seed: of weights, patches and ratios.
        matrix_seed: of the sampling matrix, or of the first one where the recipe renews it.
        keep: prefix of the files of state and curve, such as ``runs/NAME``; None keeps nothing.
        device: to train on.
        validate_every: steps between validations; 0 makes it 20 in all.
        checkpoint_seconds: a kill loses at most this much.
        precision: ``bfloat16`` or ``float16`` for the convolutions, or ``float32``; images and operator stay float32.
            Empty means what the device is fast in. It belongs to the machine: a run may go on in another.
        mode: how gradients are computed, one of `istapp.training.gradients.MODES`. It belongs to the machine too, and
            one that fails at its first batch gives way to the one before it.
        quiet: show no progress. Otherwise a terminal has a line of it; elsewhere each validation writes one.
        settle: called once in a call, when the fall of the rate is near (`NEAR`), with the pixels seen and the pixels
            per second of the steps after this call's first ones, validations apart (0: not known yet): it returns the
            budget that the clock affords, in place of the recipe's. A smaller one than the pixels seen allow is raised
            to that.
    """

    network: Network
    images: Sequence[Image]
    recipe: Recipe
    ratios: Sequence[float]
    seed: int = 0
    matrix_seed: int = 0
    keep: Path | None = None
    device: str = "cpu"
    validate_every: int = 0
    checkpoint_seconds: float = 60
    precision: str = ""
    mode: str = "eager"
    quiet: bool = False
    settle: Callable[[int, float], float] | None = None

    def __post_init__(self) -> None:
        self.precision = self.precision or native(self.device)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run: a state is only ever resumed by its own. The budget is no part of it."""
        return {
            "method": self.network.name, "config": self.network.config, "recipe": self.recipe.identity,
            "ratios": list(self.ratios), "seed": self.seed, "matrix_seed": self.matrix_seed,
            "images": data_hash(self.images),
        }  # fmt: skip

    @property
    def stable(self) -> Path | None:
        """Prefix of the files of the state before the rate falls, from which the run can be extended."""
        return self.keep and self.keep.with_name(f"{self.keep.name}.stable")


@dataclass
class Result:
    """How far a run came.

    Attributes:
        done: whether the whole budget was seen; otherwise the same call goes on.
        step: steps taken.
        pixels: training pixels seen.
        minutes: time spent training, over all calls.
        pixels_per_second: mean over what the last machine did.
        curve: a row per validation: step, pixels, minutes, loss, rate, and PSNR per ratio in dB.
        weights: the averaged (or last) weights.
        budget: pixels in all, as the recipe said or the clock afforded.
        machines: what each machine did, in order: device, steps, pixels, minutes.
    """

    done: bool
    step: int
    pixels: int
    minutes: float
    pixels_per_second: float
    curve: list[dict[str, float]] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    budget: float = 0.0
    machines: list[dict[str, Any]] = field(default_factory=list)

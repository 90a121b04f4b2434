"""How a network is trained, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from math import cos, pi
from typing import Any

from istapp.basics.errors import UserError, nearest
from istapp.metrics import ErrorMeasure, log_mean_squared, mean_squared, power_mean_squared

#: Error measures by name, each made with the recipe's epsilon; ``published`` leaves the choice to the network.
ERRORS: dict[str, Callable[[float], ErrorMeasure | None]] = {
    "published": lambda epsilon: None,
    "mse": lambda epsilon: mean_squared,
    "mse^0.5": lambda epsilon: partial(power_mean_squared, power=0.5, epsilon=epsilon),
    "mse^0.25": lambda epsilon: partial(power_mean_squared, power=0.25, epsilon=epsilon),
    "log-mse": lambda epsilon: partial(log_mean_squared, epsilon=epsilon),
}
OPTIMISERS = ("adamw", "muon")
DECAYS = ("linear", "cosine")

#: What came when there were states and rows already: it makes a run another one only where it is not zero.
LATER = ("muon_decay",)

#: The share of its budget that a training has seen which counts as whole: its last steps may be cut.
WHOLE = 0.99


@dataclass(frozen=True)
class Recipe:
    """Everything about a training run that is neither the network nor its images.

    The rate rises over `warm_up` pixels, stays, and falls to zero over the last part, `decay`, of the budget. The state
    before the fall is kept, so that a run can end at any budget and still be continued to a larger one.

    Attributes:
        name: for headers and tables.
        pixels: training pixels in all, the budget.
        blocks: side of a training patch in blocks; more than one and the network learns across blocks.
        decay_blocks: the same while the rate falls, at equal pixels per step; 0 leaves it as it is.
        block: side of a block in pixels.
        batch: patches per step.
        gpu_batch: the same on a GPU, which wants large ones; 0 leaves it as it is.
        optimiser: ``adamw``, or ``muon`` for the weights that a network names (`Network.matrices`) and AdamW for the
            rest.
        rate: learning rate of AdamW.
        muon_rate: learning rate of Muon.
        momentum: of Muon.
        weight_decay: of AdamW.
        muon_decay: of Muon; without it the weights that Muon steps grow as long as the rate stays.
        error: what is minimised, a name of `ERRORS`.
        epsilon: of the error measures that have one: the MSE below which an image counts no more.
        silent_start: set the weights to zero that a network names (`Network.silent`), so that its stages begin by
            passing their input on.
        warm_up: pixels over which the rate rises from zero.
        decay: share of the budget over which it falls; 0: never, 1: all the time.
        decay_shape: ``linear``, to zero, or ``cosine``, to a hundredth.
        ratio_per_sample: draw a ratio for each patch; otherwise one for each step.
        low_ratios: draw a ratio in proportion to its power of minus this; 0 draws all alike.
        renew_matrix: draw a new random sampling matrix every so many steps; 0 keeps the first.
        average: decay of the exponential average of the weights, which is what is kept; 0 keeps the last weights.
        clip: largest norm of the gradient; 0 leaves it alone.
    """

    name: str
    pixels: float
    blocks: int = 2
    decay_blocks: int = 0
    block: int = 33
    batch: int = 8
    gpu_batch: int = 0
    optimiser: str = "muon"
    rate: float = 2e-3
    muon_rate: float = 0.01
    momentum: float = 0.95
    weight_decay: float = 0.0
    muon_decay: float = 0.0
    error: str = "log-mse"
    epsilon: float = 1e-5
    silent_start: bool = True
    warm_up: float = 1e6
    decay: float = 0.3
    decay_shape: str = "linear"
    ratio_per_sample: bool = True
    low_ratios: float = 0.0
    renew_matrix: int = 0
    average: float = 0.99
    clip: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what no trainer could do.

        Raises:
            UserError: an unknown optimiser, error or decay, or a budget that is no number of pixels.
        """
        for what, given, known in (
            ("optimiser", self.optimiser, OPTIMISERS), ("error", self.error, tuple(ERRORS)),
            ("decay", self.decay_shape, DECAYS),
        ):  # fmt: skip
            if given not in known:
                hint = nearest(given, known)
                raise UserError(f"recipe {self.name}: the {what} is one of {', '.join(known)}, not '{given}'{hint}")
        if not self.pixels_per_step / 2 <= self.pixels < float("inf"):
            raise UserError(
                f"recipe {self.name}: a budget of {self.pixels:g} pixels is too short for one step, which sees "
                f"{self.pixels_per_step:,}"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two recipes one run: all that the state before the fall depends on, so not where it ends."""
        without = {"name", *self.ending, *(name for name in LATER if not getattr(self, name))}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in without}

    @property
    def ending(self) -> dict[str, Any]:
        """The budget, and how the rate falls."""
        names = ("pixels", "decay", "decay_shape", "decay_blocks")
        return {name: getattr(self, name) for name in names}

    @property
    def patch(self) -> int:
        """Side of a training patch in pixels."""
        return self.block * self.blocks

    @property
    def pixels_per_step(self) -> int:
        """Pixels that one step sees."""
        return self.batch * self.patch**2

    @property
    def steps(self) -> int:
        """Number of steps."""
        return max(1, round(self.pixels / self.pixels_per_step))

    @property
    def stable_pixels(self) -> float:
        """Pixels after which the rate falls."""
        return self.pixels * (1 - self.decay)

    def is_whole(self, pixels: float) -> bool:
        """Tell whether a training that has seen so many pixels is whole, see `WHOLE`."""
        return pixels >= WHOLE * self.pixels

    def on(self, device: str) -> "Recipe":
        """Return the recipe with the batch for that kind of device, ``cpu`` or ``cuda``, and as many steps of rise."""
        if device != "cuda" or not self.gpu_batch:
            return self
        return replace(self, batch=self.gpu_batch, warm_up=self.warm_up * self.gpu_batch / self.batch)

    def in_decay(self) -> "Recipe":
        """Return the recipe with the patches for its last part, as many of them as keep the pixels of a step."""
        if self.decay_blocks in (0, self.blocks):
            return self
        batch = max(1, round(self.batch * (self.blocks / self.decay_blocks) ** 2))
        return replace(self, blocks=self.decay_blocks, batch=batch)

    def measure(self) -> ErrorMeasure | None:
        """Return the error measure, None for the network's own."""
        return ERRORS[self.error](self.epsilon)

    def factor_at(self, pixels: float, decay_from: float | None = None) -> float:
        """Return what the learning rates are multiplied by after so many pixels, the fall begun at `decay_from`."""
        rise = min(1.0, pixels / self.warm_up) if self.warm_up else 1.0
        if decay_from is None:
            return rise
        done = min(1.0, (pixels - decay_from) / max(1.0, self.pixels - decay_from))
        return rise * (1 - done if self.decay_shape == "linear" else 0.01 + 0.99 * (1 + cos(pi * done)) / 2)

    def __str__(self) -> str:
        """One line: optimiser and rates, error, start, patches."""
        muon = f"Muon {self.muon_rate:g} and " if self.optimiser == "muon" else ""
        start = ", silent start" if self.silent_start else ""
        patches = f"{self.batch} patches of {self.blocks}x{self.blocks} blocks"
        return f"{muon}AdamW {self.rate:g}, {self.error}{start}, {patches}"


def ours(pixels: float, **changes: Any) -> Recipe:
    """This project's recipe, an honest departure from the paper's (chapter 05 derives it and measures every part).

    Muon for the residual blocks and AdamW for the rest, the logarithm of the error, stages that begin by passing on,
    patches of 2 x 2 blocks, a ratio for each patch, a rate that stays and then falls, averaged weights.
    """
    return Recipe(**{"name": "ours", "pixels": pixels} | changes)


def first(pixels: float, **changes: Any) -> Recipe:
    """The first recipe of this project, which some shipped networks come from: AdamW, mean squared error, a cosine."""
    own: dict[str, Any] = {
        "name": "first", "pixels": pixels, "batch": 16, "optimiser": "adamw", "rate": 1e-3, "error": "mse",
        "silent_start": False, "warm_up": 0.02 * pixels, "decay": 1.0, "decay_shape": "cosine", "average": 0.999,
    }  # fmt: skip
    return Recipe(**own | changes)


def released(pixels: float) -> Recipe:
    """The recipe of the released ISTA-Net++ trainer: single blocks, 64 a step, one ratio a step, Adam at 1e-4."""
    return Recipe(
        "released", pixels, blocks=1, batch=64, optimiser="adamw", rate=1e-4, error="mse", silent_start=False,
        warm_up=0, decay=0.0, ratio_per_sample=False, average=0, clip=0,
    )  # fmt: skip


def of_header(stored: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a header of weights tells of, also one from before error and optimiser were fields."""
    known = {field.name for field in fields(Recipe)}
    if "error" in stored:
        return Recipe(**{name: value for name, value in stored.items() if name in known})
    old = {name: value for name, value in stored.items() if name in known}
    fall = {"decay": 1.0 if stored["cosine"] else 0.0, "warm_up": stored["warm_up"] * stored["pixels"]}
    return replace(
        first(stored["pixels"]), **old | fall | {"name": "first" if stored["name"] == "ours" else stored["name"]}
    )

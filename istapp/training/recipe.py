"""How a network is trained, as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Everything about a training run that is neither the network nor its images.

    Attributes:
        name: for headers and tables.
        pixels: training pixels in all; the number of steps follows.
        blocks: side of a training patch in blocks; more than one and the network learns across blocks.
        block: side of a block in pixels.
        batch: patches per step.
        rate: peak learning rate of AdamW.
        warm_up: share of the steps over which the rate rises from zero.
        cosine: let the rate fall to a hundredth along a cosine; otherwise it stays.
        ratio_per_sample: draw a ratio for each patch; otherwise one for each step.
        renew_matrix: draw a new random sampling matrix every so many steps; 0 keeps the first.
        average: decay of the exponential average of the weights, which is what is kept; 0 keeps the last weights.
        clip: largest norm of the gradient; 0 leaves it alone.
        weight_decay: of AdamW.
    """

    name: str
    pixels: float
    blocks: int = 2
    block: int = 33
    batch: int = 16
    rate: float = 1e-3
    warm_up: float = 0.02
    cosine: bool = True
    ratio_per_sample: bool = True
    renew_matrix: int = 0
    average: float = 0.999
    clip: float = 1.0
    weight_decay: float = 0.0

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

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step (0 is the first)."""
        from math import cos, pi

        rise = max(1, round(self.warm_up * self.steps))
        if self.warm_up and step < rise:
            return self.rate * (step + 1) / rise
        if not self.cosine:
            return self.rate
        done = (step - rise) / max(1, self.steps - rise)
        return self.rate * (0.01 + 0.99 * (1 + cos(pi * done)) / 2)


def released(pixels: float) -> Recipe:
    """The recipe of the released ISTA-Net++ trainer: single blocks, 64 a step, one ratio a step, Adam at 1e-4."""
    return Recipe(
        "released", pixels, blocks=1, batch=64, rate=1e-4, warm_up=0, cosine=False,
        ratio_per_sample=False, average=0, clip=0,
    )  # fmt: skip


def ours(pixels: float, **changes: float) -> Recipe:
    """This project's recipe: patches of 2 x 2 blocks, a ratio per patch, warm-up, cosine decay, averaged weights."""
    return Recipe(**{"name": "ours", "pixels": pixels, **changes})  # type: ignore[arg-type]

r"""Deep image prior: :math:`\min_\theta \|\Phi f_\theta(z) - y\|^2`, a network fitted to the measurements of one image.

Nothing is trained beforehand: the fixed noise :math:`z` goes through a convolutional encoder-decoder with random
weights, and those are fitted by Adam until the output's measurements are the given ones. That a convolutional network
reaches natural images before it reaches noise is all the prior there is (Ulyanov, Vedaldi, Lempitsky, CVPR 2018).

Architecture, noise and optimiser are theirs. The estimate is an exponential average of the outputs on the way, each of
which still wobbles. Rate and precision were chosen on a training image, see `RATE` and `_half`.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp.basics.errors import UserError
from istapp.basics.progress import Progress
from istapp.method.base import Method
from istapp.method.options import Option
from istapp.method.precision import lay_out, native
from istapp.sampling import BlockSampling

ITERATIONS = 2000

#: Adam's learning rate. On a 66 x 66 crop of Train400's validation split, 250 iterations with 32 channels in bfloat16,
#: 0.003 gave 27.18 and 31.69 dB at 10 and 30 %, 0.01 gave 27.19 and 31.43 dB, and 0.02 at 30 % 29.72 dB.
RATE = 0.003

#: Channels of z, the upper end of its uniform distribution, and the standard deviation of what is added to it anew in
#: every iteration.
INPUT_CHANNELS, INPUT_SCALE, INPUT_NOISE = 32, 0.1, 0.03

#: How much of the running average of the outputs survives an iteration; less in the first iterations.
MEMORY = 0.99

#: Adds something to the squared error of an iteration: called with its number and the output (1, 1, H, W).
Penalty = Callable[[int, Tensor], Tensor | float]


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the size (halves it, rounded up, at stride 2), batch normalisation, LeakyReLU."""
    padding = kernel // 2
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, padding_mode="reflect" if padding else "zeros")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))


class Scale(nn.Module):
    """One scale of the encoder-decoder: a thin skip beside everything that happens at half the resolution."""

    def __init__(self, inputs: int, channels: int, skip: int, deeper: nn.Module) -> None:
        """Put `deeper`, from `channels` to `channels` at half the size, inside."""
        super().__init__()
        self.skip = _conv(inputs, skip, kernel=1)
        self.down = nn.Sequential(_conv(inputs, channels, stride=2), _conv(channels, channels))
        self.deeper = deeper
        self.joined = nn.BatchNorm2d(skip + channels)
        self.up = nn.Sequential(_conv(skip + channels, channels), _conv(channels, channels, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, channels, H, W)."""
        below = self.deeper(self.down(x))
        below = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
        below = below[..., : x.shape[-2], : x.shape[-1]]  # an odd side was rounded up on the way down
        return self.up(self.joined(torch.cat([self.skip(x), below], 1)))


class SkipNetwork(nn.Module):
    """The encoder-decoder :math:`f_\\theta`: 2,217,573 parameters with five scales of 128 channels and skips of 4."""

    def __init__(self, inputs: int = INPUT_CHANNELS, channels: int = 128, skip: int = 4, scales: int = 5) -> None:
        """Nest `scales` scales."""
        super().__init__()
        body: nn.Module = nn.Identity()
        for index in reversed(range(scales)):
            body = Scale(channels if index else inputs, channels, skip, body)
        self.body, self.out = body, nn.Conv2d(channels, 1, 1)

    def forward(self, z: Tensor, half: bool = False) -> Tensor:
        """Map noise (1, inputs, H, W) to an image (1, 1, H, W) in (0, 1); `half`: bfloat16 in all but the last layer.

        The sides need not be multiples of anything, but each scale must leave at least two pixels.
        """
        with torch.autocast(z.device.type, torch.bfloat16, enabled=half):
            features = self.body(z)
        return torch.sigmoid(self.out(features.to(z.dtype)))


@dataclass(frozen=True)
class Fit:
    r"""A network fitted to one image.

    Attributes:
        x: the averaged output, (1, 1, H, W).
        losses: :math:`\|\Phi f_\theta(z) - y\|^2` per pixel before each iteration, (iterations done,).
    """

    x: Tensor
    losses: Tensor


class DeepImagePrior(Method):
    """The deep image prior.

    `parameter_count` is 0, as for every method that nobody trained: the `fitted_count` numbers of the network belong to
    one image and are thrown away with it. `variant` tells the iterations where they are not `ITERATIONS`; after a call
    that the clock stopped it tells that instead, and such a row must not stand in a table.
    """

    name = "dip"
    kind = "untrained network"
    options = (
        Option("iterations", ITERATIONS, "steps of Adam for each image", 1, 1_000_000),
        Option("rate", RATE, "Adam's learning rate", 1e-9, 1),
        Option("channels", 128, "of each scale", 1, 1024),
        Option("scales", 5, "how often the resolution is halved", 1, 5),
        Option("seed", 0, "of weights and noise, the same for every image", 0, 2**63 - 1),
        Option("minutes", math.inf, "stop an image's fit after this time, finished or not", 1e-6),
    )

    def __init__(
        self,
        iterations: int = ITERATIONS,
        rate: float = RATE,
        channels: int = 128,
        scales: int = 5,
        seed: int = 0,
        minutes: float = math.inf,
    ) -> None:
        """Fit for `iterations` steps of Adam.

        Args:
            iterations: steps for each image.
            rate: Adam's learning rate.
            channels: of each scale.
            scales: 1 to 5; a 33 x 33 block cannot be halved more often.
            seed: of weights and noise, the same for every image.
            minutes: stop an image's fit after this time, finished or not.

        Raises:
            UserError: an option outside its range.
        """
        if not (iterations >= 1 and rate > 0 and channels >= 1 and minutes > 0):
            raise UserError(f"{self.name} needs positive iterations, rate, channels and minutes")
        if not 1 <= scales <= 5:
            raise UserError(f"{self.name} has 1 to 5 scales, not {scales}")
        self.iterations, self.rate, self.channels, self.scales = iterations, rate, channels, scales
        self.seed, self.minutes = seed, minutes
        self.variant = self._variant()

    def _changed(self) -> list[tuple[str, float, float]]:
        """Return name, value and default of each option that a row must tell where it differs."""
        own = [("rate", self.rate, RATE), ("channels", self.channels, 128), ("scales", self.scales, 5)]
        return [*own, ("network seed", self.seed, 0)]

    def _variant(self, stopped: str = "") -> str:
        length = stopped or ("" if self.iterations == ITERATIONS else f"{self.iterations} iterations")
        changed = [f"{name} {value:g}" for name, value, default in self._changed() if value != default]
        return "; ".join(filter(None, [self.stand_in, length, *changed]))

    @property
    def fitted_count(self) -> int:
        """Numbers that are fitted to each image."""
        return sum(p.numel() for p in self.network().parameters())

    def network(self) -> SkipNetwork:
        """Return the network as every fit begins with it; the global random numbers are left as they were."""
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(self.seed)
            return SkipNetwork(channels=self.channels, scales=self.scales)

    def penalty(self) -> Penalty:
        """Return what a new fit adds to the squared error: nothing here."""
        return lambda iteration, output: 0.0

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Fit a network to each image of a batch on its own, all with the same seed, so their order is of no matter."""
        fits = [self.fit(each, sampling) for each in y.split(1)]
        shortest = min(len(fit.losses) for fit in fits)
        stopped = f"stopped by the clock after {shortest} iterations"
        self.variant = self._variant(stopped if shortest < self.iterations else "")
        return torch.cat([fit.x for fit in fits])

    def fit(self, y: Tensor, sampling: BlockSampling) -> Fit:
        """Fit a new network to the measurements (1, m, h, w) of one image.

        Raises:
            UserError: the image is too small to be halved so often.
        """
        height, width = (sampling.block * n for n in y.shape[-2:])
        if min(height, width) <= 2**self.scales:
            raise UserError(f"{self.scales} scales need images of at least {2**self.scales + 1} pixels: take fewer")
        random = torch.Generator(y.device).manual_seed(self.seed)
        z = torch.rand(1, INPUT_CHANNELS, height, width, generator=random, device=y.device, dtype=y.dtype)
        z = (INPUT_SCALE * z).contiguous(memory_format=torch.channels_last)
        network = lay_out(self.network().to(y))
        optimiser = torch.optim.Adam(network.parameters(), self.rate, fused=True)
        penalty, average, losses = self.penalty(), None, []
        progress, end = Progress(self.name, self.iterations), time.monotonic() + 60 * self.minutes
        with torch.enable_grad(), progress:
            for k in range(self.iterations):
                noise = torch.empty_like(z).normal_(0, INPUT_NOISE, generator=random)
                output = network(z + noise, _half(y))
                error = (sampling.A(output) - y).square().sum()
                optimiser.zero_grad()
                ((error + penalty(k, output)) / (height * width)).backward()
                optimiser.step()
                losses.append(error.detach() / (height * width))
                average = _averaged(average, output.detach(), k)
                progress.show(k + 1, lambda: f"loss {losses[-1]:.2e}")
                if time.monotonic() >= end:
                    break
        assert average is not None  # there is one iteration at least
        return Fit(average, torch.stack(losses))


def _averaged(average: Tensor | None, output: Tensor, iteration: int) -> Tensor:
    """Return the exponential average, which remembers about the last tenth of a short run and never over 100."""
    if average is None:
        return output
    return average.lerp(output, 1 - min(MEMORY, (1 + iteration) / (10 + iteration)))


def _half(y: Tensor) -> bool:
    """Tell whether the network's inside is computed in bfloat16: where the processor has instructions for it.

    On the training crop of `RATE`, at a rate of 0.01, bfloat16 was 0.29 dB better at 10 % and 0.34 dB worse at 30 %:
    no difference that one fit could tell. With 128 channels it takes half the time.
    """
    return y.device.type == "cpu" and y.dtype == torch.float32 and native(y.device) == "bfloat16"


METHOD = DeepImagePrior

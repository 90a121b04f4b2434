"""One trainer for every network: it knows nothing of them but ``loss(x, sampling)``."""

import csv
import io
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from istapp.datasets import Image, data_hash
from istapp.methods.base import Network, Tied
from istapp.metrics import psnr
from istapp.paths import write_atomically
from istapp.precision import native
from istapp.sampling import BlockSampling, MixedSampling
from istapp.training import state
from istapp.training.parallel import Peers
from istapp.training.patches import Patches
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
        precision: ``bfloat16`` for the convolutions, or ``float32``; images and operator stay float32. Empty means
            what the device is fast in. It belongs to the machine: a run may go on in another.
        compiled: let torch.compile fuse the network's loss (worth its start-up on a GPU).
        quiet: print nothing.
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
    compiled: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        self.precision = self.precision or native(self.device)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run: a state is only ever resumed by its own."""
        return {
            "method": self.network.name, "config": self.network.config, "recipe": asdict(self.recipe),
            "ratios": list(self.ratios), "seed": self.seed, "matrix_seed": self.matrix_seed,
            "images": data_hash(self.images),
        }  # fmt: skip


@dataclass
class Result:
    """How far a run came.

    Attributes:
        done: whether all steps were taken; otherwise the same call goes on.
        step: steps taken.
        minutes: time spent training, over all calls.
        pixels_per_second: mean over the whole run.
        curve: a row per validation: step, pixels, minutes, loss, rate, and PSNR per ratio in dB.
        weights: the averaged (or last) weights.
    """

    done: bool
    step: int
    minutes: float
    pixels_per_second: float
    curve: list[dict[str, float]] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)


def split(images: Sequence[Image]) -> tuple[list[Image], list[Image]]:
    """Return training and validation images: every 20th, in the order of their pixel hashes, is held out.

    A set of fewer than 20 images lends its last one to both.
    """
    ordered = sorted(images, key=lambda image: image.hash)
    held_out = ordered[19::20]
    return ([image for image in ordered if image not in held_out], held_out) if held_out else (ordered, ordered[-1:])


def train(run: Run, minutes: float = math.inf) -> Result:
    """Train until the recipe's pixels are seen, `minutes` are over, or Ctrl-C; the same call then goes on.

    The network ends with the averaged weights if the run is done.

    Raises:
        UserError: no image is large enough; `keep` holds another run's state or a damaged one.
    """
    return Trainer(run).run_for(minutes)


def validation_psnr(
    network: Network, images: Sequence[Image], ratios: Sequence[float], side: int = 99, matrix_seed: int = 0
) -> list[float]:
    """Return the mean PSNR in dB at each ratio on the central `side` x `side` pixels of images.

    The square is cut down to whole blocks, and to the largest that all images have.
    """
    device = next(network.parameters()).device
    network.eval()
    means = []
    with torch.no_grad():
        for ratio in ratios:
            sampling = network.sampling(ratio, matrix_seed)
            whole = min(side, *(n for image in images for n in image.size)) // sampling.block * sampling.block
            crops = torch.cat([_centre(image.luma(), whole) for image in images]).to(device)
            estimates = network(sampling.A(crops), sampling)
            means.append(sum(map(psnr, estimates, crops)) / len(crops))
    network.train()
    return means


def _centre(image: Tensor, side: int) -> Tensor:
    top, left = ((n - side) // 2 for n in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


class Trainer:
    """The loop and everything it carries from step to step."""

    def __init__(self, run: Run) -> None:
        self.run, self.recipe = run, run.recipe
        self.peers = Peers()
        self.device = torch.device(run.device)
        torch.manual_seed(run.seed)
        training, self.validation = split(run.images)
        self.patches = Patches(training, self.recipe.patch, self.device)
        self.network = run.network.to(self.device).train().requires_grad_(True)
        self.network.to(memory_format=torch.channels_last)
        self.average = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=self.recipe.rate, weight_decay=self.recipe.weight_decay, fused=True
        )
        share = self.peers.share(self.recipe.batch)
        self.sampling = self.network.operator(run.ratios, run.matrix_seed, share, self.device)
        self.random = torch.Generator(self.device).manual_seed(run.seed)
        self.loss = _compiled(self.network) if run.compiled else self.network.loss
        self.step, self.seconds, self.curve, self.recent = 0, 0.0, [], []
        self._resume()

    def _resume(self) -> None:
        stored = state.restore(self.run.keep, self.run.identity) if self.run.keep else None
        if stored is None:
            return
        self.network.load_state_dict(stored["network"])
        self.average = {name: tensor.to(self.device) for name, tensor in stored["average"].items()}
        self.optimiser.load_state_dict(stored["optimiser"])
        self.random.set_state(stored["random"])
        torch.set_rng_state(stored["noise"])
        if stored["phi"] is not None:
            self.sampling.renew(stored["phi"])
        self.step, self.seconds = stored["step"], stored["seconds"]
        self.curve, self.recent = stored["curve"], stored["recent"]

    def _checkpoint(self) -> None:
        keep = self.run.keep
        if keep is None or not self.peers.first:
            return
        state.store(keep, self.step, {
            "identity": self.run.identity, "network": self.network.state_dict(), "average": self.average,
            "optimiser": self.optimiser.state_dict(), "random": self.random.get_state(),
            "noise": torch.get_rng_state(),  # what a loss draws itself, such as the noise of a denoiser
            "phi": self.sampling.phi if self.recipe.renew_matrix else None,
            "step": self.step, "seconds": self.seconds, "curve": self.curve, "recent": self.recent,
        })  # fmt: skip
        write_atomically(keep.with_name(f"{keep.name}.curve.csv"), self._write_curve)

    def _write_curve(self, path: Path) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.curve[0]) if self.curve else ["step"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.curve)
        path.write_text(text.getvalue(), encoding="utf-8")

    def run_for(self, minutes: float) -> Result:
        """Take steps until the run is done, `minutes` are over or a stop is asked for."""
        every = self.run.validate_every or max(1, self.recipe.steps // 20)
        began = saved = clock = time.perf_counter()
        with _StopAsked() as stop:
            while self.step < self.recipe.steps:
                self.recent.append(self.one_step())
                self.step += 1
                now = time.perf_counter()
                self.seconds, clock = self.seconds + now - clock, now
                if self.step % every == 0 or self.step == self.recipe.steps:
                    self._validate()
                    clock = time.perf_counter()  # validating is not training
                over = stop.asked or now - began > 60 * minutes
                if over or now - saved > self.run.checkpoint_seconds:
                    self._checkpoint()
                    saved = clock = time.perf_counter()
                if self.peers.any(over):
                    break
        self._checkpoint()
        return self._result()

    def one_step(self) -> float:
        """Take one step of AdamW and return the loss."""
        recipe = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate_at(self.step)
        x = self._draw()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.precision == "bfloat16"):
            loss = self.loss(x, self.sampling)
        self.optimiser.zero_grad()
        loss.backward()
        self.peers.average(self.network)
        if recipe.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimiser.step()
        # A short memory at first, so that the average forgets the random start.
        decay = min(recipe.average, (1 + self.step) / (10 + self.step)) if recipe.average else 0.0
        with torch.no_grad():
            weights = self.network.state_dict()
            real = [name for name, tensor in weights.items() if tensor.is_floating_point()]
            torch._foreach_lerp_([self.average[name] for name in real], [weights[name] for name in real], 1 - decay)
            for name in weights.keys() - set(real):  # counters of batch normalisation
                self.average[name].copy_(weights[name])
        # Reading the loss waits for the device, so it is done only now and then.
        return loss.item() if self.device.type == "cpu" or self.step % 50 == 0 else math.nan

    def _draw(self) -> Tensor:
        """Draw the whole batch, the same on every peer, and return this peer's share of it."""
        recipe, random = self.recipe, self.random
        mine = self.peers.slice(recipe.batch)
        if not isinstance(self.sampling, MixedSampling):  # a network of one matrix and one ratio
            return self.patches.draw(recipe.batch, random)[mine]
        if recipe.renew_matrix and self.step % recipe.renew_matrix == 0:
            self.sampling.renew(_random_rows(self.sampling.m, random))
        x = self.patches.draw(recipe.batch, random)
        draws = recipe.batch if recipe.ratio_per_sample else 1
        which = torch.randint(len(self.run.ratios), (draws,), generator=random, device=self.device)
        self.sampling.choose(which.expand(recipe.batch)[mine])
        return x[mine]

    def _validate(self) -> None:
        if not self.peers.first:
            return
        network = self.network
        now = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(self.average)
        # Any matrix is as good as another, but to a network that is tied to one.
        seed = self.run.matrix_seed if isinstance(network, Tied) else 0
        values = validation_psnr(network, self.validation, self.run.ratios, matrix_seed=seed)
        network.load_state_dict(now)
        losses = [loss for loss in self.recent if loss == loss]
        self.recent = []
        row = {
            "step": self.step, "pixels": self.step * self.recipe.pixels_per_step,
            "minutes": round(self.seconds / 60, 3),
            "loss": sum(losses) / len(losses) if losses else math.nan, "rate": self.recipe.rate_at(self.step - 1),
        }  # fmt: skip
        row |= {f"psnr_{100 * ratio:g}": round(value, 4) for ratio, value in zip(self.run.ratios, values)}
        self.curve.append(row)
        self._report(row, sum(values) / len(values))

    def _report(self, row: dict[str, float], mean: float) -> None:
        if self.run.quiet:
            return
        speed = self.step * self.recipe.pixels_per_step / self.seconds
        left = (self.recipe.steps - self.step) * self.recipe.pixels_per_step / speed / 60
        text = (
            f"step {self.step}/{self.recipe.steps}  loss {row['loss']:.3e}  validation {mean:.2f} dB  "
            f"{speed / 1e6:.2f} Mpixel/s  {left:.1f} min left"
        )
        if sys.stderr.isatty():
            print(f"\r{text}  ", end="\n" if self.step == self.recipe.steps else "", file=sys.stderr, flush=True)

    def _result(self) -> Result:
        done = self.step >= self.recipe.steps
        if done:
            self.network.load_state_dict(self.average)
        speed = self.step * self.recipe.pixels_per_step / self.seconds if self.seconds else 0.0
        weights = {name: tensor.detach().cpu().clone() for name, tensor in self.average.items()}
        return Result(done, self.step, self.seconds / 60, speed, list(self.curve), weights)


def _compiled(network: Network) -> Callable[[Tensor, BlockSampling], Tensor]:
    """Return the network's loss through torch.compile; what cannot be compiled on a machine runs as it is."""
    torch._dynamo.config.suppress_errors = True
    return torch.compile(network.loss)


def _random_rows(m: int, random: torch.Generator) -> Tensor:
    """Return m random orthonormal rows of 1089 numbers, drawn on the generator's device."""
    gaussian = torch.randn(1089, 1089, generator=random, device=random.device, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    return (q * r.diagonal().sign()).T[:m]


class _StopAsked:
    """While active, Ctrl-C and SIGTERM ask for a stop after the current step instead of breaking it off."""

    def __enter__(self) -> "_StopAsked":
        self.asked = False
        self._before: dict[int, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        except ValueError:  # not in the main thread: no signals arrive there
            pass
        return self

    def _ask(self, *_: object) -> None:
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

"""One trainer for every network: it knows nothing of them but ``loss(x, sampling, error)``."""

import math
import sys
import time
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from istapp.basics.errors import UserError, reason, told
from istapp.basics.paths import write_table
from istapp.basics.progress import line, time_left
from istapp.basics.provenance import device_name
from istapp.method.base import Tied
from istapp.method.precision import exact_float32, lay_out
from istapp.training import state
from istapp.training.draws import Draws
from istapp.training.gradients import CLASSES, MODES, Gradient
from istapp.training.interrupts import StopAsked
from istapp.training.optimisers import optimisers, silence
from istapp.training.parallel import Peers
from istapp.training.patches import Patches
from istapp.training.recipe import Recipe
from istapp.training.run import Result, Run
from istapp.training.validation import split, validation_psnr

#: How much of the way to the fall of the rate is behind a run when it asks for its final budget, and the first steps of
#: a call that tell nothing of its speed.
NEAR, WARM = 0.85, 5


def train(run: Run, minutes: float = math.inf) -> Result:
    """Train until the recipe's pixels are seen, `minutes` are over, or Ctrl-C; the same call then goes on.

    A run that is done can be extended: the same call with a larger budget goes on from the state before the rate fell.
    The network ends with the averaged weights if the run is done.

    Raises:
        UserError: no image is large enough; `keep` holds another run's state, a damaged one, or one that has seen more
            than the budget; the loss is no longer finite (the last good state is kept).
    """
    return Trainer(run).run_for(minutes)


class Trainer:
    """The loop and everything it carries from step to step."""

    strict = False  # whether a mode that fails is an error

    def __init__(self, run: Run) -> None:
        self.run, self.recipe, self.settle = run, run.recipe.on(run.device), run.settle
        self.peers, self.device = Peers(run.device), torch.device(run.device)
        if self.device.type == "cuda":
            exact_float32()
        self.training, self.validation = split(run.images)
        self.network = run.network.to(self.device).train().requires_grad_(True)
        if (self.device.type, run.precision) != ("cuda", "float32"):  # where other layouts have slow kernels only
            lay_out(self.network)
        if self.recipe.silent_start:
            silence(self.network)
        self.optimisers = optimisers(self.network, self.recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=run.precision == "float16")
        self.average = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.step, self.pixels, self.seconds, self.curve = 0, 0, 0.0, []
        self.told = -math.inf  # when progress was last shown
        self.elsewhere: list[dict[str, Any]] = []
        self.decay_from: float | None = None
        self.total, self.counted = torch.zeros((), device=self.device), 0
        self._resume()
        self._prepare(self.recipe if self.decay_from is None else self.recipe.in_decay())

    def _prepare(self, now: Recipe) -> None:
        """Make ready what the size of a batch decides: patches, operator, draws, the compiled loss."""
        run, share = self.run, self.peers.share(now.batch)
        self.now = now
        sampling = self.network.operator(run.ratios, run.matrix_seed, share, self.device)
        patches = Patches(self.training, now.patch, self.device)
        self.draws = Draws(patches, sampling, now, run.ratios, run.seed, self.peers.slice(now.batch))
        error = now.measure()
        self.loss = self.network.loss if error is None else partial(self.network.loss, error=error)
        self.sampling, self.mode = sampling, run.mode
        self.gradient, self.proven = self._gradient_by(self.mode), False

    def _gradient_by(self, mode: str) -> Gradient:
        return CLASSES[mode](self.network, self.loss, self.sampling, self.scaler, self.run.precision)

    def compute(self, x: Tensor) -> Tensor:
        """Return the loss of a batch (B, 1, side, side), a scalar, and leave its gradients in the weights.

        A mode that fails at its first batch (no compiler, no memory) gives way to a simpler one, which is said.
        """
        while not self.proven:
            try:
                loss = self.gradient(x)
                self.proven = True
                return loss
            except UserError:
                raise
            except Exception as error:
                if self.strict or self.mode == MODES[0]:
                    raise
                simpler = MODES[MODES.index(self.mode) - 1]
                why = f"{self.mode} gradients fail here, so on with {simpler}: {reason(error)}"
                print(f"istapp: {why}", file=sys.stderr)
                self.mode = simpler
                self.gradient = self._gradient_by(simpler)
        return self.gradient(x)

    # ------------------------------------------------------------ state

    def _resume(self) -> None:
        stored = self._stored()
        if stored is None:
            return
        try:
            self._take(stored)
        except Exception as error:  # whatever PyTorch makes of tensors that are not this network's
            if told(error) or self.run.keep is None:  # want of memory is no damage
                raise
            raise state.damaged(self.run.keep.with_name(f"{self.run.keep.name}.*.pt"), reason(error)) from None

    def _take(self, stored: dict[str, Any]) -> None:
        """Become what was stored."""
        self.network.load_state_dict(stored["network"])
        self.average = {name: tensor.to(self.device) for name, tensor in stored["average"].items()}
        for optimiser, content in zip(self.optimisers, stored["optimisers"], strict=True):
            optimiser.load_state_dict(content)
        if "scaler" in stored and self.scaler.is_enabled():
            self.scaler.load_state_dict(stored["scaler"])
        self.step, self.pixels, self.seconds = stored["step"], stored["pixels"], stored["seconds"]
        self.curve, self.decay_from = [dict(row) for row in stored["curve"]], stored["decay_from"]
        machines = state.machines(stored)
        here_before = machines[-1:] and machines[-1]["device"] == device_name(self.device)
        self.elsewhere = machines[:-1] if here_before else machines
        self.total, self.counted = torch.tensor(stored["total"], device=self.device), stored["counted"]

    def _stored(self) -> dict[str, Any] | None:
        """Return the state to go on from: the newest, unless its rate falls towards another end."""
        run, recipe = self.run, self.recipe
        if run.keep is None or run.stable is None:
            return None
        stored = state.restore(run.keep, run.identity)
        if stored is not None and stored["decay_from"] is not None and stored["ending"] != recipe.ending:
            stored = None
        if stored is None:
            stored = state.restore(run.stable, run.identity)
        if stored and stored["decay_from"] is None and stored["pixels"] > recipe.stable_pixels + recipe.pixels_per_step:
            least = stored["pixels"] / max(1e-9, 1 - recipe.decay)
            raise UserError(
                f"{run.keep.name} has seen {stored['pixels'] / 1e6:.3g} million pixels, more than the first "
                f"{100 * (1 - recipe.decay):.0f} % of {recipe.pixels / 1e6:.3g} million: name a budget of at least "
                f"{math.ceil(least / 1e6)} million"
            )
        return stored

    @property
    def machines(self) -> list[dict[str, Any]]:
        """What each machine did: device, steps, pixels, minutes; the last is this one, once it has taken a step."""
        so_far = {"steps": self.step, "pixels": self.pixels, "minutes": self.seconds / 60}
        here = {key: value - sum(each[key] for each in self.elsewhere) for key, value in so_far.items()}
        return [*self.elsewhere, {"device": device_name(self.device), **here}] if here["steps"] else self.elsewhere

    @property
    def speed(self) -> float:
        """Pixels per second on the last machine, 0 before the first step."""
        last = self.machines[-1] if self.machines else {"minutes": 0}
        return last["pixels"] / (60 * last["minutes"]) if last["minutes"] else 0.0

    def _content(self) -> dict[str, Any]:
        """Return everything that the next step depends on, the sampling matrix left out: (seed, step) tells it."""
        return {
            "identity": self.run.identity, "network": self.network.state_dict(), "average": self.average,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step, "pixels": self.pixels, "seconds": self.seconds, "curve": self.curve,
            "machines": self.machines, "ending": self.recipe.ending, "decay_from": self.decay_from,
            "total": self.total.item(), "counted": self.counted,
        } | ({"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {})  # fmt: skip

    def _checkpoint(self, prefix: Path | None) -> None:
        self._refuse_what_is_not_finite()
        if prefix is None or not self.peers.first:
            return
        state.store(prefix, self.step, self._content())
        keep = self.run.keep
        if keep is not None:
            columns = list(self.curve[0]) if self.curve else ["step"]
            write_table(keep.with_name(f"{keep.name}.curve.csv"), columns, self.curve)

    def _refuse_what_is_not_finite(self) -> None:
        """Stop a run that has diverged before anything of it is stored.

        Raises:
            UserError: a loss since the last look, a weight, or a running moment is infinite or no number.
        """
        moments = [buffer for buffer in self.network.buffers() if buffer.is_floating_point()]
        tensors = [self.total, *self.network.parameters(), *moments]
        if bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all()):  # one wait for a GPU, not many
            return
        where = f"; the last good state is {self.run.keep}" if self.run.keep and state.exists(self.run.keep) else ""
        raise UserError(
            f"step {self.step}: a loss, weight or moment of {self.network.name} is not finite any more; "
            f"smaller rates may help{where}"
        )

    # ------------------------------------------------------------ the loop

    @property
    def done(self) -> bool:
        """Whether the budget is nearer than the next step's end."""
        return self.pixels + self.now.pixels_per_step / 2 >= self.recipe.pixels

    def run_for(self, minutes: float) -> Result:
        """Take steps until the run is done, `minutes` are over or a stop is asked for."""
        every = self.run.validate_every or max(1, self.recipe.steps // 20)
        began = saved = clock = time.perf_counter()
        first, metered = self.step, (self.seconds, self.pixels)
        with StopAsked() as stop:
            while not self.done:
                if self.step == first + WARM:
                    metered = (self.seconds, self.pixels)
                self._settle_in_time(*metered)
                self._begin_decay_in_time()
                self.one_step()
                now = time.perf_counter()
                self.seconds, clock = self.seconds + now - clock, now
                self._tell()
                if self.step % every == 0 or self.done:
                    self._validate()
                    clock = time.perf_counter()  # validating is not training
                over = stop.asked or now - began > 60 * minutes
                if over or now - saved > self.run.checkpoint_seconds:
                    self._checkpoint(self.run.keep)
                    saved = clock = time.perf_counter()
                if self.peers.any(over):
                    break
        if not self.run.quiet:
            line("")
        self._checkpoint(self.run.keep)
        if self.done and self.recipe.decay == 0:
            self._checkpoint(self.run.stable)
        return self._result()

    def _settle_in_time(self, since: float, seen: int) -> None:
        """Ask once, before the rate falls, which budget the clock affords at the speed that the steps have."""
        if self.settle is None or self.decay_from is not None or self.pixels < NEAR * self.recipe.stable_pixels:
            return
        speed = (self.pixels - seen) / max(1e-9, self.seconds - since)
        budget = self.settle(self.pixels, speed)
        least = self.pixels / max(1e-9, 1 - self.recipe.decay)
        self.recipe, self.now = (replace(r, pixels=max(budget, least)) for r in (self.recipe, self.now))
        self.settle = None

    def _begin_decay_in_time(self) -> None:
        """Where the rate is to fall from here on, keep the state as it is and change to the last part's patches."""
        if self.decay_from is not None or self.recipe.decay == 0:
            return
        if self.pixels + self.now.pixels_per_step / 2 < self.recipe.stable_pixels:
            return
        if self.pixels:
            self._checkpoint(self.run.stable)
        self.decay_from = self.pixels
        if self.recipe.in_decay() != self.now:
            self._prepare(self.recipe.in_decay())

    def one_step(self) -> None:
        """Take one step of the optimisers and count it."""
        factor = self.recipe.factor_at(self.pixels + self.now.pixels_per_step / 2, self.decay_from)
        loss = self.compute(self.draws.draw(self.step))
        self._update(factor)
        self._average_weights()
        self.step, self.pixels = self.step + 1, self.pixels + self.now.pixels_per_step
        self.total, self.counted = self.total + loss, self.counted + 1
        # Reading the loss waits for the device, so on a GPU it is done only now and then.
        if self.device.type == "cpu" or self.step % 50 == 0:
            self._refuse_what_is_not_finite()

    def _update(self, factor: float) -> None:
        """Let every optimiser take its step, the rates multiplied by `factor`, the gradient clipped.

        Where float16 overflows for one of them, none steps.
        """
        self.peers.average(self.network)
        for optimiser in self.optimisers:
            self.scaler.unscale_(optimiser)
        whole, scaled = True, self.scaler.is_enabled()
        if self.recipe.clip or scaled:
            norm = nn.utils.clip_grad_norm_(self._weights, self.recipe.clip or math.inf)
            whole = not scaled or bool(norm.isfinite())
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = factor * group["peak"]
            if whole:
                self.scaler.step(optimiser)
        self.scaler.update()

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Move the average towards the weights; a short memory at first, so that it forgets the random start."""
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step)) if self.recipe.average else 0.0
        real, counters = self._averaged
        torch._foreach_lerp_(*real, 1 - decay)
        for mean, value in counters:
            mean.copy_(value)

    @cached_property
    def _weights(self) -> list[nn.Parameter]:
        """The network's weights: to walk through its modules for them takes longer than to clip their gradients."""
        return list(self.network.parameters())

    @cached_property
    def _averaged(self) -> tuple[tuple[list[Tensor], list[Tensor]], list[tuple[Tensor, Tensor]]]:
        """The average and the weights side by side, and the counters of batch normalisation."""
        pairs = [(self.average[name], weight) for name, weight in self.network.state_dict().items()]
        real = [pair for pair in pairs if pair[0].is_floating_point()]
        means, weights = ([pair[i] for pair in real] for i in (0, 1))
        return (means, weights), [pair for pair in pairs if not pair[0].is_floating_point()]

    # ------------------------------------------------------------ telling

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
        loss = self.total.item() / self.counted if self.counted else math.nan
        self.total, self.counted = torch.zeros_like(self.total), 0
        rate = self.recipe.rate * self.recipe.factor_at(self.pixels, self.decay_from)
        minutes = round(self.seconds / 60, 3)
        row = {"step": self.step, "pixels": self.pixels, "minutes": minutes, "loss": loss, "rate": rate}
        row |= {f"psnr_{100 * ratio:g}": round(value, 4) for ratio, value in zip(self.run.ratios, values)}
        self.curve.append(row)
        self._tell(log=True)

    def _tell(self, log: bool = False) -> None:
        """Show how far the training is, how long it will take and how good it was last, once a second at most."""
        now = time.monotonic()
        if self.run.quiet or not self.peers.first or (now - self.told < 1 and not log):
            return
        self.told, speed = now, self.speed
        parts = [f"{self.pixels / 1e6:.1f} of {self.recipe.pixels / 1e6:.1f} Mpixel", f"{speed / 1e6:.3f} a second"]
        parts.append(time_left(max(0.0, self.recipe.pixels - self.pixels) / speed))
        if self.curve:
            values = [value for name, value in self.curve[-1].items() if name.startswith("psnr_")]
            parts.append(f"validation {sum(values) / len(values):.2f} dB")
        name = f"{self.run.keep.name}: " if self.run.keep else ""
        line(name + ", ".join(parts), log)

    def _result(self) -> Result:
        if self.done:
            self.network.load_state_dict(self.average)
        weights = {name: tensor.detach().cpu().clone() for name, tensor in self.average.items()}
        return Result(
            self.done, self.step, self.pixels, self.seconds / 60, self.speed, list(self.curve), weights,
            self.recipe.pixels, self.machines,
        )  # fmt: skip

"""What every method is: measurements and operator in, image out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any, Self

import torch
from torch import Tensor, nn

from istapp.basics.errors import UserError
from istapp.method.precision import lay_out
from istapp.metrics import ErrorMeasure, mean_squared
from istapp.sampling import BlockSampling, MixedSampling


@dataclass(frozen=True)
class Option:
    """A setting of a method that its user may choose: a word of `choices`, or a number like `default`, whole or not.

    Attributes:
        name: as after ``--option``, and as a parameter of the method's ``build``.
        default: what holds where nothing is said; an integer asks for whole numbers.
        meaning: one line for `istapp methods NAME`.
        low: the smallest number allowed.
        high: the largest number allowed.
        choices: the words allowed; empty for a number.
    """

    name: str
    default: float | str
    meaning: str = ""
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """What may be given, as text."""
        if self.choices or isinstance(self.default, str):
            return " or ".join(self.choices) or "text"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        ends = [f"from {self.low:g}"] * (self.low > -math.inf) + [f"up to {self.high:g}"] * (self.high < math.inf)
        return " ".join([kind, *ends])

    def check(self, value: object, method: str) -> float | str:
        """Return a value, or the text of one, as the method takes it.

        Raises:
            UserError: it is outside the range.
        """
        wrong = UserError(f"{method}: the option {self.name} is {self.range}, not {value!r}")
        if self.choices or isinstance(self.default, str):
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise wrong
            return value
        whole = isinstance(self.default, int)
        if isinstance(value, bool) or (whole and not isinstance(value, (str, Integral))):
            raise wrong
        try:
            number = int(value) if whole else float(value)  # type: ignore[call-overload]
        except (TypeError, ValueError, OverflowError):
            raise wrong from None
        if not self.low <= number <= self.high:
            raise wrong
        return number


class Method:
    """One system of Table 1. Subclasses implement ``__call__`` (a network: ``forward``).

    Attributes:
        name: as on the command line.
        kind: ``classical``, ``network`` or ``untrained network``.
        ratios: the CS ratios it can serve, None for any.
        blockwise: whether it reconstructs each block alone, seeing no neighbours.
        parameter_count: trainable numbers in it.
        variant: what else differs from the published form, for the rows of results.
        weights: where its weights came from; empty for a method without.
        options: what its user may choose beside the weights.
    """

    name: str = ""
    kind: str = "classical"
    ratios: tuple[float, ...] | None = None
    blockwise: bool = False
    parameter_count: int = 0
    variant: str = ""
    weights: str = ""
    options: tuple[Option, ...] = ()

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct (B, m, h, w) measurements to (B, 1, block*h, block*w) images, unclipped and detached."""
        raise NotImplementedError

    def sampling(self, ratio: float, seed: int = 0) -> BlockSampling:
        """Return the operator this method measures with at `ratio`.

        Raises:
            UserError: the method cannot serve that ratio.
        """
        self.check_ratio(ratio)
        return BlockSampling(ratio, seed)

    def to(self, device: str | torch.device) -> "Method":
        """Move what it holds to a device; most methods hold nothing and follow their input."""
        return self

    def tensors(self, ratio: float) -> dict[str, Tensor]:
        """Return by name the tensors that it computes with at `ratio`: what it was given, such as weights."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def check_ratio(self, ratio: float) -> None:
        """Raise UserError unless `ratio` is one that the method serves."""
        if self.ratios is not None and not any(abs(ratio - served) < 1e-6 for served in self.ratios):
            served = ", ".join(f"{100 * r:g}" for r in self.ratios)
            raise UserError(f"{self.name} was trained for a ratio of {served} %, not {100 * ratio:g} %")


class Network(nn.Module, Method):
    """A trainable method: ``forward(y, sampling)`` and ``loss(x, sampling)``, which is all a trainer knows.

    Attributes:
        config: the arguments that build it again, for headers.
        block_alone: its authors run it on every block alone, so that is how `found.build` returns it.
    """

    kind = "network"
    block_alone: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, Any] = {}

    @property
    def parameter_count(self) -> int:
        """Trainable numbers in the network."""
        return sum(p.numel() for p in self.parameters())

    def tensors(self, ratio: float) -> dict[str, Tensor]:
        """Return the weights, and matrices of its own where it has some."""
        return self.state_dict() | super().tensors(ratio)

    def operator(
        self, ratios: Sequence[float], seed: int = 0, batch: int = 1, device: str | torch.device = "cpu"
    ) -> BlockSampling:
        """Return what a trainer measures a batch of patches with: any of `ratios` for each of them."""
        return MixedSampling(ratios, seed, batch, device)

    def loss(self, x: Tensor, sampling: BlockSampling, error: ErrorMeasure = mean_squared) -> Tensor:
        """Return the error of reconstructing (B, 1, H, W) images from their measurements, a scalar.

        The measure is the recipe's; what a network's authors add to it is the network's.
        """
        return error(self(sampling.A(x), sampling), x)

    def matrices(self) -> list[str]:
        """Return the names of the weights that lead from features to features, whose steps Muon may turn.

        By default the convolutions with more than two channels on both sides.
        """
        return [name for name, weight in self.named_parameters() if weight.ndim == 4 and min(weight.shape[:2]) > 2]

    def silent(self) -> list[str]:
        """Return the names of the weights that a recipe may set to zero at the start: the last ones before a skip.

        With them every stage begins by passing its input on, and the network as the iteration that it unrolls.
        """
        return []

    def fill(self, tensors: dict[str, Tensor], source: str) -> Self:
        """Load weights and freeze them, so that calling the network gives detached images.

        Raises:
            UserError: the tensors are not this network's, by name or shape.
        """
        own = {name: tuple(tensor.shape) for name, tensor in self.state_dict().items()}
        given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if own != given:
            wrong = sorted(set(own.items()) ^ set(given.items()))[0][0]
            raise UserError(f"{source} does not fit {self.name} {self.config}: it differs first at '{wrong}'")
        self.load_state_dict(tensors)
        lay_out(self)
        self.weights = source
        return self.eval().requires_grad_(False)


class Tied(Network):
    """A network whose first layer learned one sampling matrix: it serves that one and refuses any other.

    Its config holds ``ratio`` and ``matrix_seed``; a subclass with another kind of matrix overrides `draw`.
    """

    def draw(self, ratio: float, seed: int) -> BlockSampling:
        """Return the operator of that seed, of the network's kind."""
        return BlockSampling(ratio, seed)

    def sampling(self, ratio: float, seed: int = 0) -> BlockSampling:
        """Return the operator that the network was trained with.

        Raises:
            UserError: another ratio or another seed is asked for.
        """
        self.check_ratio(ratio)
        own = self.config["matrix_seed"]
        if seed != own:
            raise UserError(f"{self.name} works only with the matrix it was trained for: seed {own}, not {seed}")
        return self.draw(ratio, seed)

    def operator(
        self, ratios: Sequence[float], seed: int = 0, batch: int = 1, device: str | torch.device = "cpu"
    ) -> BlockSampling:
        """Return the one operator that the network will ever see, at its one ratio."""
        (ratio,) = ratios
        return self.sampling(ratio, seed)

    def check_matrix(self, sampling: BlockSampling) -> None:
        """Raise UserError unless `sampling` is the network's own operator."""
        for what in ("kind", "block", "m", "seed"):
            theirs, ours = getattr(sampling, what), getattr(self._own, what)
            if theirs != ours:
                raise UserError(
                    f"{self.name} works only with the matrix it was trained for: {what} {ours}, not {theirs}; "
                    f"take the operator that its method sampling({self.config['ratio']:g}, {self._own.seed}) returns"
                )

    @cached_property
    def _own(self) -> BlockSampling:
        return self.draw(self.config["ratio"], self.config["matrix_seed"])


class Blockwise(Method):
    """A method without its cross-block path: every block is reconstructed as an image of its own.

    Nothing else changes; it is all the difference between settings (a) and (b) of Table 4.
    Chapter 04 shows both.
    """

    blockwise = True

    def __init__(self, method: Method, published: bool = False) -> None:
        """Wrap `method`; `published`: that is how its authors run it, so it is no variant."""
        self.method = method
        self.name, self.kind, self.ratios = method.name, method.kind, method.ratios
        self.parameter_count, self.weights = method.parameter_count, method.weights
        self._mark = "" if published else "blockwise"

    @property
    def variant(self) -> str:
        """What the wrapped method says of itself, which a run may change, and that this is it block by block."""
        return "; ".join(filter(None, [self.method.variant, self._mark]))

    def sampling(self, ratio: float, seed: int = 0) -> BlockSampling:
        """Return the wrapped method's operator."""
        return self.method.sampling(ratio, seed)

    def tensors(self, ratio: float) -> dict[str, Tensor]:
        """Return the wrapped method's tensors."""
        return self.method.tensors(ratio)

    def to(self, device: str | torch.device) -> "Blockwise":
        """Move the wrapped method to a device."""
        self.method.to(device)
        return self

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Fold the h x w blocks into the batch, reconstruct, unfold."""
        batch, m, h, w = y.shape
        block = sampling.block
        singles = y.permute(0, 2, 3, 1).reshape(batch * h * w, m, 1, 1)
        x = self.method(singles, sampling).view(batch, h, w, block, block)
        return x.permute(0, 1, 3, 2, 4).reshape(batch, 1, h * block, w * block)


class PerRatio(Method):
    """A network published as one set of weights per ratio: each measurement goes to the one for its ratio."""

    kind = "network"

    def __init__(self, networks: Sequence[Method]) -> None:
        """Serve the ratios of `networks`, each of which serves exactly one."""
        self.networks = {network.ratios[0]: network for network in networks if network.ratios}
        first = networks[0]
        self.name, self.blockwise, self.variant = first.name, first.blockwise, first.variant
        self.ratios = tuple(sorted(self.networks))
        self.parameter_count = sum(network.parameter_count for network in networks)
        self.weights = ", ".join(network.weights for network in networks)

    def sampling(self, ratio: float, seed: int = 0) -> BlockSampling:
        """Return the operator of the network trained for `ratio`."""
        return self._network(ratio).sampling(ratio, seed)

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct with the network trained for the operator's ratio."""
        return self._network(sampling.ratio)(y, sampling)

    def tensors(self, ratio: float) -> dict[str, Tensor]:
        """Return the tensors of the network trained for `ratio`."""
        return self._network(ratio).tensors(ratio)

    def _network(self, ratio: float) -> Method:
        self.check_ratio(ratio)
        return min(self.networks.items(), key=lambda item: abs(item[0] - ratio))[1]

    def to(self, device: str | torch.device) -> "PerRatio":
        """Move all weights to a device."""
        for network in self.networks.values():
            network.to(device)
        return self


def blockwise(method: Method) -> Method:
    """Return `method` without its cross-block path; one that has none already is returned as it is."""
    return method if method.blockwise else Blockwise(method)

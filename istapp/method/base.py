"""What every method is: measurements and operator in, image out."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor, nn

from istapp.basics.errors import UserError
from istapp.method.options import Option
from istapp.method.precision import lay_out
from istapp.metrics import ErrorMeasure, mean_squared
from istapp.sampling import BlockSampling, MixedSampling


class Method:
    """One system of Table 1. Subclasses implement ``__call__`` (a network: ``forward``).

    Attributes:
        name: as on the command line.
        kind: ``classical``, ``network`` or ``untrained network``.
        ratios: the CS ratios it can serve, None for any.
        blockwise: whether it reconstructs each block alone, seeing no neighbours.
        parameter_count: trainable numbers in it.
        variant: what else differs from the published form, for the rows of results.
        stand_in: a variant that may stand beside the published form, where that cannot be had; it decides nothing.
        weights: where its weights came from; empty for a method without.
        options: what its user may choose beside the weights.
    """

    name: str = ""
    kind: str = "classical"
    ratios: tuple[float, ...] | None = None
    blockwise: bool = False
    parameter_count: int = 0
    variant: str = ""
    stand_in: str = ""
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
        block_alone: its authors run it on every block alone, so that is how `wrapping.as_published` runs it.
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

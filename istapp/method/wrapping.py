"""Methods made of others: one with something changed around it, block by block, or a network for each ratio."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from istapp.basics.errors import UserError
from istapp.method.base import Method, Network
from istapp.sampling import BlockSampling


class Wrapped(Method):
    """A method that passes on what another one is and does; subclasses change something of it."""

    def __init__(self, method: Method, mark: str = "") -> None:
        """Wrap `method`; `mark` is what the rows say of the change."""
        self.method, self._mark = method, mark
        self.name, self.kind, self.ratios = method.name, method.kind, method.ratios
        self.blockwise, self.parameter_count, self.weights = method.blockwise, method.parameter_count, method.weights

    @property
    def variant(self) -> str:
        """What the wrapped method says of itself, which a run may change, and the mark."""
        return "; ".join(filter(None, [self.method.variant, self._mark]))

    def sampling(self, ratio: float, seed: int = 0) -> BlockSampling:
        """Return the wrapped method's operator."""
        return self.method.sampling(ratio, seed)

    def tensors(self, ratio: float) -> dict[str, Tensor]:
        """Return the wrapped method's tensors, and those that the change is made with."""
        return self.method.tensors(ratio) | super().tensors(ratio)

    def to(self, device: str | torch.device) -> Self:
        """Move the wrapped method to a device."""
        self.method.to(device)
        return self

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct with the wrapped method."""
        return self.method(y, sampling)


class Blockwise(Wrapped):
    """A method without its cross-block path: every block is reconstructed as an image of its own.

    Nothing else changes; it is all the difference between settings (a) and (b) of Table 4.
    Chapter 04 shows both.
    """

    def __init__(self, method: Method, published: bool = False) -> None:
        """Wrap `method`; `published`: that is how its authors run it, so it is no variant."""
        super().__init__(method, "" if published else "blockwise")
        self.blockwise = True

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Fold the h x w blocks into the batch, reconstruct, unfold."""
        batch, m, h, w = y.shape
        block = sampling.block
        singles = y.permute(0, 2, 3, 1).reshape(batch * h * w, m, 1, 1)
        x = self.method(singles, sampling).view(batch, h, w, block, block)
        return x.permute(0, 1, 3, 2, 4).reshape(batch, 1, h * block, w * block)


def as_published(network: Network) -> Method:
    """Return what reconstructs with a network as its authors do: each block alone, or the network itself."""
    return Blockwise(network, published=True) if network.block_alone else network


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

    def to(self, device: str | torch.device) -> Self:
        """Move all weights to a device."""
        for network in self.networks.values():
            network.to(device)
        return self


def blockwise(method: Method) -> Method:
    """Return `method` without its cross-block path; one that has none already is returned as it is."""
    return method if method.blockwise else Blockwise(method)


def whole_image(method: Method) -> Method:
    """Return `method` on the whole image at once, where its authors run it on every block alone.

    Chapter 08 asks what that is worth to a network that was trained on single blocks.

    Raises:
        UserError: it does so already, or cannot.
    """
    if isinstance(method, PerRatio):
        return PerRatio([whole_image(network) for network in method.networks.values()])
    if not isinstance(method, Blockwise):
        why = "computes every block alone" if method.blockwise else "reconstructs the whole image at once as it is"
        raise UserError(f"{method.name} {why}")
    return Wrapped(method.method, "whole image")

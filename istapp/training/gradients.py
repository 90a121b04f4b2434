"""How the loss and the gradient of a batch are computed: eagerly, with compiled stages, as one CUDA graph, and as one
whose stages are kernels of our own.

Every way computes the same function, up to rounding; `istapp.training.calibration` finds out which of them a machine
can do, and which is fastest there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from istapp.sampling import BlockSampling

#: Ways to compute, each the fall-back of the one after it.
MODES = ("eager", "compiled", "graph", "kernels")

#: What torch.compile hands a stage to.
BACKEND = "inductor"

Loss = Callable[[Tensor, BlockSampling], Tensor]


class Gradient:
    """Called with a batch it returns the loss and leaves the gradients in the network's weights."""

    def __init__(
        self, network: nn.Module, loss: Loss, sampling: BlockSampling, scaler: torch.amp.GradScaler, precision: str
    ) -> None:
        """Compute `loss` with the convolutions in `precision`; the operator is changed in place between batches."""
        self.network, self.loss, self.sampling, self.scaler = network, loss, sampling, scaler
        self.precision = getattr(torch, precision)
        self.cache = True  # of weights that autocast has converted

    def __call__(self, x: Tensor) -> Tensor:
        """Compute on a batch (B, 1, H, W); the gradients are those of the scaled loss, the loss (a scalar) is not."""
        half = self.precision != torch.float32
        with chosen_by_trial():
            with torch.autocast(x.device.type, self.precision, enabled=half, cache_enabled=self.cache):
                loss = self.loss(x, self.sampling)
            self.network.zero_grad()
            self.scaler.scale(loss).backward()
        return loss.detach()


class Compiled(Gradient):
    """The same with one compiled stage that all stages share, so that the start-up is that of one stage."""

    def __call__(self, x: Tensor) -> Tensor:
        """Compute on a batch."""
        with computing_by(self.network, self.forwards()):
            return super().__call__(x)

    def forwards(self) -> list[Callable[..., Tensor]]:
        """Return the functions by which the network's stages compute in this way."""
        return [MethodType(_compiled_forward(self.network, type(stage)), stage) for stage in _stages(self.network)]


class Graphed(Compiled):
    """The same, forward and backward recorded once as a CUDA graph and replayed on every batch.

    Everything that the graph reads lies in fixed memory: the batch is copied to it, weights, ratios, masks and matrix
    change in place. Optimisers and draws stay outside.
    """

    graph: "torch.cuda.CUDAGraph | None" = None

    def __call__(self, x: Tensor) -> Tensor:
        """Compute on a batch, of the same shape every time."""
        if self.graph is None:
            self._record(x)
        self.x.copy_(x)
        self.graph.replay()  # type: ignore[union-attr]
        return self.value

    def _record(self, x: Tensor) -> None:
        self.x, self.cache = x.clone(), False
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        with torch.random.fork_rng([x.device]):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):  # what is set up once must not be recorded
                    super().__call__(self.x)
            torch.cuda.current_stream().wait_stream(side)
            self.network.zero_grad()  # the recorded gradients then write to memory of the graph, and do not add
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.value = super().__call__(self.x)
        with torch.no_grad():
            for name, buffer in self.network.named_buffers():
                buffer.copy_(buffers[name])
        self.graph = graph


class Kernels(Graphed):
    """The same with stages that are kernels of our own, for the networks that have them; nothing is compiled."""

    def forwards(self) -> list[Callable[..., Tensor]]:
        """Return the functions by which the network's stages compute in this way.

        Raises:
            NotImplementedError: the network's stages have no kernels, or its precision is not bfloat16.
        """
        if self.precision != torch.bfloat16:
            raise NotImplementedError(f"there are kernels for bfloat16, not {self.precision}")
        stages = _stages(self.network)
        own: list[Any] = [stage.by_kernels for stage in stages if hasattr(stage, "by_kernels")]
        if len(own) < len(stages):
            raise NotImplementedError(f"there are no kernels for the stages of {type(self.network).__name__}")
        return own


@contextmanager
def chosen_by_trial() -> Iterator[None]:
    """Let a GPU's library try its convolutions on the shapes of a training, which stay, and take the fastest.

    Few channels, as in the first and last layer of a stage, are where its own guess is furthest off. Outside of
    training, where shapes change with every image, trying would cost more than it saves.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


CLASSES: dict[str, type[Gradient]] = dict(zip(MODES, (Gradient, Compiled, Graphed, Kernels)))

_shared: dict[tuple[str, type], Callable[..., Tensor]] = {}


@contextmanager
def computing_by(network: nn.Module, forwards: Sequence[Any]) -> Iterator[None]:
    """Let every stage of a network compute by another function.

    Only inside the context: validation and tests, which come in other shapes, stay eager and compile nothing.
    """
    stages = _stages(network)
    for stage, forward in zip(stages, forwards, strict=True):
        stage.forward = forward
    try:
        yield
    finally:
        for stage in stages:
            del stage.forward


def _stages(network: nn.Module) -> list[nn.Module]:
    """Return the stages of a network, itself where it has none."""
    return list(getattr(network, "stages", ())) or [network]


def _compiled_forward(network: nn.Module, kind: type) -> Callable[..., Tensor]:
    """Return the compiled forward of a class of stages; what was compiled for networks of another kind is dropped."""
    key = f"{type(network).__name__} {getattr(network, 'config', '')}"
    if any(other != key for other, _ in _shared):
        _shared.clear()
        torch._dynamo.reset()
    if (key, kind) not in _shared:
        _shared[key, kind] = torch.compile(kind.forward, backend=BACKEND, dynamic=False)
    return _shared[key, kind]

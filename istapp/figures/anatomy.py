"""What happens in a network: one forward pass observed, every module and every operation between them, with shapes.

Nothing here knows an architecture. Chapter 11 draws ISTA-Net++ from what `observe` returns, so that its drawings cannot
disagree with the network.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from istapp.method.base import Network
from istapp.sampling import BlockSampling

#: The operations that are written down, beside modules and the two maps of the sampling operator.
OPERATIONS = ("relu", "cat", "sub", "mul", "add")


@dataclass(frozen=True)
class Step:
    """One thing that happened in a forward pass: a module was called, or an operation was done between modules.

    Attributes:
        inside: path of the module that did it, empty for the network itself.
        path: path of the module that was called, empty for an operation.
        kind: the module's class, the operation's name, or ``A`` and ``adjoint`` for the sampling operator.
        inputs: shapes of the images or features that went in.
        sources: for each of them the number of the step that made it, None where none did.
        output: shape of what came out.
        kernel: shape of the weight (of the operator: m filters), empty without one.
        parameters: trainable numbers in the module.
    """

    inside: str
    path: str
    kind: str
    inputs: tuple[tuple[int, ...], ...]
    sources: tuple[int | None, ...]
    output: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    parameters: int = 0


class _Recorder(TorchFunctionMode):
    """Writes down what happens in a network while it runs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.running: list[tuple[str, nn.Module]] = [("", network)]
        self.made: dict[int, tuple[int, Tensor]] = {}  # id -> step; the tensor is kept, or its id might come back

    def leave(self, path: str, module: nn.Module, args: tuple, output: Any) -> None:
        """Note what a module has made, as it ends."""
        self.running.pop()
        output = output if isinstance(output, Tensor) else output[0]  # a pair: what goes on
        weight = getattr(module, "weight", None)
        kernel, count = () if weight is None else tuple(weight.shape), sum(p.numel() for p in module.parameters())
        self.add(path, type(module).__name__, args, output, kernel, count)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        name, module = getattr(func, "__name__", ""), self.running[-1][1]
        if name in OPERATIONS and next(module.children(), None) is not None:  # not what a layer is made of
            self.add("", name, args[0] if name == "cat" else args, output, ())
        return output

    def watched(self, sampling: BlockSampling) -> BlockSampling:
        """Return the operator, its two maps written down when they are used."""
        seen, filters = copy.copy(sampling), (sampling.m, 1, sampling.block, sampling.block)

        def watch(name: str) -> Callable[[Tensor], Tensor]:
            """Return one of the two maps, which notes that it was used."""

            def use(given: Tensor) -> Tensor:
                """Map, and note it."""
                output = getattr(sampling, name)(given)
                self.add("", name, (given,), output, filters)
                return output

            return use

        seen.A, seen.adjoint = watch("A"), watch("adjoint")  # type: ignore[method-assign]
        return seen

    def add(
        self, path: str, kind: str, given: Sequence[Any], output: Tensor, kernel: tuple[int, ...], count: int = 0
    ) -> None:
        """Add a part that made `output` of what was `given`, with the shape of its kernel and its parameters."""
        tensors = [a for a in given if isinstance(a, Tensor)]
        sources = tuple(self.made[id(a)][0] if id(a) in self.made else None for a in tensors)
        self.made[id(output)] = len(self.steps), output
        inputs = tuple(tuple(a.shape) for a in tensors)
        inside = self.running[-1][0]
        self.steps.append(Step(inside, path, kind, inputs, sources, tuple(output.shape), kernel, count))


@torch.no_grad()
def observe(network: Network, x: Tensor, sampling: BlockSampling) -> list[Step]:
    """Measure images (B, 1, 33h, 33w), reconstruct them, and return all that happened, in the order of completion."""
    recorder, hooks = _Recorder(network), []
    for path, module in network.named_modules():
        if path:
            enter = lambda m, a, path=path: recorder.running.append((path, m))  # noqa: E731
            leave = lambda m, a, out, path=path: recorder.leave(path, m, a, out)  # noqa: E731
            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with recorder:
            seen = recorder.watched(sampling)
            network(seen.A(x), seen)
    finally:
        for hook in hooks:
            hook.remove()
    return recorder.steps

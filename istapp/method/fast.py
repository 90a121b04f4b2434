"""The fast path: in which layout and number format a device multiplies fastest, and a method that runs that way.

    fast(method, "cpu")            in Python
    istapp evaluate ... --fast     on the command line

Images and operator stay float32 throughout; what changes is the arithmetic of the convolutions between them. Tables are
made in float32.
"""

from collections.abc import Callable, Iterator
from functools import cache
from types import MethodType

import torch
from torch import Tensor, nn

from istapp.method.base import Method
from istapp.method.precision import lay_out, native
from istapp.method.wrapping import PerRatio, Wrapped
from istapp.sampling import BlockSampling


def networks(method: Method) -> Iterator[nn.Module]:
    """Yield the networks inside a method; none for a classical one."""
    if isinstance(method, nn.Module):
        yield method
    elif isinstance(method, PerRatio):
        for each in method.networks.values():
            yield from networks(each)
    elif isinstance(method, Wrapped):
        yield from networks(method.method)


class Fast(Wrapped):
    """A method whose networks compute channels-last in a device's own number format, compiled where that pays.

    What it says of itself in rows names the number format where that is not float32. A method without networks, or an
    input in float64, is computed as ever.
    """

    def __init__(
        self, method: Method, device: str | torch.device = "cpu", many: bool = False, precision: str = ""
    ) -> None:
        """Wrap `method` for a device.

        `many`: so many images follow that a quarter of a minute of compilation pays on a processor, too; on a GPU it
        always does. `precision` overrides what is `native` on the device.
        """
        where = torch.device(device)
        self.precision, self._own = precision or native(where), list(networks(method))
        super().__init__(method.to(where), self.precision if self._own and self.precision != "float32" else "")
        for network in self._own:
            lay_out(network)
            if many or where.type == "cuda":
                compile_stages(network)

    def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct (B, m, h, w) measurements to (B, 1, block*h, block*w) images in the dtype of `y`."""
        half = bool(self._own) and self.precision != "float32" and y.dtype == torch.float32
        with torch.autocast(y.device.type, getattr(torch, self.precision), enabled=half):
            return self.method(y, sampling)


def fast(method: Method, device: str | torch.device = "cpu", many: bool = False) -> Fast:
    """Return `method` as a device runs it fastest, for one image or for `many`, see `Fast`."""
    return Fast(method, device, many)


def compile_stages(network: nn.Module) -> None:
    """Let torch.compile fuse every stage in place; a stage that a machine cannot compile runs as it is.

    One compiled function serves all stages of a class, so that the start-up is that of one stage.
    """
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)  # sizes of images differ
    for stage in getattr(network, "stages", ()):
        stage.forward = MethodType(_compiled(type(stage)), stage)


@cache
def _compiled(kind: type) -> Callable[..., Tensor]:
    return torch.compile(kind.forward)

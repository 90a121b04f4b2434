r"""MAC-Net (ECCV 2020): every stage explains what the measurements still hold; one network per ratio and matrix.

The residual measurement cascade, for i = 1 ... 8, on 16 x 16 blocks and the unnormalised Gaussian matrix of DPA-Net,
from :math:`y_1 = y` and :math:`x_0 = 0`, images in [-1, 1]:

.. math::
   r_i &= f_i(y_i, [r_1 ... r_{i-1}]) \\
   y_{i+1} &= y_i - \Phi r_i \\
   x_i &= \mathrm{hardtanh}(x_{i-1} + r_i)

Each :math:`f_i` climbs to the resolution of the image in two steps of four; from the second on it takes over from the
memory of earlier stages what its attention lets through. The first has 5 x 5 kernels, the others 3 x 3.

**Count.** With a bias in every convolution and :math:`\gamma`, :math:`\beta` in every batch normalisation this is
exactly the released graph: 2,983,944, 3,569,672, 4,132,872, 4,718,600 and 5,281,800 parameters at 10 to 50 %. Table 1
prints 6.12 M for any ratio, which no ratio comes to.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp.basics.errors import UserError
from istapp.methods.dpa_net import Bottleneck, SmallBlocks, convolution, initialise
from istapp.metrics import ErrorMeasure, mean_absolute
from istapp.sampling import BlockSampling


class Memory(nn.Module):
    """Memory attention: earlier stages' images, gated by this stage's features, are merged into them."""

    def __init__(self, width: int, earlier: int) -> None:
        super().__init__()
        self.read = convolution(earlier, width)
        self.gate = nn.Sequential(convolution(width, width), nn.SELU(), convolution(width, width), nn.Softmax(1))
        self.merge = convolution(2 * width, width, 1)

    def forward(self, n: Tensor, memory: Tensor) -> Tensor:
        """Merge a memory (B, earlier, H, W) into features (B, width, H, W), whose shape is kept."""
        recalled = F.selu(F.selu(self.read(memory)) * self.gate(n))
        return F.selu(self.merge(torch.cat([n, recalled], 1)))


class Stage(nn.Module):
    """One stage f_i: measurements and the memory of `earlier` stages in, an image in [-1, 1] out."""

    def __init__(self, m: int, width: int, kernel: int, earlier: int) -> None:
        super().__init__()
        wide, narrow = 4 * width, width // 4
        self.first = convolution(m, wide, kernel)
        self.low = Bottleneck(wide, width, kernel)
        self.up = convolution(narrow, wide, kernel)
        self.middle = Bottleneck(wide, width, kernel)
        self.top = convolution(narrow, width, kernel)
        self.memory = Memory(width, earlier) if earlier else None
        self.core = nn.ModuleList(Bottleneck(width, narrow, kernel) for _ in range(2))
        self.last = convolution(width, 1, kernel)

    def forward(self, y: Tensor, memory: Tensor | None) -> Tensor:
        """Return the image (B, 1, 16h, 16w) of measurements (B, m, h, w); `memory` is (B, earlier, 16h, 16w)."""
        n = F.selu(self.low(F.selu(self.first(y))))
        n = F.selu(self.up(F.selu(F.pixel_shuffle(n, 4))))
        n = F.selu(self.middle(n))
        n = F.selu(self.top(F.selu(F.pixel_shuffle(n, 4))))
        if self.memory is not None:
            n = self.memory(n, memory)
        before = n
        for bottleneck in self.core:
            n = F.selu(bottleneck(n))
        return F.hardtanh(self.last(F.selu(before + n))).to(y.dtype)


class MACNet(SmallBlocks):
    """MAC-Net of `stages` stages and `width` features (published: 8 and 64) for one ratio and one matrix."""

    name = "mac-net"

    def __init__(self, stages: int = 8, width: int = 64, ratio: float = 0.1, matrix_seed: int = 0) -> None:
        """Draw a network to be trained.

        Raises:
            UserError: no stage, or a width that is not a multiple of 4.
        """
        super().__init__(ratio, matrix_seed)
        if stages < 1 or width < 4 or width % 4:
            raise UserError(
                f"MAC-Net has 1 stage or more and a width that is a multiple of 4, not {stages} and {width}"
            )
        self.config = {"stages": stages, "width": width, **self.config}
        m = self.draw(ratio, matrix_seed).m
        self.stages = nn.ModuleList(Stage(m, width, 3 if i else 5, earlier=i) for i in range(stages))
        # As published at 64 features; a narrower network keeps the gain of its layers.
        std = 0.02 * (64 / width) ** 0.5
        initialise(self, lambda kernel: nn.init.trunc_normal_(kernel, std=std, a=-2 * std, b=2 * std))

    def cascade(self, y: Tensor, sampling: BlockSampling) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield r_i, y_{i+1} and x_i of every stage, from measurements of images in [-1, 1]."""
        memory = x = None
        for stage in self.stages:
            r = stage(y, memory)
            y = y - sampling.A(r)
            x = r if x is None else F.hardtanh(x + r)
            memory = r if memory is None else torch.cat([memory, r], 1)
            yield r, y, x

    def estimate(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct measurements of images in [-1, 1] to such images, (B, 1, 16h, 16w)."""
        return list(self.cascade(y, sampling))[-1][-1]

    def loss(self, x: Tensor, sampling: BlockSampling, error: ErrorMeasure = mean_absolute) -> Tensor:
        r"""Return the authors' loss, a scalar; `x` is (B, 1, 16h, 16w) in [0, 1], `error` takes the first term's place.

        :math:`|x_8 - x| + 0.1\,(0.01\,|y_2| + 0.1\sum_{i=2}^{7}|y_{i+1}| + |y_9|)`, images in [-1, 1], all absolute
        values as means: what is left of the measurements shall vanish, at the end above all.
        """
        x = 2 * x - 1
        _, left, images = zip(*self.cascade(sampling.A(x), sampling))
        weights = ([0.01] + [0.1] * len(left))[: len(left) - 1] + [1.0]
        return error(images[-1], x) + 0.1 * sum(w * y.abs().mean() for w, y in zip(weights, left))


METHOD = MACNet

r"""DPA-Net (TIP 2020): a path for structure, a path for texture that attends to it, one network per ratio and matrix.

Both paths start from the measurements y, (B, m, h, w), which are taken from 16 x 16 blocks by a Gaussian matrix that is
not normalised, and climb four levels of 256 features to the 16-fold resolution; the whole image is seen at once:

.. math::
   \hat x = \mathrm{hardtanh}(T_1(y) + T_2(y, s_1 ... s_4))

with :math:`s_l` the features of the structure path :math:`T_1` at level l, of which the texture path :math:`T_2` takes
over what its own gates, one over channels and one over places, let through. Images run over [-1, 1] inside, over [0, 1]
outside.

**Count.** Every convolution and dense layer has a bias, every batch normalisation its :math:`\gamma` and
:math:`\beta`: exactly the released graph's 9,328,774, 9,563,782 and 9,798,790 parameters at 10, 30 and 50 %. Table 1
prints 9.31 M for any ratio.

**Training.** The authors train in two phases: thirty epochs in which steps on the structure path's terms and steps on
the other two alternate, then 360 with all terms at once. A trainer that knows one scalar trains the second phase from
the start.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp.basics.errors import UserError
from istapp.method.base import Tied
from istapp.metrics import ErrorMeasure, mean_absolute
from istapp.sampling import BlockSampling, gaussian_sampling

BLOCK = 16
LEVELS = 4  # each ends with a doubling of the resolution: 2^4 is the block

#: Weight of the structure path's total variation, summed over the pixels of a patch of 64 x 64.
TV_WEIGHT = 1.8e-4


class SmallBlocks(Tied):
    """What DPA-Net and MAC-Net share: 16 x 16 blocks, a Gaussian matrix of their own, images in [-1, 1] inside."""

    def __init__(self, ratio: float, matrix_seed: int) -> None:
        super().__init__()
        self.config = {"ratio": ratio, "matrix_seed": matrix_seed}
        self.ratios = (ratio,)

    def draw(self, ratio: float, seed: int) -> BlockSampling:
        """Return the operator of that seed: 16 x 16 blocks, independent Gaussian entries, not normalised."""
        return gaussian_sampling(ratio, seed, BLOCK)

    def signed(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        r"""Return the measurements :math:`2y - \Phi\mathbf 1` of the image :math:`2x - 1`, (B, m, h, w)."""
        return 2 * y - sampling.A(y.new_ones(1, 1, BLOCK, BLOCK))

    def estimate(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct measurements of images in [-1, 1] to such images, (B, 1, 16h, 16w)."""
        raise NotImplementedError

    def forward(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct (B, m, h, w) measurements of images in [0, 1] to such images, (B, 1, 16h, 16w).

        Raises:
            UserError: the operator is not the one that the network belongs to.
        """
        self.check_matrix(sampling)
        return (self.estimate(self.signed(y, sampling), sampling) + 1) / 2


def convolution(before: int, after: int, kernel: int = 3) -> nn.Conv2d:
    """Return a convolution with a bias that keeps the size of an image."""
    return nn.Conv2d(before, after, kernel, padding=kernel // 2)


def normalised(before: int, after: int, kernel: int) -> nn.Sequential:
    """Return batch normalisation, SELU and a convolution, in that order."""
    return nn.Sequential(nn.BatchNorm2d(before), nn.SELU(), convolution(before, after, kernel))


def initialise(network: nn.Module, draw: Callable[[Tensor], object]) -> None:
    r"""Draw the kernels of convolutions with `draw`, biases zero, the scales of batch normalisation N(1, 0.02²)."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            if layer.weight.ndim == 4:
                draw(layer.weight)
            else:
                nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.02)


class Bottleneck(nn.Module):
    """Three normalised convolutions, 1 x 1 down to `inner` channels, k x k, 1 x 1 back, and a skip connection."""

    def __init__(self, channels: int, inner: int, kernel: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            normalised(channels, inner, 1), normalised(inner, inner, kernel), normalised(inner, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, channels, H, W), the shape kept."""
        return x + self.layers(x)


class Structure(nn.Module):
    """The structure path T1: at each of four levels a bottleneck, then twice the resolution."""

    def __init__(self, m: int, width: int) -> None:
        super().__init__()
        self.first = convolution(m, width)
        self.levels = nn.ModuleList(Bottleneck(width, width // 4) for _ in range(LEVELS))
        self.ups = nn.ModuleList(convolution(width // 4, after) for after in _widths(width))
        self.last = convolution(width // 8, 1)

    def forward(self, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the image (B, 1, 16h, 16w) in [-1, 1], and the features of level l, (B, width, 2^l h, 2^l w)."""
        t, features = F.selu(self.first(y)), []
        for level, up in zip(self.levels, self.ups):
            features.append(level(t))
            t = F.selu(up(F.pixel_shuffle(features[-1], 2)))
        return F.hardtanh(self.last(t)).to(y.dtype), features


def _widths(width: int) -> list[int]:
    """Return how many features follow each doubling of the resolution."""
    return [width] * (LEVELS - 1) + [width // 8]


class Dense(nn.Module):
    """A densely connected block: each layer sees all outputs before it; a 1 x 1 convolution and a skip end it."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        growth = width // 4
        self.first = convolution(width, growth)
        self.layers = nn.ModuleList(
            nn.Sequential(normalised((i + 1) * growth, growth, 1), normalised(growth, growth, 3)) for i in range(layers)
        )
        self.last = convolution((layers + 1) * growth, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, width, H, W), the shape kept."""
        known = F.selu(self.first(x))
        for layer in self.layers:
            known = torch.cat([known, layer(known)], 1)
        return x + F.selu(self.last(known))


class Attention(nn.Module):
    """Path attention: what texture features find worth taking over from the structure path, by channel and place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.texture, self.structure = convolution(width, half), convolution(width, half)
        self.channel = nn.Sequential(nn.Linear(half, half), nn.SELU(), nn.Linear(half, half), nn.Sigmoid())
        self.place = nn.Sequential(
            convolution(half, width // 4, 1), nn.SELU(), convolution(width // 4, 1, 1), nn.SELU()
        )
        self.merge = convolution(width, width)

    def gates(self, reduced: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gates of reduced texture features: over channels (B, width/2, 1, 1), over places (B, 1, H, W)."""
        return self.channel(reduced.mean((2, 3)))[:, :, None, None], self.place(reduced)

    def forward(self, texture: Tensor, structure: Tensor) -> Tensor:
        """Add to texture features (B, width, H, W) what they take over from structure features of the same shape."""
        reduced = F.selu(self.texture(texture))
        channel, place = self.gates(reduced)
        taken = F.selu(self.structure(structure)) * channel * place
        return texture + F.selu(self.merge(torch.cat([reduced, taken], 1)))


class TextureLevel(nn.Module):
    """One level of the texture path: dense block, attention to the structure, dense block, and a skip over all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.attention, self.after = Dense(width, 5), Attention(width), Dense(width, 2)

    def forward(self, t: Tensor, structure: Tensor) -> Tensor:
        """Transform (B, width, H, W), the shape kept, attending to structure features of that shape."""
        return t + self.after(self.attention(self.before(t), structure))


class Texture(nn.Module):
    """The texture path T2: as the structure path climbs, with dense blocks and attention to its features."""

    def __init__(self, m: int, width: int) -> None:
        super().__init__()
        self.first = convolution(m, width)
        self.levels = nn.ModuleList(TextureLevel(width) for _ in range(LEVELS))
        self.ups = nn.ModuleList(convolution(width // 4, after) for after in _widths(width))
        self.last = convolution(width // 8, 1)

    def forward(self, y: Tensor, structure: list[Tensor]) -> Tensor:
        """Return what is to be added to the structure image, (B, 1, 16h, 16w)."""
        t = F.selu(self.first(y))
        for level, up, features in zip(self.levels, self.ups, structure):
            t = F.selu(up(F.selu(F.pixel_shuffle(level(t, features), 2))))
        return F.selu(self.last(t)).to(y.dtype)


def total_variation(x: Tensor) -> Tensor:
    """Return the absolute differences of neighbours, the last pixel's neighbour being the first, summed over an image.

    The mean over the batch of (B, 1, H, W), a scalar.
    """
    down, across = ((x - x.roll(1, axis)).abs().sum((1, 2, 3)).mean() for axis in (2, 3))
    return down + across


class DPANet(SmallBlocks):
    """DPA-Net of `width` features (256 as published; a multiple of 8) for one ratio and one matrix."""

    name = "dpa-net"

    def __init__(self, width: int = 256, ratio: float = 0.1, matrix_seed: int = 0) -> None:
        """Draw a network to be trained.

        Raises:
            UserError: the width is not a multiple of 8.
        """
        super().__init__(ratio, matrix_seed)
        if width < 8 or width % 8:
            raise UserError(f"the width of DPA-Net is a multiple of 8, not {width}")
        self.config = {"width": width, **self.config}
        m = self.draw(ratio, matrix_seed).m
        self.structure, self.texture = Structure(m, width), Texture(m, width)
        # As published at 256 features; a narrower network keeps the gain of its layers.
        initialise(self, lambda kernel: nn.init.normal_(kernel, std=0.02 * (256 / width) ** 0.5))

    def paths(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images T1 and T2 of measurements of images in [-1, 1], each (B, 1, 16h, 16w)."""
        structure, features = self.structure(y)
        return structure, self.texture(y, features)

    def estimate(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct measurements of images in [-1, 1] to such images, (B, 1, 16h, 16w)."""
        structure, texture = self.paths(y)
        return F.hardtanh(structure + texture)

    def loss(self, x: Tensor, sampling: BlockSampling, error: ErrorMeasure = mean_absolute) -> Tensor:
        r"""Return the joint loss of the authors' second phase, a scalar; `x` is (B, 1, 16h, 16w) in [0, 1].

        `error` measures the distance of the estimate; the other terms are the authors'.

        :math:`|T_1 - x| + 1.8\cdot 10^{-4}\,\mathrm{TV}(T_1) + |\hat x - x| + |\Phi\hat x - \Phi x|`, all in [-1, 1],
        absolute values as means and TV as a sum over the pixels, which its weight takes to be 64 x 64.
        """
        x = 2 * x - 1
        y = sampling.A(x)
        structure, texture = self.paths(y)
        estimate = F.hardtanh(structure + texture)
        smooth = F.l1_loss(structure, x) + TV_WEIGHT * total_variation(structure)
        return smooth + error(estimate, x) + F.l1_loss(sampling.A(estimate), y)


METHOD = DPANet

r"""DPDNN (Dong et al., TPAMI 2019): gradient descent towards both the measurements and a denoised image.

Update, for t = 1 ... T, from the back-projection :math:`x_0 = \Phi^\top y`, block by block:

.. math::
   v_t &= x_{t-1} + f(x_{t-1}) \\
   x_t &= x_{t-1} - \delta_t\,[\Phi^\top(\Phi x_{t-1} - y) + \eta_t\,(x_{t-1} - v_t)]

The denoiser f is one U-Net for all T = 6 stages, with 4 levels of 64 channels; each stage has its own :math:`\delta_t`
(0.1 at first) and :math:`\eta_t` (0.9). This is the form in which the authors' released code super-resolves (its
denoising and deblurring files write the step otherwise, and there is none for compressive sensing); it starts there
from the enlarged image, here from the adjoint, which the paper's algorithm names.

1,363,661 parameters, the count of Table 1, of which 1,289,805 are used: the released forward pass shrinks levels 3 and
4 by the convolutions of levels 1 and 2, and so does ours. The two left over are registered, get no gradient and stay
as they were drawn. As published: Xavier initialisation, mean squared error. Optimiser, training set and number of
steps are the recipe's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp.method.base import Network
from istapp.sampling import BlockSampling

LEVELS = 4


def _conv(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, padding=1)


class Encoder(nn.Module):
    """One level down: three convolutions with ReLU, and one of stride 2 that the U-Net applies where it wants."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            _conv(before, channels),
            _conv(channels, channels),
            _conv(channels, channels),
        )
        self.shrink = _conv(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of this level, (B, before, H, W) -> (B, C, H, W)."""
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x))
        return x


class Decoder(nn.Module):
    """One level up: grow to the size of the encoder's features, join them, and five convolutions, the last linear."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1)
        self.join = nn.Conv2d(2 * channels, channels, 1)
        self.conv1, self.conv2 = _conv(channels, channels), _conv(channels, channels)
        self.conv3, self.conv4 = _conv(channels, channels), _conv(channels, channels)

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        """Return features of the size of `skipped` (B, C, H, W) from those of half that size, rounded up."""
        x = F.relu(self.join(torch.cat([self.grow(x, output_size=skipped.shape[2:]), skipped], 1)))
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x))
        return self.conv4(x)


class UNet(nn.Module):
    """The denoiser's residual f, (B, 1, H, W) -> the same: any size, halved and rounded up four times, and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(Encoder(channels if level else 1, channels) for level in range(LEVELS))
        self.bottom = _conv(channels, channels)
        self.decoders = nn.ModuleList(Decoder(channels) for _ in range(LEVELS))
        self.last = _conv(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is to be added to a noisy image."""
        skipped = []
        for level, encoder in enumerate(self.encoders):
            skipped.append(encoder(x))
            # As in the released file: levels 3 and 4 shrink by the convolutions of levels 1 and 2.
            x = F.relu(self.encoders[level % 2].get_submodule("shrink")(skipped[-1]))
        x = F.relu(self.bottom(x))
        for decoder in self.decoders:
            x = decoder(x, skipped.pop())
        return self.last(x)


class DPDNN(Network):
    """DPDNN with T `stages` and a U-Net of `channels`, for one ratio (None: whatever it is given)."""

    name = "dpdnn"
    block_alone = True

    def __init__(self, stages: int = 6, channels: int = 64, ratio: float | None = None) -> None:
        super().__init__()
        self.config = {"stages": stages, "channels": channels, "ratio": ratio}
        self.ratios = None if ratio is None else (ratio,)
        self.delta = nn.Parameter(torch.full((stages,), 0.1))
        self.eta = nn.Parameter(torch.full((stages,), 0.9))
        self.denoiser = UNet(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # not the transposed ones, as in the released file
                nn.init.xavier_uniform_(module.weight)

    @property
    def idle(self) -> set[str]:
        """Names of the parameters that the forward pass never reads."""
        unused = tuple(f"denoiser.encoders.{level}.shrink." for level in (2, 3))
        return {name for name, _ in self.named_parameters() if name.startswith(unused)}

    def trace(self, y: Tensor, sampling: BlockSampling) -> list[Tensor]:
        """Return the images x_0 ... x_T, each (B, 1, H, W)."""
        images = [sampling.adjoint(y)]
        for delta, eta in zip(self.delta, self.eta):
            x = images[-1]
            v = x + self.denoiser(x).to(x.dtype)
            images.append(x - delta * (sampling.adjoint(sampling.A(x) - y) + eta * (x - v)))
        return images

    def forward(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct (B, m, h, w) measurements to (B, 1, 33h, 33w) images."""
        return self.trace(y, sampling)[-1]


METHOD = DPDNN

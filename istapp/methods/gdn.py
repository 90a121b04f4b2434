r"""GDN (Gilton, Ongie and Willett, TCI 2019): gradient descent on an objective whose regulariser is learned.

Update, for k = 1 ... B, from the back-projection :math:`x_0 = \eta\,\Phi^\top y`, block by block:

.. math::
   x_k = x_{k-1} - \eta\,\Phi^\top(\Phi x_{k-1} - y) - R(x_{k-1})

B = 6, with one step size :math:`\eta` (learned, 0.1 at first) and one regulariser's gradient R for all iterations: the
image less its mean goes through a 1 x 1 convolution to 128 channels, two residual blocks of 3 x 3 convolutions with
batch normalisation, and three 1 x 1 convolutions back to one channel; then the mean is added again. An image is what
the network is given at once: the mean is that of a block where it works block by block.

624,770 parameters. Table 1 has 0.50 M, which is none of the released variants; its architecture is not known.

As published: R, its initialisation (Xavier, biases 0.001), :math:`\eta`. Not as published: the loss, here the mean
squared error where the authors' code has the norm of each image's error, not squared; optimiser, training set and
number of steps, which are the recipe's; and the moments of batch normalisation. The authors' code normalises with the
batch at hand even when it reconstructs, and keeps one normalisation for each iteration; here all iterations share scale
and shift, as they share R, and each has its own running moments, with which the trained network reconstructs.

Subtracting R takes the image's mean away in every iteration and leaves only the gradient step to bring it back. That
suits the deblurring it was published for, where the measurements show the mean; random measurements hardly do. With
``keep_mean`` R does not add the mean, and the iteration keeps it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp.method.base import Network
from istapp.sampling import BlockSampling


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


class SharedNorm(nn.Module):
    """Batch normalisation used once in each of several iterations: one scale and shift, moments for each iteration.

    An early iteration sees images of another kind than a late one; averaged over all of them, the running moments would
    fit none, and the network would compute something else in evaluation than in training.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, iterations: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(iterations, channels))
        self.register_buffer("running_var", torch.ones(iterations, channels))

    def forward(self, x: Tensor, k: int) -> Tensor:
        """Normalise (B, C, H, W) with the batch's moments in training and iteration k's running ones otherwise."""
        mean, variance = self.running_mean[k], self.running_var[k]
        return F.batch_norm(x, mean, variance, self.weight, self.bias, self.training)


class ResidualBlock(nn.Module):
    """Twice convolution, normalisation, leaky ReLU, plus the input; nothing after the sum."""

    def __init__(self, channels: int, iterations: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = SharedNorm(channels, iterations)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = SharedNorm(channels, iterations)

    def forward(self, x: Tensor, k: int) -> Tensor:
        """Add the residual to `x` (B, C, H, W) in iteration k."""
        inside = _leaky(self.norm1(self.conv1(x), k))
        return x + _leaky(self.norm2(self.conv2(inside), k))


class Regulariser(nn.Module):
    """R, (B, 1, H, W) -> the same: the image less its mean through the layers; then the mean again, or not."""

    def __init__(self, channels: int, residual_blocks: int, iterations: int, keep_mean: bool) -> None:
        super().__init__()
        self.keep_mean = keep_mean
        self.first = nn.Conv2d(1, channels, 1)
        self.blocks = nn.ModuleList(ResidualBlock(channels, iterations) for _ in range(residual_blocks))
        self.mix1 = nn.Conv2d(channels, channels, 1)
        self.mix2 = nn.Conv2d(channels, channels, 1)
        self.last = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor, k: int) -> Tensor:
        """Return R(x) in iteration k."""
        mean = x.mean((1, 2, 3), keepdim=True)  # of each image
        features = self.first(x - mean)
        for block in self.blocks:
            features = block(features, k)
        features = _leaky(self.mix2(_leaky(self.mix1(features))))
        r = self.last(features).to(x.dtype)
        return r if self.keep_mean else r + mean


class GDN(Network):
    """GDN with B `iterations` and an R of `residual_blocks` of `channels`, for one ratio (None: whatever it is given).

    Args:
        iterations: B.
        channels: of all layers inside R.
        residual_blocks: in R.
        ratio: the one it is trained for.
        keep_mean: R adds no mean, so that the iteration keeps the image's (not the released form).
    """

    name = "gdn"
    block_alone = True

    def __init__(
        self,
        iterations: int = 6,
        channels: int = 128,
        residual_blocks: int = 2,
        ratio: float | None = None,
        keep_mean: bool = False,
    ) -> None:
        super().__init__()
        self.config = {
            "iterations": iterations, "channels": channels, "residual_blocks": residual_blocks, "ratio": ratio,
            "keep_mean": keep_mean,
        }  # fmt: skip
        self.ratios = None if ratio is None else (ratio,)
        self.variant = "mean kept" if keep_mean else ""
        self.eta = nn.Parameter(torch.tensor(0.1))
        self.R = Regulariser(channels, residual_blocks, iterations, keep_mean)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.constant_(module.bias, 0.001)

    def trace(self, y: Tensor, sampling: BlockSampling) -> list[Tensor]:
        """Return the images x_0 ... x_B, each (B, 1, H, W)."""
        images = [self.eta * sampling.adjoint(y)]
        for k in range(self.config["iterations"]):
            x = images[-1]
            images.append(x - self.eta * sampling.adjoint(sampling.A(x) - y) - self.R(x, k))
        return images

    def forward(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct (B, m, h, w) measurements to (B, 1, 33h, 33w) images."""
        return self.trace(y, sampling)[-1]


METHOD = GDN

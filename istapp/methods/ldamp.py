r"""LDAMP (Metzler, Mousavi and Baraniuk 2017): message passing (`istapp.solvers.amp`) with learned denoisers.

The variant that the published code runs with any matrix: a set of DnCNN (Zhang et al. 2017), one for each range of
noise, and each image takes at each iteration the one whose range its :math:`\sigma_k` falls into. They learn to remove
white Gaussian noise and know nothing of sampling, so one set serves every ratio and every matrix. Ten iterations, as
published; the damping and the rule for the iterate to return are BM3D-AMP's, chosen as told there.

A DnCNN estimates the noise and subtracts it: L convolutions of 3 x 3 with C channels, ReLU between, batch
normalisation in all but the first and last: 557,057 parameters at L = 17, C = 64, the published size. (960 of them are
biases in front of a batch normalisation and change nothing.) Ranges are on the 0-255 scale of the denoising literature;
:math:`\sigma` on [0, 1] times 255 is what is looked up.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from istapp.method.base import Network
from istapp.metrics import ErrorMeasure, mean_squared
from istapp.sampling import BlockSampling
from istapp.solvers.amp import Passed, amp

#: The ranges of the published denoisers, whose last one, 500 to 1000, no image ever calls for.
EDGES = (0, 10, 20, 40, 60, 80, 100, 150, 300, 500)
ITERATIONS, DAMPING = 10, 0.2


class DnCNN(nn.Module):
    """One denoiser of `layers` convolutions with `channels` channels, for noise of deviations up to `largest`."""

    def __init__(self, layers: int = 17, channels: int = 64, largest: float = 1.0) -> None:
        super().__init__()
        # The last convolution's output is multiplied by this: no other function, but one that is learned sooner.
        self.largest = largest
        body: list[nn.Module] = [nn.Conv2d(1, channels, 3, padding=1), nn.ReLU()]
        for _ in range(layers - 2):
            body += [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        self.body = nn.Sequential(*body, nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, v: Tensor) -> Tensor:
        """Denoise (B, 1, H, W) images."""
        return v - self.largest * self.body(v).to(v.dtype)


class LDAMP(Network):
    """Message passing with a DnCNN for each range between two of the rising `edges`."""

    name = "ldamp"
    limits: Tensor

    def __init__(
        self,
        edges: Sequence[float] = EDGES,
        layers: int = 17,
        channels: int = 64,
        iterations: int = ITERATIONS,
        damping: float = DAMPING,
    ) -> None:
        super().__init__()
        self.config = {"edges": list(edges), "layers": layers, "channels": channels}
        self.config |= {"iterations": iterations, "damping": damping}
        self.edges, self.iterations, self.damping = [edge / 255 for edge in edges], iterations, damping
        # On the network's device: a CUDA graph can record no copy from the processor.
        self.register_buffer("limits", torch.tensor(self.edges), persistent=False)
        self.denoisers = nn.ModuleList(DnCNN(layers, channels, largest) for largest in self.edges[1:])

    def range_of(self, sigma: Tensor) -> Tensor:
        """Return which denoiser serves noise of these deviations, (B,) -> (B,) integers; the last one all beyond."""
        return torch.bucketize(sigma.contiguous(), self.limits[1:-1].to(sigma), right=True)

    def denoise(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Denoise each of (B, 1, H, W) images by the denoiser for its noise, (B,)."""
        which = self.range_of(sigma)
        denoised = torch.empty_like(v)
        for index in which.unique().tolist():
            own = which == index
            denoised[own] = self.denoisers[index](v[own])
        return denoised

    def passed(self, y: Tensor, sampling: BlockSampling, keep: bool = False) -> Passed:
        """Run the loop and return all that it reports; `keep`: all iterates too."""
        return amp(y, sampling, self.denoise, self.iterations, self.damping, keep=keep)

    def forward(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct (B, m, h, w) measurements to (B, 1, 33h, 33w) images: the chosen iterate."""
        return self.passed(y, sampling).x

    def noise(self, x: Tensor) -> Tensor:
        """Draw a deviation for each image of a batch, uniform in the range of denoiser i mod R, (B, 1, 1, 1)."""
        which = torch.arange(len(x), device=x.device) % len(self.denoisers)
        limits = self.limits.to(x)
        low, high = limits[:-1][which], limits[1:][which]
        return (low + (high - low) * torch.rand_like(low)).view(-1, 1, 1, 1)

    def loss(self, x: Tensor, sampling: BlockSampling, error: ErrorMeasure = mean_squared) -> Tensor:
        r"""Return how well the denoisers remove white Gaussian noise from (B, 1, H, W) images, a scalar.

        Of R denoisers number i learns on the images i, i + R, ... of the batch. Its images are divided by its range's
        upper end, which puts all ranges on one scale, and the mean error is taken over the denoisers that have an
        image. (They share no weights and Adam's steps have no scale, so all that the division touches is the clipping
        of gradients.) The operator is not used.
        """
        noisy = x + self.noise(x) * torch.randn_like(x)
        count = len(self.denoisers)
        errors = [
            error(denoiser(noisy[i::count]) / largest, x[i::count] / largest)
            for i, (denoiser, largest) in enumerate(zip(self.denoisers[: len(x)], self.edges[1:]))
        ]
        return torch.stack(errors).mean()


METHOD = LDAMP

r"""ISTA-Net (Zhang and Ghanem, CVPR 2018): ISTA unrolled, the sparsifying transform learned, one network per ratio.

Update, for k = 1 ... K, from the linear estimate :math:`x_0 = Qy`, block by block:

.. math::
   r_k &= x_{k-1} - \rho_k\,\Phi^\top(\Phi x_{k-1} - y) \\
   x_k &= \tilde H(\mathrm{soft}(H(r_k), \theta_k))

H is two 3 x 3 convolutions (1 to C to C channels) with a ReLU between, H~ the way back, without biases, none shared
between stages: 171,090 parameters at K = 9 and C = 32. The loss adds 0.01 times the symmetry error :math:`\|\tilde
H(H(r)) - r\|^2` of every stage. Q is computed from the stored second moment of training blocks (see `linear`), not
fitted anew for each ratio.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp.method.base import Network
from istapp.methods.linear import apply_blocks, linear_initialisation
from istapp.metrics import ErrorMeasure, mean_squared
from istapp.sampling import BlockSampling
from istapp.solvers.priors import soft


class Transform(nn.Module):
    """Two bias-free 3 x 3 convolutions with a ReLU between them: H, and with weights of its own its near-inverse H~."""

    def __init__(self, before: int, between: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, between, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(between, after, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, before, H, W) -> (B, after, H, W)."""
        return self.conv2(F.relu(self.conv1(x)))


class Stage(nn.Module):
    """One iteration of ISTA-Net: a gradient step, then the learned transform, soft threshold and way back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.tensor([0.5]))
        self.theta = nn.Parameter(torch.tensor([0.01]))
        self.H = Transform(1, channels, channels)
        self.H_back = Transform(channels, channels, 1)

    def gradient_step(self, x: Tensor, y: Tensor, sampling: BlockSampling) -> Tensor:
        r"""Return :math:`r = x - \rho\,\Phi^\top(\Phi x - y)`, (B, 1, H, W)."""
        return x - self.rho * sampling.adjoint(sampling.A(x) - y)

    def forward(self, x: Tensor, y: Tensor, sampling: BlockSampling) -> tuple[Tensor, Tensor]:
        """Return the next image (B, 1, H, W), and what the symmetry loss compares H~(H(.)) with."""
        r = self.gradient_step(x, y, sampling)
        return self.H_back(soft(self.H(r), self.theta)).to(r.dtype), r

    def symmetry(self, d: Tensor) -> Tensor:
        r"""Return the mean square of :math:`\tilde H(H(d)) - d`, a scalar."""
        return (self.H_back(self.H(d)) - d).square().mean()


class ISTANet(Network):
    """ISTA-Net with K `stages` of C `channels`, for one ratio (None: whatever it is given)."""

    name = "ista-net"
    block_alone = True
    stage: type[Stage] = Stage

    def __init__(self, stages: int = 9, channels: int = 32, ratio: float | None = None) -> None:
        super().__init__()
        self.config = {"stages": stages, "channels": channels, "ratio": ratio}
        self.ratios = None if ratio is None else (ratio,)
        self.stages = nn.ModuleList(self.stage(channels) for _ in range(stages))
        for parameter in self.parameters():
            if parameter.ndim == 4:
                nn.init.xavier_normal_(parameter)

    def initialisation(self, sampling: BlockSampling) -> Tensor:
        """Return Q of that operator, (1089, m) float64."""
        return linear_initialisation(sampling)

    def trace(self, y: Tensor, sampling: BlockSampling) -> tuple[list[Tensor], list[Tensor]]:
        """Return the images x_0 ... x_K, and of every stage what its symmetry loss compares with."""
        images, compared = [apply_blocks(self.initialisation(sampling), y)], []
        for stage in self.stages:
            x, d = stage(images[-1], y, sampling)
            images.append(x)
            compared.append(d)
        return images, compared

    def forward(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct (B, m, h, w) measurements to (B, 1, 33h, 33w) images."""
        return self.trace(y, sampling)[0][-1]

    def loss(self, x: Tensor, sampling: BlockSampling, error: ErrorMeasure = mean_squared) -> Tensor:
        """Return the error of the last image plus 0.01 times the symmetry error summed over the stages, a scalar."""
        images, compared = self.trace(sampling.A(x), sampling)
        symmetry = sum(stage.symmetry(d) for stage, d in zip(self.stages, compared) if isinstance(stage, Stage))
        return error(images[-1], x) + 0.01 * symmetry


METHOD = ISTANet

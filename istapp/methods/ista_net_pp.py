r"""ISTA-Net++ (You, Xie, Zhang, ICME 2021): ISTA unrolled to K stages that know the CS ratio.

Update, for k = 1 ... K, from :math:`x_0 = \Phi^\top y` on the whole image:

.. math::
   (\rho_1,\dots,\rho_K,\sigma_1,\dots,\sigma_K) &= \mathrm{CM}(\gamma) \\
   r_k &= x_{k-1} - \rho_k\,(\Phi^\top\Phi x_{k-1} - x_0) \\
   x_k &= r_k + \mathrm{tail}(\mathrm{RB}_2(\mathrm{RB}_1(\mathrm{head}([r_k, \sigma_k \mathbf 1]))))

(Eqs. 6, 7 and 8). 760,220 parameters at K = 20 and C = 32. The two halves of the dynamic unfolding strategy can be
switched off for Table 4. The loss is the mean squared error of the last stage (Eq. 9), with one random ratio at a time.
Chapter 04 builds it step by step.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp.basics.errors import UserError
from istapp.basics.progress import Progress
from istapp.method import loading, strips
from istapp.method import weights as files
from istapp.method.base import Method, Network
from istapp.sampling import BlockSampling


class ConditionModule(nn.Sequential):
    r"""From CS ratios to positive numbers, (B, 1) -> (B, `outputs`): 1-32-32-outputs, ReLU, ReLU, Softplus (Eq. 8)."""

    def __init__(self, outputs: int, width: int = 32) -> None:
        super().__init__(
            nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs), nn.Softplus()
        )


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, plus the input; no normalisation and nothing after the sum. (B, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to `x`."""
        return x + self.conv2(F.relu(self.conv1(x)))


class ProximalMapping(nn.Module):
    """The learned proximal operator of one stage (DPMM, Eq. 7): head, two residual blocks, tail, long skip."""

    def __init__(self, channels: int, noise_map: bool = True) -> None:
        super().__init__()
        self.head = nn.Conv2d(2 if noise_map else 1, channels, 3, padding=1)
        self.block1 = ResidualBlock(channels)
        self.block2 = ResidualBlock(channels)
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, r: Tensor, sigma: Tensor | None) -> Tensor:
        """Map r (B, 1, H, W), with the noise level sigma (1 or B,) spread over a second channel, to x (B, 1, H, W)."""
        features = r  # (B, 1, H, W)
        if sigma is not None:
            level = sigma.to(r.dtype).view(-1, 1, 1, 1).expand(len(r), 1, *r.shape[2:])
            features = torch.cat([r, level], 1)  # (B, 2, H, W)
        features = self.head(features)  # (B, C, H, W)
        features = self.block2(self.block1(features))
        return r + self.tail(features).to(r.dtype)

    def by_kernels(self, r: Tensor, sigma: Tensor | None) -> Tensor:
        """Do the same in bfloat16 by kernels of our own on an Nvidia GPU, see `istapp.method.kernels`."""
        from istapp.method import kernels  # which imports Triton, and that comes with such a GPU alone

        return kernels.proximal_mapping(self, r, sigma)


def gradient_descent(x: Tensor, x0: Tensor, rho: Tensor, sampling: BlockSampling) -> Tensor:
    r"""Return :math:`r = x - \rho\,(\Phi^\top\Phi x - x_0)` (DGDM, Eq. 6), rho (1,) or (B,), images (B, 1, H, W)."""
    return x - rho.to(x.dtype).view(-1, 1, 1, 1) * (sampling.normal(x) - x0)


class ISTANetPP(Network):
    """ISTA-Net++ with K `stages` of C `channels`.

    Args:
        stages: K.
        channels: C.
        dynamic_step: let the condition module set the step sizes rho (DUS-rho of Table 4), not learned numbers.
        noise_map: feed sigma, set by the condition module, as a second channel (DUS-sigma).
    """

    name = "ista-net-pp"

    def __init__(self, stages: int = 20, channels: int = 32, dynamic_step: bool = True, noise_map: bool = True) -> None:
        super().__init__()
        self.config = {
            "stages": stages, "channels": channels, "dynamic_step": dynamic_step, "noise_map": noise_map
        }  # fmt: skip
        conditions = stages * (dynamic_step + noise_map)
        self.condition = ConditionModule(conditions) if conditions else None
        if not dynamic_step:
            self.step = nn.Parameter(torch.full((stages,), 0.5))
        self.stages = nn.ModuleList(ProximalMapping(channels, noise_map) for _ in range(stages))
        if (dynamic_step, noise_map) != (True, True):
            self.variant = f"DUS step {'on' if dynamic_step else 'off'}, DUS map {'on' if noise_map else 'off'}"

    def conditions(self, ratio: float | Tensor) -> tuple[Tensor, Tensor | None]:
        """Return step sizes rho and noise levels sigma at one ratio or (B,), each (1 or B, K); sigma None if off."""
        like = next(self.parameters())
        gamma = torch.as_tensor(ratio, dtype=like.dtype, device=like.device).reshape(-1, 1)
        given = list(self.condition(gamma).split(len(self.stages), 1)) if self.condition else []
        rho = given.pop(0) if self.config["dynamic_step"] else self.step.unsqueeze(0)
        return rho, given.pop(0) if self.config["noise_map"] else None

    def trace(self, y: Tensor, sampling: BlockSampling) -> list[tuple[Tensor, Tensor]]:
        """Return the pair (r_k, x_k) of every stage, k = 1 ... K."""
        rho, sigma = self.conditions(sampling.ratio)
        x = x0 = sampling.adjoint(y)
        steps = []
        for k, proximal_mapping in enumerate(self.stages):
            r = gradient_descent(x, x0, rho[:, k], sampling)
            x = proximal_mapping(r, None if sigma is None else sigma[:, k])
            steps.append((r, x))
        return steps

    def forward(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct (B, m, h, w) measurements to (B, 1, 33h, 33w) images, large ones strip by strip."""
        learning = torch.is_grad_enabled() and (y.requires_grad or any(p.requires_grad for p in self.parameters()))
        if not learning and len(y) * y.shape[2] * y.shape[3] * sampling.block**2 > strips.LARGE:
            return self._by_strips(y, sampling)
        rho, sigma = self.conditions(sampling.ratio)
        x = x0 = sampling.adjoint(y)
        for k, proximal_mapping in enumerate(self.stages):
            r = gradient_descent(x, x0, rho[:, k], sampling)
            x = proximal_mapping(r, None if sigma is None else sigma[:, k])
        return x

    def _by_strips(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Do the same with two images, the back-projection and the features of one strip in memory.

        A gradient step takes rows of blocks, which know nothing of each other; a proximal mapping takes strips with as
        many rows around them as its convolutions see.
        """
        rho, sigma = self.conditions(sampling.ratio)
        x0 = sampling.adjoint(y)
        x, mapped = x0.clone(), torch.empty_like(x0)
        clock = Progress(self.name, len(self.stages))
        for k, proximal_mapping in enumerate(self.stages):
            for rows in strips.rows(x.shape, sampling.block):
                x[..., rows, :] = gradient_descent(x[..., rows, :], x0[..., rows, :], rho[:, k], sampling)
            for images, rows, seen, inside in strips.cut(x.shape, halo=strips.reach(proximal_mapping)):
                level = None if sigma is None else sigma[images, k] if len(sigma) > 1 else sigma[:, k]
                mapped[images, :, rows] = proximal_mapping(x[images, :, seen], level)[..., inside, :]
                clock.show(k + rows.stop / x.shape[-2] * images.stop / len(x))
            x, mapped = mapped, x
        return x

    def matrices(self) -> list[str]:
        """Return the names of the residual blocks' convolutions, C x C x 3 x 3."""
        return [name for name, weight in self.named_parameters() if ".block" in name and weight.ndim == 4]

    def silent(self) -> list[str]:
        """Return the names of the tails' weights and biases: without them every stage is a gradient step."""
        return [name for name, _ in self.named_parameters() if ".tail." in name]


METHOD = ISTANetPP


def build(weights: str | Path | None = None) -> Method:
    """Return ISTA-Net++ with the given weights (``.safetensors`` or official ``.pkl``) or the shipped ones.

    Raises:
        UserError: no weights, or not this network's.
    """
    if weights is not None and files.is_checkpoint(weights):
        return _official(Path(weights))
    return loading.build(ISTANetPP, weights)


#: The official file's names for the parts of a stage and of the condition module, beside ours.
_OFFICIAL = {
    "fcs.": "stages.", "head_conv": "head", "tail_conv": "tail",
    "ResidualBlocks.0": "block1", "ResidualBlocks.1": "block2",
    "condition.fc1": "condition.0", "condition.fc2": "condition.2", "condition.fc3": "condition.4",
}  # fmt: skip


def _official(path: Path) -> ISTANetPP:
    renamed = {}
    for name, tensor in files.load_official(path).items():
        for theirs, ours in _OFFICIAL.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    stages = {name.split(".")[1] for name in renamed if name.startswith("stages.")}
    head = renamed.get("stages.0.head.weight")
    if head is None or not head.ndim:
        raise UserError(f"{path} does not hold weights of ISTA-Net++")
    shapes = {name: tuple(tensor.shape) for name, tensor in renamed.items()}
    network = loading.believed(ISTANetPP, {"stages": len(stages), "channels": len(head)}, shapes, path)
    return network.fill(renamed, path.name)

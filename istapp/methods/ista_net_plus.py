r"""ISTA-Net+ (Zhang and Ghanem, CVPR 2018): ISTA unrolled, the sparsifying transform learned, one network per ratio.

Update, for k = 1 ... K, from the linear estimate :math:`x_0 = Qy`, block by block:

.. math::
   r_k &= x_{k-1} - \rho_k\,\Phi^\top(\Phi x_{k-1} - y) \\
   x_k &= r_k + G(\tilde H(\mathrm{soft}(H(D(r_k)), \theta_k)))

D, G are one convolution and H, its near-inverse H~ two with a ReLU between, all 3 x 3 without biases, none shared
between stages: 336,978 parameters at K = 9 and C = 32. The loss adds 0.01 times the symmetry error
:math:`\|\tilde H(H(d)) - d\|^2`. Q is computed from the stored second moment of training blocks (see `linear`), not fitted anew for each ratio.
"""

import os
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp import weights as files
from istapp.errors import UserError
from istapp.methods import found
from istapp.methods.base import Blockwise, Method, Network, PerRatio
from istapp.methods.linear import apply_blocks, linear_initialisation
from istapp.priors import soft
from istapp.sampling import BlockSampling, measurements


class Transform(nn.Module):
    """Two bias-free convolutions with a ReLU between them: H, and with weights of its own its near-inverse H~."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform features, (B, C, H, W) -> the same."""
        return self.conv2(F.relu(self.conv1(x)))


class Stage(nn.Module):
    """One iteration: a gradient step, then the learned transform, soft threshold and way back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.tensor([0.5]))
        self.theta = nn.Parameter(torch.tensor([0.01]))
        self.D = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.H = Transform(channels)
        self.H_back = Transform(channels)
        self.G = nn.Conv2d(channels, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor, y: Tensor, sampling: BlockSampling) -> tuple[Tensor, Tensor]:
        """Return the next image (B, 1, H, W) and the features d = D(r) that the symmetry loss needs."""
        r = x - self.rho * sampling.adjoint(sampling.A(x) - y)
        d = self.D(r)  # (B, C, H, W)
        return r + self.G(self.H_back(soft(self.H(d), self.theta))), d


class ISTANetPlus(Network):
    """ISTA-Net+ with K `stages` of C `channels`, for one ratio (None: whatever it is given)."""

    name = "ista-net-plus"

    def __init__(self, stages: int = 9, channels: int = 32, ratio: float | None = None) -> None:
        super().__init__()
        self.config = {"stages": stages, "channels": channels, "ratio": ratio}
        self.ratios = None if ratio is None else (ratio,)
        self.stages = nn.ModuleList(Stage(channels) for _ in range(stages))
        for parameter in self.parameters():
            if parameter.ndim == 4:
                nn.init.xavier_normal_(parameter)

    def initialisation(self, sampling: BlockSampling) -> Tensor:
        """Return Q of that operator, (1089, m) float64."""
        return linear_initialisation(sampling)

    def _run(self, y: Tensor, sampling: BlockSampling) -> tuple[Tensor, list[Tensor]]:
        x = apply_blocks(self.initialisation(sampling), y)
        features = []
        for stage in self.stages:
            x, d = stage(x, y, sampling)
            features.append(d)
        return x, features

    def forward(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct (B, m, h, w) measurements to (B, 1, 33h, 33w) images."""
        return self._run(y, sampling)[0]

    def loss(self, x: Tensor, sampling: BlockSampling) -> Tensor:
        """Return the mean squared error plus 0.01 times the symmetry error summed over the stages, a scalar."""
        estimate, features = self._run(sampling.A(x), sampling)
        pairs = zip(self.stages, features, strict=True)
        symmetry = sum((stage.H_back(stage.H(d)) - d).square().mean() for stage, d in pairs)
        return (estimate - x).square().mean() + 0.01 * symmetry


class _Official(ISTANetPlus):
    """The released network with the matrix and the initialisation it was trained with."""

    def __init__(self, stages: int, channels: int, ratio: float, phi: Tensor, q: Tensor) -> None:
        super().__init__(stages, channels, ratio)
        self._phi, self._q_init = phi, q
        self.variant = "official weights"

    def sampling(self, ratio: float, seed: int = 0) -> BlockSampling:
        """Return the released matrix, whatever the seed."""
        self.check_ratio(ratio)
        return BlockSampling(ratio, seed=None, phi=self._phi, kind="official")

    def initialisation(self, sampling: BlockSampling) -> Tensor:
        """Return the released Q for the released matrix, and our own for any other."""
        return self._q_init if sampling.kind == "official" else super().initialisation(sampling)


METHOD = ISTANetPlus


def build(weights: str | Path | None = None) -> Method:
    """Return ISTA-Net+ with the given weights (``.safetensors`` or official ``.pkl``), or all that are shipped.

    Raises:
        UserError: no weights, not this network's, or an official file without its matrices.
    """
    if weights is None:
        return PerRatio([_as_published(_own(path)) for path, _ in found.required("ista-net-plus")])
    path = Path(weights)
    return _as_published(_official(path) if path.suffix == ".pkl" else _own(path))


def _as_published(network: ISTANetPlus) -> Blockwise:
    """Block by block: the released network was never run on more than one."""
    return Blockwise(network, published=True)


def _own(path: Path) -> ISTANetPlus:
    header, tensors = files.load(path)
    if header.get("method") != "ista-net-plus":
        raise UserError(f"{path} holds weights of {header.get('method')}, not of ista-net-plus")
    return ISTANetPlus(**header["config"]).fill(tensors, path.name)  # type: ignore[return-value]


#: The official file's names for the parts of a stage, beside ours.
_NAMES = {
    "lambda_step": "rho", "soft_thr": "theta", "conv_D": "D.weight", "conv_G": "G.weight",
    "conv1_forward": "H.conv1.weight", "conv2_forward": "H.conv2.weight",
    "conv1_backward": "H_back.conv1.weight", "conv2_backward": "H_back.conv2.weight",
}  # fmt: skip


def _official(path: Path) -> _Official:
    tensors = files.load_official(path)
    if "fcs.0.conv_D" not in tensors:
        raise UserError(f"{path} does not hold weights of ISTA-Net+")
    percent = re.findall(r"ratio_(\d+)", str(path))
    if not percent:
        raise UserError(f"the ratio of official ISTA-Net+ weights is read from 'ratio_N' in their path, not in {path}")
    phi, q = (_matrix(path, *which) for which in _matrices(int(percent[-1])))
    renamed = {}
    for name, tensor in tensors.items():
        _, stage, part = name.split(".")
        renamed[f"stages.{stage}.{_NAMES.get(part, part)}"] = tensor
    stages = 1 + max(int(name.split(".")[1]) for name in tensors)
    ratio = int(percent[-1]) / 100
    if len(phi) != measurements(ratio):
        raise UserError(f"the official matrix has {len(phi)} rows where {percent[-1]} % needs {measurements(ratio)}")
    network = _Official(stages, len(tensors["fcs.0.conv_D"]), ratio, phi, q)
    network.fill(renamed, path.name)
    return network


def _matrices(percent: int) -> list[tuple[str, str]]:
    return [(f"phi_0_{percent}_1089.mat", "phi"), (f"Initialization_Matrix_{percent}.mat", "Qinit")]


def _matrix(weights: Path, file: str, name: str) -> Tensor:
    """Read an official matrix from `../sampling` beside the weights, else from `ISTAPP_OFFICIAL/sampling`."""
    folders = [weights.resolve().parent.parent / "sampling"]
    if os.environ.get("ISTAPP_OFFICIAL"):
        folders.append(Path(os.environ["ISTAPP_OFFICIAL"]) / "sampling")
    for folder in folders:
        if (folder / file).is_file():
            return files.load_matrix(folder / file, name)
    tried = " or ".join(str(folder) for folder in folders)
    raise UserError(f"official ISTA-Net+ weights need {file}, not found in {tried}; set ISTAPP_OFFICIAL")

r"""ISTA-Net+ (Zhang and Ghanem, CVPR 2018): ISTA-Net that learns the residual, one network per ratio.

Update, for k = 1 ... K, from the linear estimate :math:`x_0 = Qy`, block by block:

.. math::
   r_k &= x_{k-1} - \rho_k\,\Phi^\top(\Phi x_{k-1} - y) \\
   x_k &= r_k + G(\tilde H(\mathrm{soft}(H(D(r_k)), \theta_k)))

D and G are one 3 x 3 convolution each, H and its near-inverse H~ two with a ReLU between, all without biases, none
shared between stages: 336,978 parameters at K = 9 and C = 32. Loss and initialisation as in `ista_net`, the symmetry
taken on :math:`D(r)`.
"""

import os
import re
from pathlib import Path

from torch import Tensor, nn

from istapp.basics.errors import UserError
from istapp.method import loading
from istapp.method import weights as files
from istapp.method.base import Method
from istapp.method.wrapping import Blockwise
from istapp.methods import ista_net
from istapp.methods.ista_net import ISTANet, Transform
from istapp.sampling import BLOCK, BlockSampling, measurements
from istapp.solvers.priors import soft


class Stage(ista_net.Stage):
    """One iteration: a gradient step, then features, transform, soft threshold and way back, added to the step."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.D = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.H = Transform(channels, channels, channels)
        self.H_back = Transform(channels, channels, channels)
        self.G = nn.Conv2d(channels, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor, y: Tensor, sampling: BlockSampling) -> tuple[Tensor, Tensor]:
        """Return the next image (B, 1, H, W) and the features d = D(r), (B, C, H, W)."""
        r = self.gradient_step(x, y, sampling)
        d = self.D(r)
        return r + self.G(self.H_back(soft(self.H(d), self.theta))).to(r.dtype), d


class ISTANetPlus(ISTANet):
    """ISTA-Net+ with K `stages` of C `channels`, for one ratio (None: whatever it is given)."""

    name = "ista-net-plus"
    stage = Stage

    def silent(self) -> list[str]:
        """Return the names of the convolutions G, after which the gradient step is added."""
        return [name for name, _ in self.named_parameters() if name.endswith(".G.weight")]


class _Official(ISTANetPlus):
    """The released network with the matrix and the initialisation it was trained with."""

    def __init__(self, stages: int, channels: int, ratio: float, phi: Tensor, q: Tensor) -> None:
        super().__init__(stages, channels, ratio)
        self._phi, self._q = phi, q
        self.variant = "official weights"

    def sampling(self, ratio: float, seed: int = 0) -> BlockSampling:
        """Return the released matrix, whatever the seed."""
        self.check_ratio(ratio)
        return BlockSampling(ratio, seed=None, phi=self._phi, kind="official")

    def initialisation(self, sampling: BlockSampling) -> Tensor:
        """Return the released Q for the released matrix, and our own for any other."""
        return self._q if sampling.kind == "official" else super().initialisation(sampling)


METHOD = ISTANetPlus


def build(weights: str | Path | None = None) -> Method:
    """Return ISTA-Net+ with the given weights (``.safetensors`` or official ``.pkl``), or all that are shipped.

    Raises:
        UserError: no weights, not this network's, or an official file without its matrices.
    """
    if weights is not None and files.is_checkpoint(weights):
        return _official(Path(weights))
    return loading.build(ISTANetPlus, weights)


#: The official file's names for the parts of a stage, beside ours.
_NAMES = {
    "lambda_step": "rho",
    "soft_thr": "theta",
    "conv_D": "D.weight",
    "conv_G": "G.weight",
    "conv1_forward": "H.conv1.weight",
    "conv2_forward": "H.conv2.weight",
    "conv1_backward": "H_back.conv1.weight",
    "conv2_backward": "H_back.conv2.weight",
}


def _official(path: Path) -> Blockwise:
    tensors = files.load_official(path)
    first = tensors.get("fcs.0.conv_D")
    if first is None or not first.ndim:
        raise UserError(f"{path} does not hold weights of ISTA-Net+")
    percent = re.findall(r"ratio_(\d+)", str(path))
    if not percent:
        raise UserError(f"the ratio of official ISTA-Net+ weights is read from 'ratio_N' in their path, not in {path}")
    ratio, number = int(percent[-1]) / 100, percent[-1]
    m = measurements(ratio)
    renamed = {}
    for name, tensor in tensors.items():
        _, stage, part = (name.split(".", 2) + ["", ""])[:3]
        renamed[f"stages.{stage}.{_NAMES.get(part, part)}"] = tensor
    config = {"stages": len({name.split(".")[1] for name in renamed}), "channels": len(first), "ratio": ratio}
    loading.believed(ISTANetPlus, config, {name: tuple(tensor.shape) for name, tensor in renamed.items()}, path)
    phi = _matrix(path, f"phi_0_{number}_1089.mat", "phi")
    q = _matrix(path, f"Initialization_Matrix_{number}.mat", "Qinit")
    if (tuple(phi.shape), tuple(q.shape)) != ((m, BLOCK**2), (BLOCK**2, m)):
        raise UserError(
            f"the official matrices of {number} % are {m} x {BLOCK**2} and {BLOCK**2} x {m}, "
            f"not {len(phi)} x {phi.shape[1]} and {len(q)} x {q.shape[1]}"
        )
    network = _Official(config["stages"], config["channels"], ratio, phi, q)
    return Blockwise(network.fill(renamed, path.name), published=True)


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

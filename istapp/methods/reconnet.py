r"""ReconNet (Kulkarni et al., CVPR 2016): from measurements to a block in one pass, one network per matrix.

No iteration and no :math:`\Phi` inside: with x_0 the output of a fully connected layer that takes the place of the
adjoint,

.. math::
   x_0 &= \mathrm{reshape}_{33 \times 33}(W y + b) \\
   x &= \mathrm{T}_2(\mathrm{ReLU}(\mathrm{T}_1(x_0))), \qquad
   \mathrm{T} = \mathrm{conv}_{7,\,32 \to 1} \circ \mathrm{ReLU} \circ \mathrm{conv}_{1,\,64 \to 32} \circ
   \mathrm{ReLU} \circ \mathrm{conv}_{11,\,1 \to 64}

for each block alone. The convolutions have 22,914 parameters, the layer W 1089 (m + 1): in all 142,704 / 261,405 /
380,106 / 498,807 / 617,508 at 10 to 50 %. Table 1 counts five times the first one, 0.70 M; the true sum is 1,900,530.

As published: layers, initialisation, mean squared error. Not as published: optimiser, training set and number of steps
are the recipe's, so the smaller learning rates of the biases and of the 7 x 7 layers are gone; and the optional BM3D
after the blocks are put together is left out, as it is in the tables. With `linear_start`, for short trainings, the
first layer is the best linear estimate Q (see `linear`) and the convolutions pass its image on unchanged, so that the
network begins where a linear method ends; the authors begin at random and take a million steps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from istapp.method.base import Tied
from istapp.methods.linear import linear_initialisation
from istapp.sampling import BLOCK, BlockSampling, measurements

#: Standard deviation of the fully connected layer's first weights, where it is not 0.01.
FIRST_LAYER_STD = {0.01: 0.03, 0.25: 0.05}


class Triple(nn.Module):
    """Convolutions of 11, 1 and 7 pixels, 1 to 64 to 32 to 1 channels, with a ReLU between them and none after."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 11, padding=5)
        self.conv2 = nn.Conv2d(64, 32, 1)
        self.conv3 = nn.Conv2d(32, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Refine images (B, 1, H, W), without a skip: what is not passed on is lost."""
        return self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))

    def pass_on(self) -> None:
        """Let the first channel carry the image through, and nothing else come out: an identity where x >= 0."""
        with torch.no_grad():
            nn.init.dirac_(self.conv1.weight[:1])
            self.conv2.weight[0] = 0
            self.conv2.weight[0, 0] = 1
            nn.init.dirac_(self.conv3.weight)


class ReconNet(Tied):
    """ReconNet for one `ratio` and the matrix of `matrix_seed`."""

    name = "reconnet"
    blockwise = True

    def __init__(self, ratio: float = 0.1, matrix_seed: int = 0, linear_start: bool = False) -> None:
        super().__init__()
        self.config = {"ratio": ratio, "matrix_seed": matrix_seed, "linear_start": linear_start}
        self.ratios = (ratio,)
        self.first = nn.Linear(measurements(ratio), BLOCK**2)
        self.triple1, self.triple2 = Triple(), Triple()
        for parameter in self.parameters():
            if parameter.ndim == 1:
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.1)
        nn.init.normal_(self.first.weight, std=FIRST_LAYER_STD.get(ratio, 0.01))
        if linear_start and not self.first.weight.is_meta:  # a network that is built for its shapes has no numbers
            self.first.weight.data.copy_(linear_initialisation(self.sampling(ratio, matrix_seed)))
            self.triple1.pass_on()
            self.triple2.pass_on()

    def forward(self, y: Tensor, sampling: BlockSampling) -> Tensor:
        """Reconstruct (B, m, h, w) measurements to (B, 1, 33h, 33w) images, each block alone.

        Raises:
            UserError: the measurements were taken with another matrix.
        """
        self.check_matrix(sampling)
        batch, m, h, w = y.shape
        blocks = self.first(y.permute(0, 2, 3, 1).reshape(batch * h * w, m))  # (Bhw, 1089)
        blocks = F.relu(self.triple1(blocks.reshape(-1, 1, BLOCK, BLOCK)))
        x = self.triple2(blocks).to(y.dtype).reshape(batch, h, w, BLOCK, BLOCK)
        return x.permute(0, 1, 3, 2, 4).reshape(batch, 1, h * BLOCK, w * BLOCK)


METHOD = ReconNet

r"""Denoisers for message passing: images (B, 1, H, W) and the deviation of the noise in each (B,), to images.

Images lie in [0, 1], so a noise of 25 in the 8-bit units of the denoising literature is 25/255 here.
"""

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from istapp.basics.errors import UserError
from istapp.solvers.priors import dct_matrix


class SlidingDCT:
    r"""Hard-thresholded cosines of every overlapping patch, averaged: what BM3D would be without matching blocks.

    A patch's estimate counts the more the fewer of its coefficients survived, as in BM3D (Dabov et al. 2007). A second
    pass then shrinks by :math:`S^2/(S^2 + \sigma^2)`, S being the first estimate's coefficients (Wiener's filter).
    """

    def __init__(self, patch: int = 8, stride: int = 2, threshold: float = 2.7) -> None:
        r"""Take patches of `patch` x `patch` pixels every `stride` pixels, and cut below `threshold` :math:`\sigma`."""
        self.patch, self.stride, self.threshold = patch, stride, threshold
        cosines = np.kron(dct_matrix(patch), dct_matrix(patch))
        self._filters = torch.from_numpy(cosines).view(patch**2, 1, patch, patch)

    def __call__(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Denoise."""
        height, width = v.shape[-2:]
        down, right = (self.patch + (-(self.patch + n)) % self.stride for n in (height, width))
        mirrored = F.pad(v, (self.patch, right, self.patch, down), "reflect")
        noise = sigma.view(-1, 1, 1, 1)
        coefficients = self._analysis(mirrored)
        survived = (coefficients.abs() > self.threshold * noise).to(v)
        energy = self._analysis(self._average(coefficients, survived)).square()
        estimate = self._average(coefficients, energy / (energy + noise.square()).clamp(min=1e-30))
        return estimate[..., self.patch : self.patch + height, self.patch : self.patch + width]

    def _analysis(self, v: Tensor) -> Tensor:
        """Return the cosine coefficients of every patch, (B, 1, H, W) -> (B, patch², h, w)."""
        return F.conv2d(v, self._filters.to(v), stride=self.stride)

    def _average(self, coefficients: Tensor, gain: Tensor) -> Tensor:
        """Scale the coefficients of each patch, transform back, and average where patches overlap."""
        gain[:, 0] = 1  # the mean of a patch is kept
        weight = 1 / gain.square().sum(1, keepdim=True)
        filters = self._filters.to(coefficients)
        total = F.conv_transpose2d(weight, torch.ones_like(filters[:1]), stride=self.stride)
        return F.conv_transpose2d(gain * coefficients * weight, filters, stride=self.stride) / total


class BM3D:
    """BM3D by its authors' package, one image at a time, on the CPU in float64.

    The package is free for non-commercial use only.
    """

    def __init__(self) -> None:
        """Find the package.

        Raises:
            UserError: it is not installed.
        """
        if not self.installed():
            raise UserError(
                "BM3D needs the package bm3d (non-commercial licence): pip install bm3d, or take the denoiser 'dct'"
            )

    @staticmethod
    def installed() -> bool:
        """Whether the package is at hand."""
        return find_spec("bm3d") is not None

    def __call__(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Denoise with the package's own settings ("np")."""
        bm3d = import_module("bm3d")  # optional, so no name that a reader of types could look up
        images = v[:, 0].double().cpu().numpy()
        # A deviation of zero has no thresholds to set; a millionth of the range changes nothing.
        noise = sigma.double().clamp(min=1e-6).tolist()
        clean = [torch.from_numpy(bm3d.bm3d(image, deviation)) for image, deviation in zip(images, noise)]
        return torch.stack(clean).unsqueeze(1).to(v)

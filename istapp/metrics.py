"""Image quality as the paper's code measures it: no rounding, per image, clipped to [0, 1]."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

#: What a training minimises: an estimate and its reference, both (B, 1, H, W), to a scalar.
ErrorMeasure = Callable[[Tensor, Tensor], Tensor]


def mean_squared(estimate: Tensor, reference: Tensor) -> Tensor:
    """Return the mean squared error, a scalar: the loss of the paper (Eq. 9)."""
    return (estimate - reference).square().mean()


def mean_absolute(estimate: Tensor, reference: Tensor) -> Tensor:
    """Return the mean absolute error, a scalar."""
    return (estimate - reference).abs().mean()


def log_mean_squared(estimate: Tensor, reference: Tensor, epsilon: float = 1e-5) -> Tensor:
    r"""Return the mean over a batch of :math:`\log(\mathrm{MSE}_i + \epsilon)`, a scalar.

    Up to its scale and :math:`\epsilon` this is minus the mean PSNR of the batch, which is what the tables print. Its
    gradient is that of the mean squared error with every image divided by its own error, so that images that are
    hard, or measured at a low ratio, do not drown the others. Chapter 05 derives both.
    """
    return _each(estimate, reference).add(epsilon).log().mean()


def power_mean_squared(estimate: Tensor, reference: Tensor, power: float, epsilon: float = 1e-5) -> Tensor:
    r"""Return the mean over a batch of :math:`(\mathrm{MSE}_i + \epsilon)^p / p`, a scalar.

    p = 1 is the mean squared error and the limit p to 0 the logarithm, up to constants.
    """
    return _each(estimate, reference).add(epsilon).pow(power).mean() / power


def _each(estimate: Tensor, reference: Tensor) -> Tensor:
    """Return the mean squared error of every image of a batch, (B,)."""
    return (estimate - reference).square().flatten(1).mean(1)


def psnr(estimate: Tensor, reference: Tensor) -> float:
    r"""Return the peak signal-to-noise ratio :math:`-10\log_{10}\mathrm{MSE}` in dB of images in [0, 1].

    The estimate is clipped to [0, 1] but not rounded to 8 bits. Infinite where the clipped estimate is the reference;
    NaN where either image holds a number that is not finite. Derived in chapter 01.

    Raises:
        ValueError: the shapes differ or the images are empty.
    """
    if estimate.shape != reference.shape or not reference.numel():
        raise ValueError(f"PSNR needs two images of one shape, not {tuple(estimate.shape)}, {tuple(reference.shape)}")
    if not finite(estimate, reference):  # clipping would turn infinity into white, and NaN compares with nothing
        return math.nan
    error = _clipped_error(estimate, reference)
    return -10 * math.log10(error) if error > 0 else math.inf


def finite(*tensors: Tensor) -> bool:
    """Tell whether every number in tensors is one: neither NaN nor infinite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _clipped_error(estimate: Tensor, reference: Tensor, most: int = 2**22) -> float:
    """Return the mean squared error of the clipped estimate in float64, some rows at a time: images may be large."""
    width = reference.shape[-1] if reference.ndim else 1
    bands = zip(*(each.reshape(-1, width).split(max(most // width, 1)) for each in (estimate, reference)))
    return sum((a.double().clamp(0, 1) - b.double()).square().sum().item() for a, b in bands) / reference.numel()


def ssim(estimate: Tensor, reference: Tensor, window: int = 7) -> float:
    """Return the mean structural similarity (Wang et al. 2004) of two (..., H, W) images in [0, 1].

    Uniform window of 7 x 7, sample covariance, data range 1, borders where the window does not fit left out: the
    definition of scikit-image's default. The estimate is clipped. NaN where an image is smaller than the window, or
    holds a number that is not finite.

    Raises:
        ValueError: the shapes differ.
    """
    if estimate.shape != reference.shape:
        raise ValueError(f"SSIM needs two images of one shape, not {tuple(estimate.shape)}, {tuple(reference.shape)}")
    height, width = reference.shape[-2:]
    if min(height, width) < window or not finite(estimate, reference):
        return math.nan
    a = estimate.double().clamp(0, 1).reshape(-1, 1, height, width)
    b = reference.double().reshape(-1, 1, height, width)

    def mean(image: Tensor) -> Tensor:
        """Return the mean over every window."""
        return F.avg_pool2d(image, window, stride=1)

    unbiased = window**2 / (window**2 - 1)
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = unbiased * (mean(a * a) - mean_a**2), unbiased * (mean(b * b) - mean_b**2)
    covariance = unbiased * (mean(a * b) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    return float(torch.mean(similarity))

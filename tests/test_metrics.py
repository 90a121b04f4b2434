"""PSNR and SSIM against scikit-image, and what they do at the edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from istapp.images import datasets
from istapp.metrics import psnr, ssim


@given(st.integers(0, 100), st.integers(7, 40), st.integers(7, 40), st.floats(0.001, 0.5))
def test_both_equal_the_reference(seed: int, height: int, width: int, noise: float) -> None:
    random = np.random.default_rng(seed)
    reference = random.random((height, width))
    estimate = np.clip(reference + noise * random.standard_normal((height, width)), 0, 1)
    a, b = torch.from_numpy(estimate), torch.from_numpy(reference)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(reference, estimate, data_range=1), abs=1e-9)
    assert ssim(a, b) == pytest.approx(structural_similarity(reference, estimate, data_range=1), abs=1e-9)


def test_on_a_photograph_like_the_papers_code() -> None:
    image = datasets.photo("camera").luma()
    noisy = image + 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    as_paper = 10 * math.log10(255**2 / ((255 * noisy.clamp(0, 1) - 255 * image) ** 2).double().mean())
    assert psnr(noisy, image) == pytest.approx(as_paper, abs=1e-4)
    expected = structural_similarity(image[0, 0].numpy(), noisy[0, 0].clamp(0, 1).numpy(), data_range=1)
    assert ssim(noisy, image) == pytest.approx(expected, abs=1e-5)


def test_the_estimate_is_clipped_and_equal_images_are_infinitely_good() -> None:
    white = torch.ones(1, 1, 8, 8)
    assert psnr(3 * white, white) == math.inf
    assert ssim(3 * white, white) == pytest.approx(1)


def test_small_images_have_no_ssim_and_unequal_ones_nothing() -> None:
    assert math.isnan(ssim(torch.zeros(6, 9), torch.zeros(6, 9)))
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match="one shape"):
            metric(torch.zeros(8, 8), torch.zeros(8, 9))
    with pytest.raises(ValueError, match="one shape"):
        psnr(torch.zeros(0, 8), torch.zeros(0, 8))

"""Proximal operators against their definition, transforms against references."""

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn
from scipy.optimize import minimize_scalar
from skimage.restoration import denoise_tv_chambolle

from istapp.solvers.priors import TV, BlockDCT, CycleSpinning, Prior, Wavelet, daubechies, soft


def picture(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.floats(-3, 3), st.floats(0, 2))
def test_soft_threshold_minimises_its_definition(v: float, threshold: float) -> None:
    best = minimize_scalar(lambda u: (u - v) ** 2 / 2 + threshold * abs(u), bounds=(-4, 4), method="bounded").x
    assert soft(torch.tensor(v), threshold).item() == pytest.approx(best, abs=1e-4)


PRIORS = {"dct": BlockDCT(11), "db4": Wavelet(), "haar": Wavelet(1, 5), "tv": TV(400)}


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
@pytest.mark.parametrize("t", [0.02, 0.3])
def test_prox_beats_its_neighbourhood(prior: Prior, t: float) -> None:
    """No nearby point has a smaller 1/2 |u - v|^2 + t g(u): along random, structured and homotopy directions."""
    v = picture(1, 1, 22, 33)
    u = prior.prox(v, t)

    def value(point: torch.Tensor) -> float:
        return float((point - v).square().sum() / 2 + t * prior.value(point).sum())

    noise = [torch.randn(v.shape, generator=torch.Generator().manual_seed(i), dtype=v.dtype) for i in range(5)]
    directions = [*noise, v - u, u, torch.ones_like(v), prior.prox(v, 2 * t) - u, prior.prox(v, t / 2) - u]
    least = value(u)
    for direction in directions:
        for size in (1e-1, 1e-2, 1e-3):
            for sign in (1, -1):
                assert least <= value(u + sign * size * direction) + 2e-6 * abs(least)


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_prox_does_not_expand(prior: Prior) -> None:
    a, b = picture(1, 1, 22, 33, seed=1), picture(1, 1, 22, 33, seed=2)
    distance = (prior.prox(a, 0.1) - prior.prox(b, 0.1)).norm()
    assert distance <= (a - b).norm() * (1 + 1e-6)


@given(st.integers(1, 3), st.integers(1, 70), st.integers(1, 70), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=30)
def test_the_wavelet_is_orthonormal_at_any_size(batch: int, height: int, width: int, moments: int, levels: int) -> None:
    wavelet, x = Wavelet(moments, levels), picture(batch, 1, height, width)
    coefficients = wavelet.analysis(x)
    torch.testing.assert_close(wavelet.synthesis(coefficients), x, atol=1e-10, rtol=0)
    assert coefficients.norm() == pytest.approx(x.norm().item(), rel=1e-10)


@pytest.mark.parametrize("moments", [1, 2, 4, 8])
def test_daubechies_filters_are_the_published_ones(moments: int) -> None:
    reference = np.array(pywt.Wavelet(f"db{moments}").rec_lo)
    np.testing.assert_allclose(daubechies(moments), reference, atol=1e-6 if moments > 4 else 1e-11)


def test_the_wavelet_finds_what_pywavelets_finds() -> None:
    """Its grid starts one sample later; up to order and sign of the details, the coefficients are the same."""
    x = picture(1, 1, 32, 32)
    ours = Wavelet(4, 1).analysis(torch.roll(x, (1, 1), (-2, -1)))[0, 0]
    averages, details = pywt.dwt2(x[0, 0].numpy(), "db4", "periodization")
    assert np.sort(ours[:16, :16].flatten()) == pytest.approx(np.sort(averages.flatten()), abs=1e-9)
    rest = np.concatenate([ours[:16, 16:].flatten(), ours[16:].flatten()])
    expected = np.concatenate([part.flatten() for part in details])
    assert np.sort(np.abs(rest)) == pytest.approx(np.sort(np.abs(expected)), abs=1e-9)


def test_the_block_dct_is_scipys() -> None:
    x = picture(1, 1, 66, 33)
    ours = BlockDCT().analysis(x)[0, :, 1, 0].view(33, 33)
    np.testing.assert_allclose(ours, dctn(x[0, 0, 33:].numpy(), norm="ortho"), atol=1e-12)


@pytest.mark.parametrize("prior", [BlockDCT(), Wavelet()])
def test_a_constant_image_costs_nothing_and_stays(prior: Prior) -> None:
    gray = torch.full((1, 1, 66, 132), 0.4, dtype=torch.float64)
    if isinstance(prior, Wavelet):
        gray = gray[..., :64, :128]
    assert prior.value(gray).item() == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(prior.prox(gray, 5.0), gray)


def test_tv_is_chambolles() -> None:
    v = picture(1, 1, 20, 24)
    reference = denoise_tv_chambolle(v[0, 0].numpy(), weight=0.2, eps=1e-12, max_num_iter=3000)
    ours = TV(3000).prox(v, 0.2)[0, 0].numpy()
    np.testing.assert_allclose(ours, reference, atol=2e-3)


def test_tv_of_a_step_is_its_height_times_its_length() -> None:
    step = torch.zeros(2, 1, 10, 12, dtype=torch.float64)
    step[1, :, :, 6:] = 0.5
    assert TV().value(step).tolist() == pytest.approx([0, 5.0])
    assert torch.equal(TV().prox(step, 0), step)


def test_cycle_spinning_shifts_back_and_follows_its_seed() -> None:
    x = picture(1, 1, 66, 66)
    torch.testing.assert_close(CycleSpinning(Wavelet()).prox(x, 0.0), x, atol=1e-10, rtol=0)
    first, second = (CycleSpinning(Wavelet(), seed=5) for _ in range(2))
    for _ in range(3):
        assert torch.equal(first.prox(x, 0.1), second.prox(x, 0.1))
    assert not torch.equal(first.prox(x, 0.1), Wavelet().prox(x, 0.1))

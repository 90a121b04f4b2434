"""Message passing: Onsager's term, the state evolution, runaway and damping, denoisers, and the two methods on it."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from istapp import methods
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.experiments import tuning
from istapp.images import datasets
from istapp.methods.bm3d_amp import BM3DAMP, CHOOSE, DAMPING
from istapp.methods.ldamp import EDGES, LDAMP, DnCNN
from istapp.metrics import psnr
from istapp.sampling import BlockSampling, gaussian_sampling
from istapp.solvers import denoisers
from istapp.solvers.amp import amp, divergence, scale
from istapp.solvers.denoisers import SlidingDCT
from istapp.solvers.priors import soft
from istapp.solvers.proximal import ista
from istapp.training import Run, first, train


def crop(size: int = 66, name: str = "camera") -> Tensor:
    return datasets.photo(name).luma()[..., 100 : 100 + size, 200 : 200 + size]


def signs(*shape: int) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return 2.0 * torch.randint(2, (1, 1, *shape), generator=random, dtype=torch.float64) - 1


def sparse(block: int, ratio: float, density: float = 0.1) -> tuple[Tensor, BlockSampling]:
    """Return a sparse vector, as the one block of an image, and a Gaussian matrix of variance 1/m."""
    random = np.random.default_rng(0)
    n, m = block**2, round(ratio * block**2)
    x = random.standard_normal(n) * (random.random(n) < density)
    phi = random.standard_normal((m, n)) / math.sqrt(m)
    return torch.from_numpy(x).view(1, 1, block, block), BlockSampling(ratio, None, block, phi, "gaussian")


def soft_threshold(v: Tensor, sigma: Tensor) -> Tensor:
    return soft(v, 1.5 * sigma.view(-1, 1, 1, 1))


@settings(max_examples=10)
@given(st.floats(-2, 2), st.integers(1, 40), st.integers(1, 40))
def test_divergence_of_a_linear_denoiser_is_exact(c: float, height: int, width: int) -> None:
    p = torch.rand(2, 1, height, width, dtype=torch.float64) + 0.1
    value = divergence(lambda v, _: c * v, p, torch.ones(2), c * p, signs(height, width))
    torch.testing.assert_close(value, torch.full((2,), c * height * width, dtype=torch.float64))


def test_divergence_of_a_soft_threshold_counts_the_survivors() -> None:
    p = torch.randn(3, 1, 33, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)
    threshold = 1.5 * sigma.view(-1, 1, 1, 1)
    p[(p.abs() - threshold).abs() < 0.02] = 0  # whatever the probe could carry across the threshold
    value = divergence(soft_threshold, p, sigma, soft_threshold(p, sigma), signs(33, 33))
    survivors = (p.abs() > threshold).flatten(1).sum(1)
    torch.testing.assert_close(value, survivors.double())
    assert survivors.unique().numel() == 3


@pytest.mark.parametrize("sampling", [BlockSampling(0.3), gaussian_sampling(0.5, block=33)], ids=lambda s: s.kind)
def test_the_columns_of_a_have_unit_norm(sampling: BlockSampling) -> None:
    columns = (scale(sampling) * sampling.phi).square().sum(0)
    torch.testing.assert_close(columns.mean(), torch.tensor(1.0, dtype=torch.float64))
    if sampling.kind == "orthonormal":
        assert scale(sampling) == pytest.approx(math.sqrt(1089 / sampling.m))


@pytest.mark.parametrize("damping", [0.0, 0.4])
def test_the_loop_is_the_textbook_recursion(damping: float) -> None:
    """D(v) = 0.8 v has the divergence 0.8 N, so matrices and vectors say everything."""
    sampling, n = BlockSampling(0.2), 2 * 1089
    image = torch.rand(1, 1, 33, 66, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = sampling.A(image)
    a = math.sqrt(1089 / sampling.m) * sampling.phi
    measured = math.sqrt(1089 / sampling.m) * y[0, :, 0, :]  # a column for each block
    x, z, m = torch.zeros(1089, 2, dtype=torch.float64), measured, 2 * sampling.m
    found = amp(y, sampling, lambda v, _: 0.8 * v, 5, damping, choose="last", keep=True)
    for k in range(5):
        assert float(found.sigma[k]) == pytest.approx(float(z.norm()) / math.sqrt(m))
        new = (1 - damping) * 0.8 * (x + a.T @ z) + damping * x
        z = (1 - damping) * (measured - a @ new + z * 0.8 * n / m) + damping * z
        x = new
        by_block = found.trace[k][0, 0].view(33, 2, 33).permute(0, 2, 1).reshape(1089, 2)
        torch.testing.assert_close(by_block, x, atol=1e-7 * float(x.abs().max()), rtol=0)
        assert float(found.residual[k + 1]) == pytest.approx(float((measured - a @ x).norm() / measured.norm()))
    assert torch.equal(found.x, found.trace[-1]) and found.chosen.tolist() == [5]


def test_state_evolution_predicts_the_noise() -> None:
    """Donoho, Maleki, Montanari 2009: for a large Gaussian matrix, sigma^2 -> E (D(X + sigma Z) - X)^2 N/m."""
    x, sampling = sparse(48, 0.5)
    calls: list[tuple[Tensor, Tensor]] = []

    def listening(v: Tensor, sigma: Tensor) -> Tensor:
        calls.append((v, sigma))
        return soft_threshold(v, sigma)

    amp(sampling.A(x), sampling, listening, 7)
    normal = torch.randn(20, *x.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    predicted = (x.square().mean() / 0.5).sqrt()
    for v, sigma in calls[::2]:  # every other call is the probe's
        true = (v - x).square().mean().sqrt()
        assert float(sigma) == pytest.approx(float(true), rel=0.06)
        assert float(sigma) == pytest.approx(float(predicted), rel=0.1)
        denoised = soft_threshold(x + predicted * normal, predicted)
        predicted = ((denoised - x).square().mean() / 0.5).sqrt()
    assert float(sigma) < 0.25 * float(calls[0][1])


def test_message_passing_is_faster_than_ista() -> None:
    x, sampling = sparse(33, 0.5)
    y = sampling.A(x)
    prior = SimpleNamespace(value=lambda v: v.abs().flatten(1).sum(1), prox=soft)
    passed = amp(y, sampling, soft_threshold, 15)
    start = torch.zeros_like(x)
    errors = [
        (ista(y, sampling, prior, lam, 15, 1 / sampling.norm, start, track=False).x - x).norm()
        for lam in (0.003, 0.01, 0.03, 0.1, 0.3)
    ]
    assert (passed.x - x).norm() < min(errors) / 3


def test_the_repeated_matrix_runs_away_at_10_percent_and_the_rule_saves_what_it_can() -> None:
    image, sampling = crop(132), BlockSampling(0.1)
    y = sampling.A(image)
    free = amp(y, sampling, SlidingDCT(stride=4), 12, keep=True)
    assert float(free.residual[-1]) > 1 and float(free.sigma[-1]) > 10 * float(free.sigma[0])
    assert psnr(free.x, image) > psnr(free.trace[-1], image) + 3


def test_the_chosen_iterate_has_the_smallest_residual() -> None:
    image, sampling = torch.cat([crop(), crop().mT, 0 * crop()]), BlockSampling(0.1)
    found = amp(sampling.A(image), sampling, SlidingDCT(stride=4), 6, keep=True)
    assert found.residual.shape == found.sigma.shape == (7, 3) and len(found.trace) == 6
    assert torch.equal(found.chosen, found.residual[1:].argmin(0) + 1)
    for i, k in enumerate(found.chosen.tolist()):
        assert torch.equal(found.x[i], found.trace[k - 1][i])
    assert torch.equal(found.x[2], image[2])  # nothing measured, nothing seen, and no division by zero


def test_settings_that_make_no_sense_are_refused() -> None:
    sampling = BlockSampling(0.1)
    y = torch.zeros(1, sampling.m, 1, 1)
    for wrong in ({"iterations": 0}, {"damping": 1.0}, {"damping": -0.1}, {"choose": "best"}):
        with pytest.raises(UserError):
            amp(y, sampling, soft_threshold, **wrong)


@pytest.mark.parametrize("level", [5, 10, 25, 50, 100])
def test_sliding_cosines_remove_noise(level: int) -> None:
    image, sigma = crop(99), level / 255
    noisy = image + sigma * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    denoised = SlidingDCT()(noisy, torch.tensor([sigma]))
    assert denoised.shape == image.shape
    assert psnr(denoised, image) > psnr(noisy, image) + (2 if level < 25 else 5)


@settings(max_examples=10)
@given(st.floats(0.01, 300), st.floats(-5, 5), st.integers(0, 99))
def test_sliding_cosines_know_neither_units_nor_brightness(unit: float, offset: float, seed: int) -> None:
    """The 0-255 scale of the published code and ours are one; the mean of a patch is kept."""
    v = torch.rand(1, 1, 20, 27, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    denoiser, sigma = SlidingDCT(), torch.tensor([0.1], dtype=torch.float64)
    once = denoiser(v, sigma)
    torch.testing.assert_close(
        denoiser(unit * (v + offset), unit * sigma), unit * (once + offset), rtol=1e-6, atol=1e-9
    )


@settings(max_examples=10)
@given(st.integers(16, 40), st.integers(16, 40), st.sampled_from([1, 2, 3, 4]))
def test_sliding_cosines_leave_a_clean_image_alone(height: int, width: int, stride: int) -> None:
    v = torch.rand(2, 1, height, width, dtype=torch.float64)
    torch.testing.assert_close(SlidingDCT(stride=stride)(v, torch.zeros(2, dtype=torch.float64)), v)


def test_bm3d_where_installed_else_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoisers, "find_spec", lambda name: None)
    method = methods.get("bm3d-amp")
    assert isinstance(method.denoiser, SlidingDCT) and method.variant == "denoiser: sliding DCT"
    with pytest.raises(UserError, match="pip install bm3d"):
        methods.get("bm3d-amp", denoiser="bm3d")
    seen = []

    def fake(image: np.ndarray, sigma: float) -> np.ndarray:
        seen.append((image.dtype, sigma))
        return image * (1 - sigma)

    monkeypatch.setattr(denoisers, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "bm3d", SimpleNamespace(bm3d=fake))
    method = methods.get("bm3d-amp")
    v, sigma = torch.rand(2, 1, 9, 12), torch.tensor([0.25, 0.5])
    torch.testing.assert_close(method.denoiser(v, sigma), v * (1 - sigma.view(-1, 1, 1, 1)))
    assert seen == [(np.float64, 0.25), (np.float64, 0.5)] and method.variant == ""


def test_options_of_bm3d_amp() -> None:
    assert methods.get("bm3d-amp", denoiser="dct", iterations=5).variant == (
        f"denoiser: sliding DCT; 5 iterations, damping {DAMPING:g}, chosen by {CHOOSE}"
    )
    for options, why in (
        ({"denoiser": "nlm"}, "denoiser is bm3d or dct, not 'nlm'"),
        ({"lam": 1}, "no option lam"),
        ({"weights": "x"}, "has no weights"),
    ):
        with pytest.raises(UserError, match=why):
            methods.get("bm3d-amp", **options)


def test_damping_and_rule_are_the_best_on_training_images() -> None:
    means = tuning.amp_means()
    assert set(means) == set(tuning.AMP_GRID)
    assert max(means, key=means.get) == (DAMPING, CHOOSE)
    low = tuning.amp_means(0.1)
    assert low[0.0, CHOOSE] < low[DAMPING, CHOOSE] - 3 and low[0.0, "last"] < low[0.0, CHOOSE]


def test_dncnn_has_the_published_size() -> None:
    for layers, count in ((17, 557_057), (20, 668_225)):
        assert sum(p.numel() for p in DnCNN(layers).parameters()) == count
    assert LDAMP().parameter_count == 9 * 557_057 and len(EDGES) == 10


def tiny(edges: tuple[float, ...] = (0, 20, 60, 150, 500), **config: int) -> LDAMP:
    torch.manual_seed(0)
    return LDAMP(edges, **{"layers": 3, "channels": 4, **config})


def test_each_noise_has_its_own_denoiser() -> None:
    network = tiny()
    sigma = torch.tensor([0, 19.9, 20.1, 59, 61, 149, 151, 499, 3000]) / 255
    assert network.range_of(sigma).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    for index, denoiser in enumerate(network.denoisers):
        denoiser.forward = lambda v, index=index: v + index
    v = torch.rand(9, 1, 33, 33)
    torch.testing.assert_close(network.denoise(v, sigma), v + network.range_of(sigma).view(-1, 1, 1, 1))


def test_the_loss_is_the_error_of_denoising_in_equal_shares() -> None:
    network, x = tiny().train(), torch.rand(8, 1, 33, 33)
    for _ in range(20):
        assert network.range_of(network.noise(x).flatten()).tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    torch.manual_seed(5)
    loss = network.loss(x, BlockSampling(0.1))
    torch.manual_seed(5)
    sigma = network.noise(x)
    noisy = x + sigma * torch.randn_like(x)
    expected = [
        (denoiser(noisy[[i, i + 4]]) - x[[i, i + 4]]).square().mean() / (edge / 255) ** 2
        for i, (denoiser, edge) in enumerate(zip(network.denoisers, (20, 60, 150, 500)))
    ]
    torch.testing.assert_close(loss, sum(expected) / 4)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def denoising_error(network: LDAMP, images: Tensor) -> Tensor:
    """Return the mean squared error over that of doing nothing, at the middle of each range."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(9))
    middles = [(low + high) / 2 for low, high in zip(network.edges, network.edges[1:])]
    with torch.no_grad():
        errors = [
            (network.eval().denoise(images + s * noise, torch.full((len(images),), s)) - images).square().mean() / s**2
            for s in middles
        ]
    return torch.stack(errors)


def test_training_teaches_every_denoiser() -> None:
    network, images = tiny((0, 50, 500), channels=8, layers=4), torch.cat([crop(name=n) for n in ("camera", "coffee")])
    before = denoising_error(network, images)
    recipe = first(120 * 16 * 33**2, blocks=1, batch=16, rate=5e-3, average=0.9)
    run = Run(network, datasets.load("photos")[:3], recipe, (0.5,), validate_every=120, precision="float32", quiet=True)
    assert train(run).done
    after = denoising_error(network, images)
    assert (after < 0.9 * before).all() and (after < 0.5).all()


@pytest.mark.parametrize("method", [BM3DAMP("dct", 4), tiny(iterations=3).double().eval()], ids=lambda m: m.name)
def test_the_order_of_a_batch_changes_nothing(method: methods.Method) -> None:
    sampling, order = BlockSampling(0.3), [2, 0, 1]
    y = sampling.A(torch.cat([crop(), crop().mT, crop(name="coffee") / 5]).double())
    with torch.no_grad():
        together, alone = method(y, sampling), method(y[1:2], sampling)
        torch.testing.assert_close(method(y[order], sampling), together[order], atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(alone, together[1:2], atol=1e-8, rtol=1e-8)


def test_ldamp_without_weights_says_what_to_do(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    with pytest.raises(UserError, match="no weights for ldamp .*--weights FILE"):
        methods.get("ldamp")

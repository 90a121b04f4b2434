"""Untrained networks: architecture, fit, clock, and the half-quadratic splitting with non-local means."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from istapp import methods
from istapp.basics.errors import UserError
from istapp.experiments.evaluation import evaluate, read_rows, reconstruct
from istapp.images import datasets
from istapp.images.image import Image
from istapp.methods import blockwise, nlr_csnet
from istapp.methods.dip import DeepImagePrior, SkipNetwork
from istapp.methods.nlr_csnet import NLRCSNet, neighbours, non_local_mean, non_local_value, non_local_weights, x_step
from istapp.metrics import psnr
from istapp.sampling import BlockSampling

TINY = {"channels": 8, "scales": 3, "rate": 0.02}
BOTH = pytest.mark.parametrize("name", ["dip", "nlr-csnet"])


@pytest.fixture(scope="module")
def block() -> Tensor:
    return datasets.photo("camera").luma()[..., 150:183, 220:253]


def test_parameters_of_the_published_network() -> None:
    assert DeepImagePrior().fitted_count == NLRCSNet().fitted_count == 2_217_573
    assert sum(p.numel() for p in SkipNetwork(inputs=16).parameters()) == 2_199_077


@BOTH
def test_nothing_in_them_is_trained(name: str) -> None:
    method = methods.get(name)
    assert method.kind == "untrained network" and method.parameter_count == 0 and method.ratios is None
    assert method.variant == ("in the spirit of, no public code" if name == "nlr-csnet" else "")
    assert methods.get(name, iterations=500).variant.endswith("500 iterations")


@pytest.mark.parametrize("size", [(33, 33), (64, 96), (49, 34)])
def test_the_network_keeps_any_size(size: tuple[int, int]) -> None:
    output = SkipNetwork(channels=4)(torch.rand(1, 32, *size))
    assert output.shape == (1, 1, *size) and ((output > 0) & (output < 1)).all()


def test_a_scale_is_a_skip_beside_half_the_resolution() -> None:
    """A constant's skip and deeper path are constants: up-sampling and reflection have no edges to show."""
    network = SkipNetwork(inputs=2, channels=3, scales=2).eval()
    output = network(torch.full((1, 2, 33, 31), 0.3))
    assert (output - output[0, 0, 0, 0]).abs().max() < 1e-5


@BOTH
def test_a_tiny_fit_beats_back_projection(name: str, block: Tensor) -> None:
    sampling = BlockSampling(0.3)
    y = sampling.A(block)
    with torch.no_grad():  # callers switch gradients off; a fit needs its own
        estimate = methods.get(name, iterations=60, **TINY)(y, sampling)
    assert estimate.shape == block.shape and not estimate.requires_grad
    assert psnr(estimate, block) > psnr(sampling.adjoint(y), block) + 5


def test_the_measurement_loss_falls(block: Tensor) -> None:
    sampling = BlockSampling(0.3)
    losses = DeepImagePrior(iterations=40, **TINY).fit(sampling.A(block), sampling).losses
    assert len(losses) == 40 and losses[-10:].mean() < losses[:10].mean() / 2


def test_the_first_loss_is_that_of_the_first_output(block: Tensor) -> None:
    method, sampling = DeepImagePrior(iterations=1, **TINY), BlockSampling(0.1)
    y = sampling.A(block)
    fit = method.fit(y, sampling)
    torch.testing.assert_close(fit.losses[0], (sampling.A(fit.x) - y).square().sum() / block.numel())


@BOTH
def test_every_image_of_a_batch_is_its_own_fit(name: str, block: Tensor) -> None:
    sampling = BlockSampling(0.3)
    y = sampling.A(torch.cat([block, block.mT, 1 - block]))
    method = methods.get(name, iterations=3, **TINY)
    estimate = method(y, sampling)
    assert torch.equal(method(y.flip(0), sampling).flip(0), estimate)
    assert torch.equal(method(y[1:2], sampling), estimate[1:2])


def test_the_seed_decides_everything_and_no_global_one_matters(block: Tensor) -> None:
    sampling = BlockSampling(0.3)
    y, state = sampling.A(block), torch.random.get_rng_state()
    first = DeepImagePrior(iterations=3, **TINY)(y, sampling)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(DeepImagePrior(iterations=3, **TINY)(y, sampling), first)
    assert not torch.equal(DeepImagePrior(iterations=3, seed=1, **TINY)(y, sampling), first)


def test_double_precision_is_followed(block: Tensor) -> None:
    sampling = BlockSampling(0.3)
    assert DeepImagePrior(iterations=2, **TINY)(sampling.A(block.double()), sampling).dtype == torch.float64


def test_the_clock_marks_the_rows(tmp_path: Path, block: Tensor) -> None:
    method = DeepImagePrior(iterations=1000, minutes=1e-6, **TINY)
    whole = method.variant
    images = [Image(name, (255 * block[0, 0]).byte()) for name in "ab"]
    rows = evaluate(method, images, [0.1], out=tmp_path / "rows.csv", label="crops")
    stopped = "stopped by the clock after 1 iterations; rate 0.02; channels 8; scales 3"
    assert [row["variant"] for row in rows] == [stopped, stopped] and whole not in stopped
    assert [row["variant"] for row in read_rows(tmp_path / "rows.csv")] == [stopped, stopped]
    folded = blockwise(method)
    assert folded.variant == f"{stopped}; blockwise"
    finished = DeepImagePrior(iterations=2, **TINY)
    rows = evaluate(finished, images, [0.1], out=tmp_path / "rows.csv", label="crops")
    assert {row["variant"] for row in rows} == {"2 iterations; rate 0.02; channels 8; scales 3"}
    assert len(read_rows(tmp_path / "rows.csv")) == 4


def test_ctrl_c_leaves_at_once_and_ends_its_line(
    block: Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    method, sampling = DeepImagePrior(iterations=50, **TINY), BlockSampling(0.1)

    def interrupt(iteration: int, output: Tensor) -> float:
        if iteration == 3:
            raise KeyboardInterrupt
        return 0.0

    monkeypatch.setattr(method, "penalty", lambda: interrupt)
    with torch.no_grad(), pytest.raises(KeyboardInterrupt):
        method(sampling.A(block), sampling)
    line = capsys.readouterr().err
    assert line.startswith("\r\x1b[Kdip 2 %, ") and ", loss " in line and line.endswith("\r\x1b[K")


def test_without_a_terminal_they_are_quiet(block: Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    sampling = BlockSampling(0.1)
    NLRCSNet(iterations=2, every=1, **TINY)(sampling.A(block), sampling)
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


@pytest.mark.parametrize(
    "options", [{"iterations": 0}, {"rate": 0}, {"scales": 6}, {"scales": 0}, {"minutes": 0}, {"channels": 0}]
)
@BOTH
def test_options_outside_their_range_are_refused(name: str, options: dict) -> None:
    with pytest.raises(UserError, match=name):
        methods.get(name, **options)


def test_too_small_an_image_is_refused() -> None:
    sampling = BlockSampling(0.3, block=16)
    with pytest.raises(UserError, match="at least 33 pixels"):
        DeepImagePrior(iterations=1)(sampling.A(torch.rand(1, 1, 32, 48)), sampling)


def test_the_splitting_refuses_what_makes_no_sense() -> None:
    for options in ({"mu": 0}, {"lam": -1}, {"bandwidth": 0}, {"every": 0}):
        with pytest.raises(UserError, match="nlr-csnet needs"):
            NLRCSNet(**options)
    with pytest.raises(UserError, match="has no weights"):
        methods.get("nlr-csnet", weights="x.safetensors")


def texture(noise: float) -> tuple[Tensor, Tensor]:
    """Return a repetitive texture (1, 1, 33, 44), and the same with noise."""
    row, column = torch.meshgrid(torch.arange(33), torch.arange(44), indexing="ij")
    clean = (0.5 + 0.3 * ((row // 2 + column // 2) % 2)).double()[None, None]
    return clean, clean + noise * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).double()


def test_non_local_weights_are_a_mean() -> None:
    _, noisy = texture(0.1)
    weights = non_local_weights(torch.cat([noisy, noisy.flip(-1)]))
    assert weights.shape == (2, 121, 33, 44) and (weights > 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 33, 44, dtype=torch.float64))
    assert (weights[:, 60:61] >= weights).all()  # no patch is nearer than the pixel's own
    constant = torch.full((1, 1, 12, 13), 0.4)
    torch.testing.assert_close(non_local_mean(constant, non_local_weights(constant)), constant)


def test_neighbours_are_shifts_of_the_image() -> None:
    x = torch.arange(48.0).view(1, 1, 6, 8)
    window = neighbours(x, 1)[0]
    assert torch.equal(window[4], x[0, 0]) and torch.equal(window[0, 1:, 1:], x[0, 0, :-1, :-1])
    assert torch.equal(window[5, :, :-1], x[0, 0, :, 1:]) and torch.equal(window[3, :, 0], x[0, 0, :, 1])


def test_weights_are_those_of_the_patch_distances() -> None:
    """One weight, far from the edges, from its definition."""
    _, f = texture(0.1)
    weights = non_local_weights(f, bandwidth=0.2, reach=2, patch=3)
    at = lambda i, j: f[0, 0, i - 1 : i + 2, j - 1 : j + 2]  # noqa: E731
    window = [(a, b) for a in range(8, 13) for b in range(18, 23)]
    expected = torch.stack([torch.exp(-(at(10, 20) - at(*p)).square().mean() / 0.2**2) for p in window])
    torch.testing.assert_close(weights[0, :, 10, 20], expected / expected.sum())


def test_a_repetitive_texture_loses_noise_and_keeps_its_edges() -> None:
    clean, noisy = texture(0.08)
    denoised = non_local_mean(noisy, non_local_weights(noisy, bandwidth=0.1))
    assert psnr(denoised, clean) > psnr(noisy, clean) + 4


@pytest.mark.parametrize("lam", [0.0, 0.4, 100.0])
def test_the_x_step_is_the_minimiser(lam: float) -> None:
    r""":math:`\mu\|x - f\|^2 + \lambda R(x)` is quadratic with Hessian 2(mu + lambda): a move costs what that says."""
    _, f = texture(0.1)
    weights, mu = non_local_weights(f), 0.1
    x = x_step(f, weights, mu, lam)

    def value(at: Tensor) -> Tensor:
        return mu * (at - f).square().sum() + lam * non_local_value(at, f, weights)[0]

    for size in (0.01, 1.0):
        move = size * torch.randn(f.shape, generator=torch.Generator().manual_seed(1), dtype=f.dtype)
        torch.testing.assert_close(value(x + move), value(x) + (mu + lam) * move.square().sum())
    assert value(x) <= value(f) + 1e-12  # so the alternation's objective does not rise in the x-step
    if lam == 0:
        torch.testing.assert_close(x, f)


def test_the_pull_begins_with_the_first_x_step(block: Tensor) -> None:
    pull = NLRCSNet(mu=0.5, lam=1.5, every=2).penalty()
    assert pull(0, block) == 0 and pull(1, block) == 0
    x = x_step(block, non_local_weights(block), 0.5, 1.5)
    torch.testing.assert_close(pull(2, block), 0.5 * (x - block).square().sum())
    torch.testing.assert_close(pull(3, 1 - block), 0.5 * (x - 1 + block).square().sum())  # x stays
    fresh = NLRCSNet(mu=0.5, every=2).penalty()
    assert fresh(3, block) == 0  # every fit has an x of its own


def test_without_a_prior_it_is_the_deep_image_prior(block: Tensor) -> None:
    """Before the first x-step both are the same; after it, not."""
    sampling = BlockSampling(0.3)
    y = sampling.A(block)
    plain = DeepImagePrior(iterations=6, **TINY)(y, sampling)
    assert torch.equal(NLRCSNet(iterations=6, every=6, **TINY)(y, sampling), plain)
    assert not torch.equal(NLRCSNet(iterations=6, every=2, **TINY)(y, sampling), plain)


def test_variants_tell_every_option_that_differs() -> None:
    assert NLRCSNet(iterations=7, mu=0.7, seed=3).variant == (
        "in the spirit of, no public code; 7 iterations; network seed 3; mu 0.7"
    )
    assert NLRCSNet(lam=nlr_csnet.LAMBDA).variant == NLRCSNet().variant


def test_odd_images_come_back_in_their_size() -> None:
    image = datasets.photo("camera").luma()[..., 100:140, 100:170]
    estimate, seconds = reconstruct(DeepImagePrior(iterations=1, **TINY), image, BlockSampling(0.1))
    assert estimate.shape == image.shape and seconds > 0

"""The sampling operator: its matrix, its adjoint, its convolution form, its padding."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from istapp import methods
from istapp.basics.errors import UserError
from istapp.methods.linear import linear_initialisation
from istapp.sampling import (
    BlockSampling,
    MixedSampling,
    gaussian_sampling,
    measurements,
    pad,
    sampling_matrix,
    valid_adjoint,
)
from istapp.solvers import optimality_residual, priors
from istapp.solvers.priors import TV

shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
ratios = st.sampled_from([0.01, 0.04, 0.1, 0.13, 0.25, 0.3, 0.5, 0.77, 1.0])


def images(batch: int, h: int, w: int, block: int = 33, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 1, block * h, block * w, generator=random, dtype=torch.float64)


def test_the_customary_numbers_of_measurements() -> None:
    table = {0.01: 10, 0.04: 43, 0.1: 109, 0.2: 218, 0.25: 272, 0.3: 327, 0.4: 436, 0.5: 545}
    assert {ratio: measurements(ratio) for ratio in table} == table
    assert measurements(1.0) == 1089 and measurements(0.07) == 77 and measurements(0.001) == 2
    assert measurements(0.25, block=16) == 64 and measurements(0.1, block=16) == 26


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, float("nan"), "ten", None])
def test_a_ratio_that_is_none_is_refused(ratio: object) -> None:
    with pytest.raises(UserError, match="CS ratio is a fraction"):
        measurements(ratio)  # type: ignore[arg-type]


@given(st.integers(0, 5), st.integers(1, 60))
@settings(max_examples=15)
def test_rows_are_orthonormal(seed: int, m: int) -> None:
    phi = sampling_matrix(m, seed, block=8)
    np.testing.assert_allclose(phi @ phi.T, np.eye(m), atol=1e-13)


def test_matrices_are_nested_over_ratios_and_differ_between_seeds() -> None:
    assert np.array_equal(sampling_matrix(545, 3)[:109], sampling_matrix(109, 3))
    assert np.abs(sampling_matrix(10, 0) - sampling_matrix(10, 1)).max() > 0.01


def test_the_matrix_is_the_same_on_every_machine() -> None:
    stored = json.loads(Path(__file__).with_name("phi.json").read_text())
    for entry in stored:
        phi = sampling_matrix(entry["m"], entry["seed"])
        np.testing.assert_allclose(phi[:: entry["m"] - 1, ::121], entry["values"], atol=1e-12)


@given(shapes, ratios, st.integers(0, 2))
@settings(max_examples=20)
def test_the_adjoint_is_the_adjoint(shape: tuple[int, int, int], ratio: float, seed: int) -> None:
    sampling = BlockSampling(ratio, seed)
    x = images(*shape, seed=seed)
    y = torch.randn(shape[0], sampling.m, *shape[1:], dtype=torch.float64)
    left, right = (sampling.A(x) * y).sum(), (x * sampling.adjoint(y)).sum()
    assert abs(left - right) <= 1e-12 * x.norm() * y.norm()


@given(st.integers(2, 9), st.floats(0.05, 1.0))
@settings(max_examples=15)
def test_the_adjoint_of_any_block_size_and_given_matrix(block: int, ratio: float) -> None:
    m = measurements(ratio, block)
    sampling = BlockSampling(ratio, seed=None, block=block, phi=torch.randn(m, block**2), kind="gaussian")
    x, y = images(2, 2, 1, block), torch.randn(2, m, 2, 1, dtype=torch.float64)
    assert torch.isclose((sampling.A(x) * y).sum(), (x * sampling.adjoint(y)).sum(), atol=1e-10)
    largest = torch.linalg.eigvalsh(sampling.phi.T @ sampling.phi)[-1].item()
    assert sampling.norm == pytest.approx(largest)


def test_measuring_is_a_matrix_product_per_block() -> None:
    sampling, x = BlockSampling(0.1), images(2, 2, 3)
    y = sampling.A(x)
    for i, j in ((0, 0), (1, 2)):
        block = x[1, 0, 33 * i : 33 * i + 33, 33 * j : 33 * j + 33].reshape(-1)
        torch.testing.assert_close(y[1, :, i, j], sampling.phi @ block, atol=1e-12, rtol=0)


def test_the_product_of_matrices_is_the_strided_convolution() -> None:
    sampling, x = BlockSampling(0.2), images(2, 2, 3)
    filters = sampling.phi.view(-1, 1, 33, 33)
    y = sampling.A(x)
    torch.testing.assert_close(y, F.conv2d(x, filters, stride=33), atol=1e-12, rtol=0)
    torch.testing.assert_close(sampling.adjoint(y), F.conv_transpose2d(y, filters, stride=33), atol=1e-12, rtol=0)


def test_pixel_shuffle_is_the_plain_block_layout() -> None:
    sampling = BlockSampling(0.3)
    y = torch.randn(2, sampling.m, 2, 3, dtype=torch.float64)
    shuffled = F.pixel_shuffle(F.conv2d(y, sampling.phi.T[:, :, None, None]), 33)
    torch.testing.assert_close(shuffled, sampling.adjoint(y), atol=1e-12, rtol=0)


def test_normal_is_a_projection() -> None:
    sampling, x = BlockSampling(0.2), images(1, 2, 2)
    once = sampling.normal(x)
    torch.testing.assert_close(sampling.normal(once), once, atol=1e-12, rtol=0)
    assert sampling.norm == pytest.approx(1, abs=1e-12)


def test_the_operator_follows_dtype_and_stays_exact_under_autocast() -> None:
    sampling, x = BlockSampling(0.1), images(1, 1, 1).float()
    assert sampling.A(x).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sampling.A(x), sampling.A(x.clone())) and sampling.A(x).dtype == torch.float32
    assert torch.autograd.gradcheck(BlockSampling(0.5, block=3).normal, images(1, 1, 2, 3).requires_grad_())


@pytest.mark.parametrize("shape", [(1, 1, 32, 33), (1, 3, 33, 33), (33, 33), (1, 1, 0, 33), (0, 1, 33, 33)])
def test_other_sizes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        BlockSampling(0.1).A(torch.zeros(shape))


def test_a_foreign_matrix_or_measurement_is_refused() -> None:
    with pytest.raises(UserError, match="Phi must be m x 1089"):
        BlockSampling(0.1, phi=np.eye(4))
    with pytest.raises(ValueError, match="y must be"):
        BlockSampling(0.1).adjoint(torch.zeros(1, 108, 1, 1))


def test_mixed_ratios_in_one_batch_equal_one_at_a_time() -> None:
    ratios = (0.1, 0.3, 0.5)
    mixed, x = MixedSampling(ratios, seed=4, batch=4), images(4, 2, 1)
    mixed.choose(torch.tensor([2, 0, 1, 2]))
    for i, ratio in enumerate((0.5, 0.1, 0.3, 0.5)):
        alone = BlockSampling(ratio, seed=4)
        torch.testing.assert_close(mixed.normal(x)[i : i + 1], alone.normal(x[i : i + 1]), atol=1e-12, rtol=0)
        assert mixed.ratio[i] == pytest.approx(ratio)


def test_a_renewed_matrix_is_used_at_once() -> None:
    mixed, x = MixedSampling((0.1,), batch=1), images(1, 1, 1)
    mixed.A(x)
    other = BlockSampling(0.1, seed=9)
    mixed.renew(other.phi)
    torch.testing.assert_close(mixed.A(x), other.A(x))


@given(st.integers(1, 80), st.integers(1, 80))
def test_padding_goes_right_and_down_and_is_undone(height: int, width: int) -> None:
    image = torch.rand(2, 1, height, width)
    x, crop = pad(image)
    assert x.shape[-2:] == (33 * (height // 33 + 1), 33 * (width // 33 + 1))  # also where it was a multiple
    assert torch.equal(crop(x), image) and x.sum() == pytest.approx(image.sum().item(), rel=1e-4)


def test_what_was_computed_from_a_matrix_is_forgotten_with_it() -> None:
    mixed, other = MixedSampling((0.1,), batch=1), BlockSampling(0.1, seed=9)
    first = linear_initialisation(mixed)
    assert linear_initialisation(mixed) is first
    mixed.renew(other.phi)
    torch.testing.assert_close(linear_initialisation(mixed), linear_initialisation(other))


def _mixed() -> MixedSampling:
    """A batch of four images at three ratios, with a matrix that was replaced once."""
    mixed = MixedSampling((0.1, 0.3, 0.5), seed=1, batch=4)
    mixed.choose(torch.tensor([2, 0, 1, 0]))
    mixed.renew(BlockSampling(0.5, seed=9).phi)
    return mixed


def _operators() -> dict[str, tuple[Callable, Callable, tuple[int, ...]]]:
    """Every linear map of the module that comes with a second one, which is meant to be its adjoint."""
    samplings = {f"{percent} %": BlockSampling(percent / 100) for percent in (1, 10, 25, 50, 100)}
    samplings |= {"Gaussian": gaussian_sampling(0.1, seed=2), "mixed": _mixed()}
    samplings["given"] = BlockSampling(0.25, None, 4, np.random.default_rng(0).normal(size=(5, 16)), kind="given")
    found = {name: (s.A, s.adjoint, (4, 1, 2 * s.block, 3 * s.block)) for name, s in samplings.items()}
    found |= {f"normal, {name}": (s.normal, s.normal, (4, 1, s.block, s.block)) for name, s in samplings.items()}
    found["pad"] = (lambda x: pad(x)[0], lambda y: y[..., :40, :50], (2, 1, 40, 50))
    for name, prior in (("DCT", priors.BlockDCT()), ("wavelet", priors.Wavelet())):
        found[name] = (prior.analysis, prior.synthesis, (2, 1, 33, 66))
    nothing = torch.zeros(2, 1, 7, 9, dtype=torch.float64)
    found["gradient"] = (priors._gradient, lambda p: -priors._add_divergence(nothing, p), nothing.shape)
    return found


@pytest.mark.parametrize("name", _operators())
def test_every_adjoint_is_one(name: str) -> None:
    forward, adjoint, shape = _operators()[name]
    assert valid_adjoint(forward, adjoint, shape)
    assert not valid_adjoint(forward, lambda y: 1.001 * adjoint(y), shape)


def test_the_error_of_an_adjoint_can_be_read() -> None:
    mixed = _mixed()
    unmasked = valid_adjoint(mixed.A, lambda y: BlockSampling.adjoint(mixed, y), (4, 1, 33, 33), eps=None)
    assert isinstance(unmasked, float) and unmasked > 1e-4


def test_measurements_that_are_masked_already_are_back_projected_as_before() -> None:
    mixed, x = _mixed(), torch.rand(4, 1, 33, 66)
    y = mixed.A(x)
    assert torch.equal(mixed.adjoint(y), BlockSampling.adjoint(mixed, y))
    assert torch.equal(mixed.normal(x), mixed.adjoint(y))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_refused(dtype: torch.dtype) -> None:
    sampling = BlockSampling(0.1)
    for call in (sampling.A, sampling.adjoint, pad):
        with pytest.raises(UserError, match="float"):
            call(torch.ones(1, sampling.m if call == sampling.adjoint else 1, 33, 33, dtype=dtype))


@pytest.mark.parametrize("value", [255.0, -255.0, float("nan"), float("inf")])
def test_pixels_from_0_to_255_and_what_is_not_finite_are_refused(value: float) -> None:
    image = torch.rand(1, 1, 20, 20)
    image[..., 3, 4] = value
    with pytest.raises(UserError, match=r"lies in \[0, 1\]" if math.isfinite(value) else "not finite"):
        pad(image)


def test_a_ratio_may_be_any_real_number() -> None:
    for kind in (np.float32, np.float64, float):
        assert BlockSampling(kind(0.1)).m == 109 and measurements(kind(0.01)) == 10
    assert measurements(np.float32(0.07), 16) == measurements(0.07, 16)
    for bad in ("0.1", None, float("nan"), 0, 1.5):
        with pytest.raises(UserError, match="fraction"):
            BlockSampling(bad)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True])
def test_a_seed_is_a_whole_number_from_0_on(seed: object) -> None:
    with pytest.raises(UserError, match="seed"):
        BlockSampling(0.1, seed)


def test_a_matrix_that_is_not_finite_is_refused() -> None:
    phi = np.ones((3, 16))
    phi[1, 1] = np.nan
    with pytest.raises(UserError, match="not finite"):
        BlockSampling(0.25, None, 4, phi)


def test_a_given_matrix_is_not_taken_for_a_drawn_one() -> None:
    given_rows = BlockSampling(0.1, phi=BlockSampling(0.1).phi.flip(0))
    assert (given_rows.kind, given_rows.seed) == ("given", None)
    network = methods.class_of("reconnet")(0.1)
    with pytest.raises(UserError, match="matrix it was trained for"):
        network(torch.zeros(1, 109, 1, 1), given_rows)


def test_an_operator_used_in_inference_mode_still_has_gradients() -> None:
    sampling = BlockSampling(0.1, block=8)
    with torch.inference_mode():
        sampling.A(torch.zeros(1, 1, 8, 8))
    x = torch.zeros(1, 1, 8, 8, requires_grad=True)
    sampling.A(x).sum().backward()
    assert x.grad is not None and torch.allclose(x.grad.flatten(), sampling.phi.sum(0).float())


def test_a_renewed_operator_forgets_its_norm() -> None:
    mixed = MixedSampling([0.01])
    assert mixed.norm == pytest.approx(1)
    mixed.renew(3 * mixed.phi)
    assert mixed.norm == pytest.approx(9)


@pytest.mark.parametrize("seed", [None, -1, True, 1.5])
def test_the_gaussian_matrix_wants_a_seed(seed: object) -> None:
    with pytest.raises(UserError, match="seed"):
        gaussian_sampling(0.1, seed)  # type: ignore[arg-type]


def test_there_is_one_measurement_at_least() -> None:
    assert measurements(1e-9) == 1


def test_what_is_wrong_with_an_image_is_said() -> None:
    with pytest.raises(ValueError, match="colours"):
        BlockSampling(0.1, block=8).A(torch.zeros(1, 3, 8, 8))
    with pytest.raises(UserError, match="not finite"):
        pad(torch.full((1, 1, 5, 5), math.nan))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_black_image_is_optimal_for_black_measurements(dtype: torch.dtype) -> None:
    sampling = BlockSampling(0.1, block=8)
    x, y = torch.zeros(1, 1, 8, 8, dtype=dtype), torch.zeros(1, sampling.m, 1, 1, dtype=dtype)
    assert optimality_residual(x, y, sampling, TV(), 0.1) == 0


def test_the_linear_estimate_takes_a_matrix_that_repeats_a_row() -> None:
    rows = torch.from_numpy(sampling_matrix(9))
    twice = BlockSampling(0.01, None, phi=torch.cat([rows, rows[:1]]), kind="m")
    once, x = BlockSampling(0.01, None, phi=rows, kind="m"), torch.rand(1, 1, 33, 33)
    linear = methods.get("linear")
    assert torch.allclose(linear(twice.A(x), twice), linear(once.A(x), once), atol=1e-4)


def test_the_linear_estimate_says_what_it_knows() -> None:
    with pytest.raises(UserError, match="33 x 33"):
        linear_initialisation(BlockSampling(0.1, block=8))
    with pytest.raises(UserError, match="one Q for one ratio"):
        linear_initialisation(MixedSampling([0.01, 0.1]))

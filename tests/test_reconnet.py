"""ReconNet: counts, its one pass by hand, the matrix it is bound to."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rivals import before_and_after, loaded

from istapp import methods
from istapp.basics.errors import UserError
from istapp.methods.linear import _read, second_moment
from istapp.methods.reconnet import ReconNet
from istapp.sampling import BlockSampling

COUNTS = {0.1: 142_704, 0.2: 261_405, 0.3: 380_106, 0.4: 498_807, 0.5: 617_508}


def a_network(ratio: float = 0.01) -> ReconNet:
    torch.manual_seed(0)
    return ReconNet(ratio)


def test_parameters_at_every_ratio_of_table_1() -> None:
    assert {ratio: ReconNet(ratio).parameter_count for ratio in COUNTS} == COUNTS
    assert sum(COUNTS.values()) == 1_900_530 != 5 * COUNTS[0.1]


def test_the_first_weights_are_the_published_ones() -> None:
    for ratio, std in ((0.01, 0.03), (0.1, 0.01), (0.25, 0.05)):
        network = a_network(ratio)
        assert network.first.weight.std().item() == pytest.approx(std, rel=0.05)
        assert network.triple1.conv1.weight.std().item() == pytest.approx(0.1, rel=0.05)
        assert all(not p.any() for name, p in network.named_parameters() if name.endswith("bias"))


def test_a_linear_start_is_the_linear_estimate_without_its_negative_part() -> None:
    torch.manual_seed(0)
    network, linear = ReconNet(0.01, linear_start=True).double(), methods.get("linear")
    sampling = network.sampling(0.01)
    y = sampling.A(torch.rand(1, 1, 33, 66, dtype=torch.float64) ** 8)  # dark enough for negative estimates
    expected = linear(y, sampling)
    assert (expected < 0).any()
    with torch.no_grad():
        torch.testing.assert_close(network(y, sampling), expected.clamp(min=0), atol=1e-6, rtol=0)
    network.loss(torch.rand(1, 1, 33, 33, dtype=torch.float64), sampling).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_a_block_is_one_pass_by_hand() -> None:
    network = a_network().double()
    sampling = network.sampling(0.01)
    y = sampling.A(torch.rand(1, 1, 33, 33, dtype=torch.float64))
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.01)  # biases too
        w = dict(network.named_parameters())
        x = (w["first.weight"] @ y.flatten() + w["first.bias"]).view(1, 1, 33, 33)
        for triple, last in (("triple1", False), ("triple2", True)):
            for layer, margin in (("conv1", 5), ("conv2", 0), ("conv3", 3)):
                kernel, bias = w[f"{triple}.{layer}.weight"], w[f"{triple}.{layer}.bias"]
                x = F.conv2d(x, kernel, bias, padding=margin)
                x = x if last and layer == "conv3" else x.clamp(min=0)
        torch.testing.assert_close(network(y, sampling), x, atol=1e-12, rtol=1e-12)


def test_every_block_is_reconstructed_alone_in_its_place() -> None:
    network = a_network()
    sampling = network.sampling(0.01)
    y = sampling.A(torch.rand(2, 1, 66, 99))
    with torch.no_grad():
        estimate = network(y, sampling)
        for image, row, column in ((0, 0, 1), (1, 1, 2), (0, 1, 0)):
            alone = network(y[image : image + 1, :, row : row + 1, column : column + 1], sampling)
            block = estimate[image, :, 33 * row : 33 * row + 33, 33 * column : 33 * column + 33]
            torch.testing.assert_close(block, alone[0], atol=1e-5, rtol=1e-4)


def test_it_is_differentiable_and_ignores_the_order_of_a_batch() -> None:
    network = a_network().double()
    sampling, x = network.sampling(0.01), torch.rand(2, 1, 33, 33, dtype=torch.float64)
    network.loss(x, sampling).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    y = sampling.A(x)
    with torch.no_grad():
        torch.testing.assert_close(network(y.flip(0), sampling).flip(0), network(y, sampling))


def test_another_matrix_or_ratio_is_refused() -> None:
    network = ReconNet(0.01, matrix_seed=3)
    y = torch.zeros(1, 10, 1, 1)
    assert network(y, BlockSampling(0.01, seed=3)).shape == (1, 1, 33, 33)
    with pytest.raises(UserError, match="the matrix it was trained for: seed 3, not 0"):
        network(y, BlockSampling(0.01, seed=0))
    with pytest.raises(UserError, match="the matrix it was trained for: m 10, not 43"):
        network(torch.zeros(1, 43, 1, 1), BlockSampling(0.04, seed=3))
    with pytest.raises(UserError, match="trained for a ratio of 1 %, not 10 %"):
        network.sampling(0.1, 3)


def test_a_short_training_beats_its_start_and_survives_the_disk(tmp_path: Path) -> None:
    network = a_network(0.04)
    before, after, back = before_and_after(network, 0.04, steps=25)
    assert after > before + 1 and after > back + 1
    method = loaded(network, tmp_path / "w.safetensors")
    assert method.blockwise and methods.blockwise(method) is method and method.variant == ""
    sampling = method.sampling(0.04)
    y = sampling.A(torch.rand(1, 1, 33, 66))
    estimate = method(y, sampling)
    assert torch.equal(estimate, network(y, sampling).detach()) and not estimate.requires_grad


def test_building_it_for_its_shapes_leaves_the_stored_statistics_alone() -> None:
    """Under the meta device every new tensor is without numbers, also one that would be remembered for later."""
    _read.cache_clear()
    with torch.device("meta"):
        ReconNet(0.1, linear_start=True)
    assert second_moment().isfinite().all() and not second_moment().is_meta

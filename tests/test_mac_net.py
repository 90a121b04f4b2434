"""MAC-Net: the released graph's parameters, the cascade, memory attention, loss."""

import pytest
import torch
from torch import Tensor

from istapp.methods.mac_net import MACNet
from istapp.sampling import BlockSampling

COUNTS = {0.1: 2_983_944, 0.2: 3_569_672, 0.3: 4_132_872, 0.4: 4_718_600, 0.5: 5_281_800}


@pytest.mark.parametrize(("ratio", "count"), COUNTS.items())
def test_parameters_are_the_released_graphs(ratio: float, count: int) -> None:
    assert MACNet(ratio=ratio).parameter_count == count


def tiny(stages: int = 3) -> MACNet:
    torch.manual_seed(0)
    return MACNet(stages=stages, width=4).double()


def pictures(count: int, height: int, width: int) -> Tensor:
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def measured(phi: Tensor, x: Tensor) -> Tensor:
    """Multiply every block of (B, 1, 16h, 16w), read row by row, by the matrix."""
    batch, _, height, width = x.shape
    blocks = x.view(batch, height // 16, 16, width // 16, 16).permute(0, 1, 3, 2, 4).reshape(-1, 256)
    return (blocks @ phi.T).view(batch, height // 16, width // 16, -1).permute(0, 3, 1, 2)


def test_the_cascade_equation_by_equation() -> None:
    network, x = tiny().eval(), pictures(2, 32, 48)
    for stage in network.stages:
        stage.last.weight.data *= 40  # far enough for the sums to be clipped
    sampling = network.sampling(0.1)
    phi = sampling.phi
    y = first = measured(phi, 2 * x - 1)
    total, memory, clipped = torch.zeros_like(x), [], 0
    traced = list(network.cascade(first, sampling))
    for stage, (r, left, image) in zip(network.stages, traced):
        by_hand = stage(y, torch.cat(memory, 1) if memory else None)
        y = y - measured(phi, by_hand)
        clipped += int(((total + by_hand).abs() > 1).sum())
        total = (total + by_hand).clamp(-1, 1)
        memory.append(by_hand)
        for ours, theirs in ((r, by_hand), (left, y), (image, total)):
            torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
    assert clipped and len(traced) == 3
    torch.testing.assert_close(network(sampling.A(x), sampling), (total + 1) / 2, atol=1e-9, rtol=0)
    everything = sum(measured(phi, r) for r in memory)
    torch.testing.assert_close(first - everything, y, atol=1e-9, rtol=0)  # what is left is what no stage explained


def test_stages_read_the_memory_of_all_before_them_by_attention() -> None:
    network = tiny().eval()
    assert [stage.memory.read.in_channels if stage.memory else 0 for stage in network.stages] == [0, 1, 2]
    assert [stage.first.kernel_size[0] for stage in network.stages] == [5, 3, 3]
    n, earlier = torch.randn(2, 4, 16, 32, dtype=torch.float64), torch.randn(2, 2, 16, 32, dtype=torch.float64)
    gate = network.stages[2].memory.gate(n)
    torch.testing.assert_close(gate.sum(1), torch.ones(2, 16, 32, dtype=torch.float64))
    y = torch.randn(2, 26, 1, 2, dtype=torch.float64)
    for i in range(2):
        other = earlier.clone()
        other[:, i] += 1
        assert not torch.equal(network.stages[2](y, other), network.stages[2](y, earlier))


@pytest.mark.parametrize(
    ("stages", "weights"), [(1, [1]), (2, [0.01, 1]), (4, [0.01, 0.1, 0.1, 1])], ids=["one", "two", "four"]
)
def test_the_loss_weighs_what_every_stage_leaves(stages: int, weights: list[float]) -> None:
    network, x = tiny(stages).eval(), pictures(2, 32, 16)
    sampling = network.sampling(0.1)
    traced = list(network.cascade(sampling.A(2 * x - 1), sampling))
    expected = (traced[-1][2] - (2 * x - 1)).abs().mean()
    for weight, (_, left, _) in zip(weights, traced, strict=True):
        expected = expected + 0.1 * weight * left.abs().mean()
    torch.testing.assert_close(network.loss(x, sampling), expected)


def test_residuals_stay_exact_under_bfloat16() -> None:
    network = tiny().float()
    sampling: BlockSampling = network.sampling(0.1)
    y = sampling.A(pictures(2, 16, 32).float())
    with torch.autocast("cpu", torch.bfloat16):
        for r, left, image in network.cascade(y, sampling):
            assert r.dtype == left.dtype == image.dtype == torch.float32
            torch.testing.assert_close(left, y - sampling.A(r), atol=1e-6, rtol=0)
            y = left

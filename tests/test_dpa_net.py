"""DPA-Net: the released graph's parameters, two paths and their sum, attention, loss."""

import pytest
import torch

from istapp.methods.dpa_net import DPANet, total_variation


@pytest.mark.parametrize(("ratio", "count"), [(0.1, 9_328_774), (0.3, 9_563_782), (0.5, 9_798_790)])
def test_parameters_are_the_released_graphs(ratio: float, count: int) -> None:
    assert DPANet(ratio=ratio).parameter_count == count


def test_parameters_of_the_paths_and_of_the_table() -> None:
    network = DPANet()
    structure, texture = (sum(p.numel() for p in path.parameters()) for path in (network.structure, network.texture))
    assert (structure, texture) == (805_185, 8_523_589)
    assert (structure + texture) / 9.31e6 == pytest.approx(1, abs=0.003)  # Table 1 prints 9.31 M


def tiny() -> DPANet:
    torch.manual_seed(0)
    return DPANet(width=8).double()


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_estimate_is_the_clipped_sum_of_both_paths() -> None:
    network = tiny().eval()
    sampling = network.sampling(0.1)
    y = sampling.A(pictures(2, 32, 48))
    ones = torch.ones(2, 1, 32, 48, dtype=torch.float64)
    network.texture.last.weight.data *= 300  # far enough for the clipping to bind
    t1, t2 = network.paths(2 * y - sampling.A(ones))
    estimate = network(y, sampling)
    torch.testing.assert_close(estimate, ((t1 + t2).clamp(-1, 1) + 1) / 2, atol=1e-12, rtol=0)
    assert estimate.max() == 1 and (t1 + t2).max() > 1 and t1.abs().max() <= 1


def test_the_structure_path_adds_at_four_levels_and_doubles_four_times() -> None:
    path = tiny().eval().structure
    image, features = path(torch.randn(2, 26, 2, 3, dtype=torch.float64))
    assert [f.shape for f in features] == [(2, 8, 2 * 2**level, 3 * 2**level) for level in range(4)]
    assert image.shape == (2, 1, 32, 48) and image.abs().max() <= 1
    t = torch.randn(2, 8, 4, 6, dtype=torch.float64)
    for level in path.levels:
        assert not torch.equal(level(t), t)
        level.layers[-1][-1].weight.data.zero_()
        assert torch.equal(level(t), t)  # a silent bottleneck hands on what it was given


def test_a_dense_block_hands_every_output_to_all_later_layers() -> None:
    block = tiny().texture.levels[0].before.eval()
    assert [layer[0][2].in_channels for layer in block.layers] == [2, 4, 6, 8, 10] and block.last.in_channels == 12


def test_attention_gates_structure_by_channel_and_by_place() -> None:
    attention = tiny().texture.levels[2].attention
    reduced = torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    channel, place = attention.gates(reduced)
    assert channel.shape == (2, 4, 1, 1) and place.shape == (2, 1, 12, 16)
    assert (channel > 0).all() and (channel < 1).all()
    moved_channel, moved_place = attention.gates(reduced.roll((3, 5), (2, 3)))  # a mean does not care where
    torch.testing.assert_close(moved_channel, channel)
    torch.testing.assert_close(moved_place, place.roll((3, 5), (2, 3)))


def test_the_texture_path_listens_to_the_structure_path_and_not_the_reverse() -> None:
    network = tiny().eval()
    y = torch.randn(1, 26, 2, 2, dtype=torch.float64)
    _, features = network.structure(y)
    t2 = network.texture(y, features)
    for level in range(4):
        deaf = [torch.zeros_like(f) if i == level else f for i, f in enumerate(features)]
        assert not torch.equal(network.texture(y, deaf), t2)
    (gradient,) = torch.autograd.grad(network.paths(y)[0].sum(), network.texture.last.weight, allow_unused=True)
    assert gradient is None


def test_total_variation_wraps_around() -> None:
    x = torch.zeros(2, 1, 4, 5)
    x[0, 0, 0, 2] = 1.0  # on the upper edge: four differences, one of them to the lower edge
    assert total_variation(x) == pytest.approx(4 / 2)
    torch.testing.assert_close(total_variation(x.roll((1, 2), (2, 3))), total_variation(x))


def test_the_loss_is_the_joint_second_phase() -> None:
    network, x = tiny().eval(), pictures(2, 32, 32)
    sampling = network.sampling(0.1)
    signed = 2 * x - 1
    t1, t2 = network.paths(sampling.A(signed))
    estimate = (t1 + t2).clamp(-1, 1)
    down, right = torch.cat([t1[:, :, -1:], t1[:, :, :-1]], 2), torch.cat([t1[..., -1:], t1[..., :-1]], 3)
    variation = ((t1 - down).abs().sum() + (t1 - right).abs().sum()) / 2  # two images
    expected = (t1 - signed).abs().mean() + 1.8e-4 * variation + (estimate - signed).abs().mean()
    expected = expected + (sampling.A(estimate) - sampling.A(signed)).abs().mean()
    torch.testing.assert_close(network.loss(x, sampling), expected)

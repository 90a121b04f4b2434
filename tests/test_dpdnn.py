"""DPDNN: counts, its update by hand, the convolutions that it registers and never uses."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rivals import before_and_after, loaded
from torch import Tensor

from istapp.basics.errors import UserError
from istapp.methods import Blockwise
from istapp.methods.dpdnn import DPDNN
from istapp.sampling import BlockSampling


def tiny(stages: int = 2, channels: int = 3, ratio: float | None = None) -> DPDNN:
    torch.manual_seed(0)
    return DPDNN(stages, channels, ratio)


def test_parameters_registered_and_used() -> None:
    network = DPDNN()
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    assert network.parameter_count == sum(sizes.values()) == 1_363_661
    assert sum(size for name, size in sizes.items() if name not in network.idle) == 1_289_805
    assert network.delta.tolist() == pytest.approx([0.1] * 6) and network.eta.tolist() == pytest.approx([0.9] * 6)


def u_net_by_hand(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """The denoiser's residual, from its weights alone."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = w[f"denoiser.{name}.weight"]
        return F.conv2d(x, kernel, w[f"denoiser.{name}.bias"], stride, kernel.shape[-1] // 2)

    skipped = []
    for level, shrunk_by in enumerate((0, 1, 0, 1)):  # the quirk of the released file
        for i in (1, 2, 3):
            x = conv(f"encoders.{level}.conv{i}", x).clamp(min=0)
        skipped.append(x)
        x = conv(f"encoders.{shrunk_by}.shrink", x, 2).clamp(min=0)
    x = conv("bottom", x).clamp(min=0)
    for level in range(4):
        beside, name = skipped[3 - level], f"denoiser.decoders.{level}.grow"
        larger = F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2, padding=1, output_padding=1)
        x = torch.cat([larger[..., : beside.shape[2], : beside.shape[3]], beside], 1)
        for layer in ("join", "conv1", "conv2", "conv3"):
            x = conv(f"decoders.{level}.{layer}", x).clamp(min=0)
        x = conv(f"decoders.{level}.conv4", x)
    return conv("last", x)


@pytest.mark.parametrize("size", [(33, 33), (33, 66), (99, 66)])
def test_the_update_by_hand_at_odd_and_even_sizes(size: tuple[int, int]) -> None:
    network, sampling = tiny().double(), BlockSampling(0.1)
    y = sampling.A(torch.rand(2, 1, *size, dtype=torch.float64))
    with torch.no_grad():
        network.delta.copy_(torch.tensor([0.3, 0.7]))
        network.eta.copy_(torch.tensor([0.9, 0.5]))
        w = dict(network.named_parameters())
        x = sampling.adjoint(y)
        for delta, eta in zip(network.delta, network.eta):
            gradient = sampling.normal(x) - sampling.adjoint(y)
            x = x - delta * (gradient - eta * u_net_by_hand(w, x))  # x - v = -f(x)
        torch.testing.assert_close(network(y, sampling), x, atol=1e-10, rtol=1e-10)
        assert network(y, sampling).shape == (2, 1, *size)


def test_all_but_the_idle_parameters_get_a_gradient_and_order_does_not_matter() -> None:
    network, sampling = tiny(channels=8).double(), BlockSampling(0.1)
    x = torch.rand(3, 1, 33, 33, dtype=torch.float64)
    network.loss(x, sampling).backward()
    without = {name for name, p in network.named_parameters() if p.grad is None}
    assert without == network.idle and len(without) == 4
    assert all(p.grad.isfinite().all() for name, p in network.named_parameters() if name not in without)
    y = sampling.A(x)
    with torch.no_grad():
        torch.testing.assert_close(network(y.flip(0), sampling).flip(0), network(y, sampling))


def test_in_bfloat16_the_image_stays_in_float32() -> None:
    network, sampling = tiny(), BlockSampling(0.1)
    with torch.no_grad():
        y = sampling.A(torch.rand(1, 1, 33, 33))
        with torch.autocast("cpu", torch.bfloat16):
            images = network.trace(y, sampling)
        assert {image.dtype for image in images} == {torch.float32}


def test_another_ratio_is_refused() -> None:
    with pytest.raises(UserError, match="dpdnn was trained for a ratio of 10 %, not 30 %"):
        tiny(ratio=0.1).sampling(0.3)
    assert tiny().sampling(0.3).m == 327


def test_a_short_training_beats_its_start_and_survives_the_disk(tmp_path: Path) -> None:
    network = tiny(2, 8, 0.3)
    idle = {name: p.clone() for name, p in network.named_parameters() if name in network.idle}
    before, after, back = before_and_after(network, 0.3, steps=60, rate=4e-3)
    assert after > before + 1 and after > back + 1
    assert all(torch.equal(p, idle[name]) for name, p in network.named_parameters() if name in idle)
    method = loaded(network, tmp_path / "w.safetensors")
    assert isinstance(method, Blockwise) and method.variant == "" and method.ratios == (0.3,)
    sampling = method.sampling(0.3, seed=2)  # any matrix
    y = sampling.A(torch.rand(1, 1, 33, 33))
    assert torch.equal(method(y, sampling), network(y, sampling).detach())

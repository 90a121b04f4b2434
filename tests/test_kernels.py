"""The kernels of a stage of ISTA-Net++ against PyTorch's layers, interpreted, where Triton is at hand."""

import copy
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from istapp.methods.ista_net_pp import ISTANetPP, ProximalMapping
from istapp.sampling import BlockSampling
from istapp.training.gradients import Kernels, computing_by

os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined; a GPU would round float32 to ten bits
pytest.importorskip("triton", reason="Triton, which comes with PyTorch for an Nvidia GPU, is not installed")
kernels = pytest.importorskip("istapp.method.kernels")


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the features be float32, so that what is left is rounding: the interpreter cannot multiply bfloat16."""
    monkeypatch.setattr(kernels, "FEATURES", torch.float32)


def mapped(stage: ProximalMapping, by_kernels: bool, r: Tensor, sigma: Tensor | None, g: Tensor) -> list[Tensor]:
    """Return x, and the gradients of <g, x> by r, by sigma and by every weight."""
    stage = copy.deepcopy(stage)
    r = r.clone().requires_grad_(True)
    sigma = None if sigma is None else sigma.clone().requires_grad_(True)
    x = stage.by_kernels(r, sigma) if by_kernels else stage(r, sigma)
    x.backward(g)
    grads = [leaf.grad for leaf in (r, sigma, *stage.parameters()) if leaf is not None]
    assert all(grad is not None for grad in grads)
    return [x.detach(), *(grad for grad in grads if grad is not None)]


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from([16, 32]), st.integers(1, 3), st.integers(3, 12), st.integers(3, 12), st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
def test_value_and_every_gradient_are_those_of_the_layers(
    channels: int, batch: int, height: int, width: int, noise_map: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    stage = ProximalMapping(channels, noise_map).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    r, g = torch.randn(2, batch, 1, height, width)
    sigma = torch.rand(batch, 5)[:, 2] if noise_map else None  # a column, as the network hands it over
    for own, theirs in zip(mapped(stage, True, r, sigma, g), mapped(stage, False, r, sigma, g), strict=True):
        assert float((own - theirs).norm() / theirs.norm()) < 1e-5


def test_the_gradient_of_a_whole_network_is_the_same() -> None:
    torch.manual_seed(0)
    network = ISTANetPP(stages=2, channels=16)
    x, sampling = torch.rand(2, 1, 33, 33), BlockSampling(0.1)
    found = []
    for forwards in ([stage.forward for stage in network.stages], [stage.by_kernels for stage in network.stages]):
        network.zero_grad()
        with computing_by(network, forwards):
            network.loss(x, sampling).backward()
        found.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-4


def test_other_widths_and_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="channels"):
        ProximalMapping(24).by_kernels(torch.rand(1, 1, 9, 9), torch.rand(1))
    with pytest.raises(ValueError, match="float64"):
        ProximalMapping(16).by_kernels(torch.rand(1, 1, 9, 9, dtype=torch.float64), torch.rand(1))
    with pytest.raises(ValueError, match="more than"):
        ProximalMapping(16).by_kernels(torch.empty(1, 1, 2**14, 2**14, device="meta"), torch.rand(1))
    scaler, network = torch.amp.GradScaler("cpu", enabled=False), ISTANetPP(1, 16)
    with pytest.raises(NotImplementedError, match="bfloat16"):
        Kernels(network, network.loss, BlockSampling(0.1), scaler, "float32").forwards()

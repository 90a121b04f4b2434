"""GDN: counts, its update by hand in training and in evaluation, moments that are kept, resumed and reloaded."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rivals import a_run, before_and_after, loaded
from torch import Tensor

from istapp.basics.errors import UserError
from istapp.methods import Blockwise
from istapp.methods.gdn import GDN
from istapp.sampling import BlockSampling
from istapp.training import train


def tiny(iterations: int = 2, channels: int = 4, **config: object) -> GDN:
    torch.manual_seed(0)
    return GDN(iterations, channels, **{"residual_blocks": 1, **config})


def test_parameters() -> None:
    assert GDN().parameter_count == 624_770  # Table 1: 0.50 M
    assert GDN(channels=64, residual_blocks=6).parameter_count == 453_186
    assert GDN(iterations=9).parameter_count == GDN().parameter_count == GDN(keep_mean=True).parameter_count
    assert GDN().eta.item() == pytest.approx(0.1)
    assert all((p == 0.001).all() for n, p in GDN().named_parameters() if n.endswith("bias") and "norm" not in n)


def regulariser_by_hand(network: GDN, x: Tensor, k: int) -> Tensor:
    """R(x) from the weights alone, with a batch normalisation written out."""
    w = network.state_dict()

    def conv(name: str, x: Tensor) -> Tensor:
        kernel = w[f"R.{name}.weight"]
        return F.conv2d(x, kernel, w[f"R.{name}.bias"], padding=kernel.shape[-1] // 2)

    def norm(name: str, x: Tensor) -> Tensor:
        if network.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        else:
            mean, variance = w[f"R.{name}.running_mean"][k], w[f"R.{name}.running_var"][k]
        scale, shift, mean, variance = (
            t.view(1, -1, 1, 1) for t in (w[f"R.{name}.weight"], w[f"R.{name}.bias"], mean, variance)
        )
        return scale * (x - mean) / (variance + 1e-5).sqrt() + shift

    def leaky(x: Tensor) -> Tensor:
        return torch.maximum(x, 0.1 * x)

    mean = torch.stack([image.mean() for image in x]).view(-1, 1, 1, 1)
    f = conv("first", x - mean)
    for i in range(network.config["residual_blocks"]):
        inside = leaky(norm(f"blocks.{i}.norm1", conv(f"blocks.{i}.conv1", f)))
        f = f + leaky(norm(f"blocks.{i}.norm2", conv(f"blocks.{i}.conv2", inside)))
    f = conv("last", leaky(conv("mix2", leaky(conv("mix1", f)))))
    return f if network.config["keep_mean"] else f + mean


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("keep_mean", [False, True], ids=["released", "mean kept"])
def test_the_update_by_hand(training: bool, keep_mean: bool) -> None:
    network, sampling = tiny(residual_blocks=2, keep_mean=keep_mean).double(), BlockSampling(0.1)
    y = sampling.A(torch.rand(3, 1, 33, 66, dtype=torch.float64))
    with torch.no_grad():
        network(y, sampling)  # gives the running moments something to remember
        network.train(training)
        for name, p in network.named_parameters():
            p.mul_(1.1).add_(0.01 if "norm" in name else 0)
        eta = network.eta
        x = eta * sampling.adjoint(y)
        for k in range(2):
            x = x - eta * (sampling.normal(x) - sampling.adjoint(y)) - regulariser_by_hand(network, x, k)
        torch.testing.assert_close(network(y, sampling), x, atol=1e-9, rtol=1e-9)


def test_each_iteration_remembers_its_own_moments() -> None:
    network, sampling = tiny(3), BlockSampling(0.1)
    x = torch.rand(2, 1, 33, 33)
    with torch.no_grad():
        for _ in range(200):
            in_training = network(sampling.A(x), sampling)
        mean = network.R.blocks[0].norm1.running_mean
        assert mean.shape == (3, 4) and (mean[0] - mean[2]).abs().max() > 1e-3
        # On the batch that they were taken from, evaluation is training, but for the unbiased variance.
        error = (network.eval()(sampling.A(x), sampling) - in_training).norm() / in_training.norm()
        assert error < 0.02
    assert not any("running" in name for name, _ in network.named_parameters())


def test_every_parameter_gets_a_gradient_and_order_does_not_matter() -> None:
    network, sampling = tiny().double(), BlockSampling(0.1)
    x = torch.rand(3, 1, 33, 33, dtype=torch.float64)
    network.loss(x, sampling).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    # A bias right before a batch normalisation changes nothing; all the others matter.
    idle = {name for name, p in network.named_parameters() if p.grad.abs().max() < 1e-12}
    assert idle == {"R.blocks.0.conv1.bias", "R.blocks.0.conv2.bias"}
    y = sampling.A(x)
    with torch.no_grad():
        estimate = network.eval()(y, sampling)
        torch.testing.assert_close(network(y.flip(0), sampling).flip(0), estimate)
        torch.testing.assert_close(network(y[1:2], sampling), estimate[1:2])  # nor who else is in it


def test_in_bfloat16_the_image_stays_in_float32() -> None:
    network, sampling = tiny(), BlockSampling(0.1)
    with torch.no_grad():
        y = sampling.A(torch.rand(1, 1, 33, 33))
        with torch.autocast("cpu", torch.bfloat16):
            images = network.trace(y, sampling)
    assert {image.dtype for image in images} == {torch.float32}


def test_another_ratio_is_refused() -> None:
    with pytest.raises(UserError, match="gdn was trained for a ratio of 10 %, not 30 %"):
        tiny(ratio=0.1).sampling(0.3)
    assert tiny().sampling(0.3).m == 327


@pytest.mark.parametrize("keep_mean", [False, True], ids=["released", "mean kept"])
def test_a_short_training_beats_its_start_and_survives_the_disk(keep_mean: bool, tmp_path: Path) -> None:
    network = tiny(2, 8, ratio=0.5, keep_mean=keep_mean)
    before, after, back = before_and_after(network, 0.5, steps=100, rate=4e-3)
    assert after > before + 1 and (after > back or not keep_mean)
    method = loaded(network, tmp_path / "w.safetensors")
    assert isinstance(method, Blockwise) and method.ratios == (0.5,)
    assert method.variant == ("mean kept" if keep_mean else "")
    sampling = method.sampling(0.5, seed=2)  # any matrix
    y = sampling.A(torch.rand(1, 1, 33, 33))
    estimate = method(y, sampling)
    assert torch.equal(estimate, network(y, sampling).detach()) and not estimate.requires_grad
    assert torch.equal(method(y, sampling), estimate)  # reconstructing moves no moments


def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(tmp_path: Path) -> None:
    whole = train(a_run(tiny(ratio=0.1), 0.1, steps=6, validate_every=2))
    stops = 0
    while not (
        result := train(a_run(tiny(ratio=0.1), 0.1, 6, validate_every=2, keep=tmp_path / "run"), minutes=0)
    ).done:
        stops += 1
    assert stops == 5
    moments = [name for name in whole.weights if "running" in name]
    assert len(moments) == 4 and all(whole.weights[name].unique().numel() > 2 for name in moments)
    assert all(torch.equal(whole.weights[name], tensor) for name, tensor in result.weights.items())

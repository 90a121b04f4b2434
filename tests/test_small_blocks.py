"""What DPA-Net and MAC-Net have in common: their own 16 x 16 matrix, signed images, training, weights, odd sizes."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from istapp import methods
from istapp.basics.errors import UserError
from istapp.experiments import evaluation
from istapp.images import datasets
from istapp.method import loading, weights
from istapp.methods.dpa_net import DPANet, SmallBlocks
from istapp.methods.mac_net import MACNet
from istapp.metrics import psnr
from istapp.sampling import BlockSampling, gaussian_sampling
from istapp.training import Run, first, train, validation_psnr

TINY = [(DPANet, {"width": 8}), (MACNet, {"stages": 3, "width": 4})]
both = pytest.mark.parametrize(("network", "size"), TINY, ids=["dpa-net", "mac-net"])


def tiny(network: type[SmallBlocks], size: dict[str, int], ratio: float = 0.1) -> SmallBlocks:
    torch.manual_seed(0)
    return network(**size, ratio=ratio)


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, height, width, generator=random, dtype=torch.float64)


@both
def test_measurements_of_a_signed_image_are_had_from_those_of_the_image(network: type, size: dict) -> None:
    method, x = tiny(network, size), pictures(2, 32, 48)
    sampling = method.sampling(0.1)
    assert (sampling.block, sampling.m, sampling.kind) == (16, 26, "gaussian")
    signed = method.signed(sampling.A(x), sampling)
    torch.testing.assert_close(signed, sampling.A(2 * x - 1), atol=1e-12, rtol=0)
    method = method.double().eval()
    inside = method.estimate(signed, sampling)
    torch.testing.assert_close(2 * method(sampling.A(x), sampling) - 1, inside, atol=1e-12, rtol=0)
    assert inside.shape == x.shape and inside.abs().max() <= 1


@both
def test_every_parameter_is_reached_by_the_loss(network: type, size: dict) -> None:
    method = tiny(network, size).double().train()
    loss = method.loss(pictures(3, 32, 32), method.sampling(0.1))
    loss.backward()
    assert loss.ndim == 0
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # A bias just before a batch normalisation changes nothing; kernels all do.
        assert parameter.ndim < 4 or parameter.grad.abs().max() > 0, name


@both
def test_the_order_of_a_batch_changes_nothing_and_neighbours_do(network: type, size: dict) -> None:
    method, x = tiny(network, size).double().eval(), pictures(3, 32, 48)
    sampling = method.sampling(0.1)
    y = sampling.A(x)
    with torch.no_grad():
        whole = method(y, sampling)
        torch.testing.assert_close(method(y.flip(0), sampling).flip(0), whole, atol=1e-12, rtol=0)
        torch.testing.assert_close(method(y[1:2], sampling), whole[1:2], atol=1e-12, rtol=0)
        assert (methods.blockwise(method)(y, sampling) - whole).abs().max() > 1e-6


@both
def test_under_bfloat16_images_stay_as_they_came(network: type, size: dict) -> None:
    method, x = tiny(network, size), pictures(2, 32, 32).float()
    sampling = method.sampling(0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert method.loss(x, sampling).dtype == torch.float32
        assert method(sampling.A(x), sampling).dtype == torch.float32


@both
def test_a_foreign_matrix_is_refused_in_one_line(network: type, size: dict) -> None:
    method = tiny(network, size)
    foreign = [
        (BlockSampling(0.1), "kind gaussian, not orthonormal"),
        (gaussian_sampling(0.1, 0, 33), "block 16, not 33"),
        (gaussian_sampling(0.3), "m 26, not 77"),
        (gaussian_sampling(0.1, seed=1), "seed 0, not 1"),
    ]
    for sampling, what in foreign:
        x = torch.rand(1, 1, sampling.block, sampling.block)
        with pytest.raises(UserError, match=what) as refusal:
            method(sampling.A(x), sampling)
        assert "\n" not in str(refusal.value)
    with pytest.raises(UserError, match="trained for a ratio of 10 %, not 30 %"):
        method.sampling(0.3)
    with pytest.raises(UserError, match="seed 0, not 5"):
        method.sampling(0.1, seed=5)
    with pytest.raises(UserError, match="multiple of"):
        network(width=6)


@both
def test_a_short_training_lowers_the_loss_and_its_weights_come_back(
    network: type, size: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = datasets.load("photos")[:3]
    method = tiny(network, size, ratio=0.3)
    recipe = first(160e3, block=16, blocks=2, batch=4, rate=1e-2, average=0.9, error="published")
    result = train(Run(method, images, recipe, [0.3], quiet=True, validate_every=20))
    after = validation_psnr(method, images, [0.3])
    assert result.done and len(result.curve) == 2 and result.curve[1]["loss"] < 0.9 * result.curve[0]["loss"]
    method = method.to(memory_format=torch.channels_last)  # so that sums are rounded as in the network loaded below

    # The validation squares are 96 x 96: the whole 16 x 16 blocks in 99 x 99 pixels.
    sampling = method.eval().sampling(0.3)
    crops = [
        image.luma()[..., (h - 96) // 2 :, (w - 96) // 2 :][..., :96, :96] for image in images for h, w in [image.size]
    ]
    with torch.no_grad():
        quality = [psnr(method(sampling.A(crop), sampling)[0], crop[0]) for crop in crops]
    assert sum(quality) / 3 == pytest.approx(after[0], abs=1e-3)

    path = tmp_path / f"{method.name}-short.safetensors"
    weights.save(path, result.weights, {"method": method.name, "config": method.config, "main": True})
    y = sampling.A(crops[0])
    with torch.no_grad():
        expected = method(y, sampling)
    loaded = loading.build(network, path)
    assert torch.equal(loaded(y, sampling), expected) and not loaded(y, sampling).requires_grad
    monkeypatch.setattr(loading.paths, "WEIGHTS", tmp_path)
    shipped = methods.get(method.name)
    assert shipped.ratios == (0.3,) and torch.equal(shipped(y, shipped.sampling(0.3)), expected)


@both
def test_images_of_odd_sizes_are_padded_to_16_pixels_and_cut_back(network: type, size: dict) -> None:
    method = tiny(network, size).eval().requires_grad_(False)
    image, sampling = pictures(1, 37, 50).float(), method.sampling(0.1)
    estimate, _ = evaluation.reconstruct(method, image, sampling)
    padded = F.pad(image, (0, 14, 0, 11))
    assert estimate.shape == image.shape
    assert torch.equal(estimate, method(sampling.A(padded), sampling)[..., :37, :50])

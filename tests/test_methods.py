"""Methods: counts, equations, switches, weights, and the cross-block strategy."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from istapp import methods
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.images import datasets
from istapp.method import loading, weights
from istapp.method.wrapping import as_published
from istapp.methods import Blockwise, Method, PerRatio, blockwise
from istapp.methods.ista_net import ISTANet
from istapp.methods.ista_net_plus import ISTANetPlus
from istapp.methods.ista_net_pp import ISTANetPP, gradient_descent
from istapp.methods.linear import fit_second_moment, linear_initialisation, second_moment
from istapp.metrics import psnr
from istapp.sampling import BlockSampling, pad

SWITCHES = [(True, True, 760_220), (False, True, 759_580), (True, False, 753_800), (False, False, 752_040)]


@pytest.mark.parametrize(("step", "noise_map", "count"), SWITCHES)
def test_parameters_of_table_4(step: bool, noise_map: bool, count: int) -> None:
    assert ISTANetPP(dynamic_step=step, noise_map=noise_map).parameter_count == count


@pytest.mark.parametrize(("k", "c"), [(5, 32), (9, 32), (20, 16), (3, 8), (20, 64)])
def test_parameter_formulas_of_the_networks(k: int, c: int) -> None:
    assert ISTANetPP(k, c).parameter_count == k * (36 * c**2 + 32 * c + 1) + 1120 + 66 * k
    assert ISTANetPlus(k, c).parameter_count == k * (36 * c**2 + 18 * c + 2)


def test_parameters_of_the_rivals() -> None:
    assert ISTANetPlus().parameter_count == 336_978
    assert ISTANet().parameter_count == 171_090


def tiny(**config: object) -> ISTANetPP:
    torch.manual_seed(0)
    return ISTANetPP(**{"stages": 3, "channels": 4, **config}).double()


@pytest.mark.parametrize(("step", "noise_map"), [s[:2] for s in SWITCHES])
def test_the_forward_pass_is_equations_6_to_8(step: bool, noise_map: bool) -> None:
    network, sampling = tiny(dynamic_step=step, noise_map=noise_map), BlockSampling(0.3)
    y = sampling.A(torch.rand(2, 1, 33, 66, dtype=torch.float64))
    rho, sigma = network.conditions(0.3)
    x = x0 = sampling.adjoint(y)
    for k, stage in enumerate(network.stages):
        r = x - rho[0, k] * (sampling.adjoint(sampling.A(x)) - x0)
        inside = r if sigma is None else torch.cat([r, sigma[0, k] * torch.ones_like(r)], 1)
        features = stage.head(inside)
        for block in (stage.block1, stage.block2):
            features = features + block.conv2(torch.relu(block.conv1(features)))
        x = r + stage.tail(features)
    torch.testing.assert_close(network(y, sampling), x, atol=1e-12, rtol=0)
    trace = network.trace(y, sampling)
    assert torch.equal(trace[-1][1], network(y, sampling)) and len(trace) == 3
    r1 = gradient_descent(x0, x0, rho[:, 0], sampling)
    assert torch.equal(trace[0][0], r1)


def test_conditions_are_positive_and_follow_the_ratio() -> None:
    network = tiny()
    rho, sigma = network.conditions(torch.tensor([0.1, 0.5]))
    assert rho.shape == sigma.shape == (2, 3) and (rho > 0).all() and (sigma > 0).all()
    torch.testing.assert_close(rho[1:], network.conditions(0.5)[0])
    assert not torch.equal(rho[0], rho[1])
    fixed = tiny(dynamic_step=False, noise_map=False)
    assert torch.equal(fixed.conditions(0.1)[0], fixed.conditions(0.5)[0]) and fixed.conditions(0.1)[1] is None


@pytest.mark.parametrize("network", [tiny(), ISTANetPlus(2, 3).double(), ISTANet(2, 3).double()], ids=lambda n: n.name)
def test_every_network_is_differentiable_and_gives_one_image_per_measurement(network: methods.Network) -> None:
    sampling = BlockSampling(0.1)
    x = torch.rand(3, 1, 33, 33, dtype=torch.float64)
    loss = network.loss(x, sampling)
    loss.backward()
    assert loss.ndim == 0 and all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    with torch.no_grad():
        together = network(sampling.A(x), sampling)
        alone = network(sampling.A(x[1:2]), sampling)
    torch.testing.assert_close(together[1:2], alone, atol=1e-12, rtol=0)


def test_the_symmetry_term_is_what_the_paper_adds() -> None:
    """Where the way back leads to zero, a hundredth of what should have come back is missing in every stage."""
    for network in (ISTANet(2, 3).double(), ISTANetPlus(2, 3).double()):
        sampling, x = BlockSampling(0.1), torch.rand(2, 1, 33, 33, dtype=torch.float64)
        for weight in (p for stage in network.stages for p in stage.H_back.parameters()):
            weight.data.zero_()
        images, compared = network.trace(sampling.A(x), sampling)
        missing = sum(0.01 * d.square().mean() for d in compared)
        assert missing > 0
        torch.testing.assert_close(network.loss(x, sampling), (images[-1] - x).square().mean() + missing)


def test_blockwise_is_each_block_alone() -> None:
    network, sampling = tiny(), BlockSampling(0.2)
    y = sampling.A(torch.rand(2, 1, 66, 99, dtype=torch.float64))
    with torch.no_grad():
        folded = blockwise(network)(y, sampling)
        alone = network(y[1:, :, 1:2, 2:3], sampling)
        whole = network(y, sampling)
    torch.testing.assert_close(folded[1:, :, 33:66, 66:99], alone, atol=1e-12, rtol=0)
    assert (whole - folded).abs().max() > 1e-6  # the cross-block path does something
    assert blockwise(network).variant == "blockwise" and blockwise(methods.get("linear")).variant == ""


def test_the_whole_image_at_once_is_the_network_itself() -> None:
    """What is published block by block may see across blocks; what does so already, or cannot, says it."""
    network, sampling = ISTANetPlus(2, 3, ratio=0.2).double().eval(), BlockSampling(0.2)
    y = sampling.A(torch.rand(1, 1, 66, 99, dtype=torch.float64))
    for published in (as_published(network), PerRatio([as_published(network)])):
        whole = methods.whole_image(published)
        assert published.blockwise and not whole.blockwise and whole.variant == "whole image"
        torch.testing.assert_close(whole(y, sampling), network(y, sampling), atol=0, rtol=0)
    for name, why in (("tv", "as it is"), ("linear", "every block alone")):
        with pytest.raises(UserError, match=why):
            methods.whole_image(methods.get(name))


def test_the_linear_estimate_is_the_best_linear_one() -> None:
    """Q = C Phi^T (Phi C Phi^T)^-1: its error is uncorrelated with the measurements, and Phi Q = I."""
    sampling, c = BlockSampling(0.1), second_moment()
    q = linear_initialisation(sampling)
    identity = torch.eye(sampling.m, dtype=torch.float64)
    torch.testing.assert_close(sampling.phi @ q, identity, atol=1e-8, rtol=0)
    error_with_y = (torch.eye(1089, dtype=torch.float64) - q @ sampling.phi) @ c @ sampling.phi.T
    assert error_with_y.abs().max() < 1e-8 * c.abs().max()
    y = sampling.A(torch.rand(1, 1, 33, 66, dtype=torch.float64))
    estimate = methods.get("linear")(y, sampling)
    torch.testing.assert_close(estimate[0, 0, :, 33:].reshape(-1), q @ y[0, :, 0, 1], atol=1e-10, rtol=0)


def test_a_page_hears_of_the_second_moment_at_every_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once and kept, it was named under the first figure of a chapter that used it, and under no other."""
    sampling, linear, heard = BlockSampling(0.1), methods.get("linear"), []
    y = sampling.A(torch.rand(1, 1, 33, 33))
    monkeypatch.setattr("sys.audit", lambda event, *what: heard.append((event, *map(str, what))))
    for use in (second_moment, lambda: linear(y, sampling)):
        for _ in range(2):
            heard.clear()
            use()
            assert any(event == "istapp.weights" and "second-moment" in str(what) for event, *what in heard)


def test_the_stored_second_moment_is_that_of_train400(data_dir: Path) -> None:
    images = [image.luma() for image in datasets.load("Train400")[::20]]
    some, stored = fit_second_moment(images, stride=21), second_moment()
    # A twentieth of the images: the same statistics, though not the same numbers.
    assert (some - stored).norm() / stored.norm() < 0.15
    assert torch.equal(stored, stored.T) and torch.linalg.eigvalsh(stored)[0] > 0


@pytest.mark.verify
def test_the_second_moment_refitted_is_the_stored_one(data_dir: Path) -> None:
    refitted = fit_second_moment(image.luma() for image in datasets.load("Train400"))
    torch.testing.assert_close(refitted, second_moment(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["ista", "fista", "tv"])
def test_classical_methods_beat_back_projection_and_ignore_the_order_of_a_batch(name: str) -> None:
    image = datasets.photo("camera").luma()[..., 150:249, 200:299]
    x = torch.cat([image, image.mT])
    method, sampling = methods.get(name, iterations=40, lam=0.02), BlockSampling(0.3)
    y = sampling.A(x)
    estimate = method(y, sampling)
    assert psnr(estimate[:1], x[:1]) > psnr(sampling.adjoint(y)[:1], x[:1]) + 5
    torch.testing.assert_close(method(y.flip(0), sampling).flip(0), estimate, atol=1e-4, rtol=0)


def saved(network: methods.Network, path: Path, **header: object) -> Path:
    about = {"method": network.name, "config": network.config, "main": True, **header}
    weights.save(path, network.state_dict(), about)
    return path


def test_weights_come_back_frozen_and_equal(tmp_path: Path) -> None:
    network = tiny().float()
    loaded = methods.get("ista-net-pp", weights=saved(network, tmp_path / "w.safetensors"))
    sampling = BlockSampling(0.1)
    y = sampling.A(torch.rand(1, 1, 33, 33))
    torch.testing.assert_close(loaded(y, sampling), network(y, sampling).detach(), atol=1e-5, rtol=0)  # another layout
    assert not loaded(y, sampling).requires_grad
    assert loaded.weights == "w.safetensors" and loaded.config == network.config


def test_one_network_per_ratio_serves_its_ratios_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    for ratio in (0.1, 0.3):
        torch.manual_seed(int(100 * ratio))
        network = ISTANetPlus(1, 2, ratio)
        saved(network, tmp_path / f"ista-net-plus-{ratio}.safetensors", parameters=network.parameter_count)
    method = methods.get("ista-net-plus")
    assert isinstance(method, PerRatio) and method.ratios == (0.1, 0.3)
    with pytest.raises(UserError, match="trained for a ratio of 10, 30 %, not 20 %"):
        method.sampling(0.2)
    for ratio in (0.1, 0.3):
        sampling = method.sampling(ratio)
        y = sampling.A(torch.rand(1, 1, 33, 66))
        torch.testing.assert_close(method(y, sampling), method.networks[ratio](y, sampling))


def test_what_is_shipped_is_the_largest_main_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    with pytest.raises(UserError, match="shipped yet: .*--weights .* istapp train ista-net-pp"):
        methods.get("ista-net-pp")
    for size, main in ((2, True), (3, True), (4, False)):
        network = tiny(channels=size).float()
        path = tmp_path / f"ista-net-pp-{size}.safetensors"
        saved(network, path, parameters=network.parameter_count, main=main)
    assert methods.get("ista-net-pp").weights == "ista-net-pp-3.safetensors"
    assert methods.describe("ista-net-pp").weights == "ista-net-pp-3.safetensors"


def test_foreign_and_broken_weights_are_refused(tmp_path: Path) -> None:
    plus = saved(ISTANetPlus(1, 2), tmp_path / "plus.safetensors")
    with pytest.raises(UserError, match="holds weights of ista-net-plus, not of ista-net-pp"):
        methods.get("ista-net-pp", weights=plus)
    mislabelled = tmp_path / "wrong.safetensors"
    weights.save(mislabelled, tiny().state_dict(), {"method": "ista-net-pp", "config": {"stages": 2, "channels": 4}})
    with pytest.raises(UserError, match="does not fit"):
        methods.get("ista-net-pp", weights=mislabelled)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(plus.read_bytes()[:-100])
    text = tmp_path / "text.pkl"
    text.write_text("hello")
    pickled = tmp_path / "code.pkl"
    torch.save({"a": Path("x")}, pickled)
    for path, why in (
        (cut, "not a whole"),
        (tmp_path / "none.safetensors", "no weights at"),
        (text, "not a checkpoint"),
    ):
        with pytest.raises(UserError, match=why):
            methods.get("ista-net-pp", weights=path)
    with pytest.raises(UserError, match="not a checkpoint of plain tensors"):
        methods.get("ista-net-pp", weights=pickled)
    with pytest.raises(UserError, match="has no weights"):
        methods.get("tv", weights=plus)


def test_a_header_alone_says_that_its_weights_are_not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = saved(tiny(), tmp_path / "ista-net-pp-a.safetensors", run="ista-net-pp-a", parameters=2, pixels=7)
    saved(tiny(), tmp_path / "ista-net-pp-b.safetensors", parameters=1)
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    assert methods.get("ista-net-pp").weights == large.name
    before = weights.header(large)
    weights.leave_header(large)
    assert weights.header(large) == before and large.stat().st_size < 1000
    with pytest.raises(UserError, match="header alone.*: istapp train ista-net-pp-a --out FOLDER makes them"):
        methods.get("ista-net-pp", weights=large)
    assert methods.get("ista-net-pp").weights == "ista-net-pp-b.safetensors"


class Remembering(ISTANetPP):
    """A network with a tensor that its file does not hold."""

    def __init__(self, **config: object) -> None:
        super().__init__(**config)
        self.register_buffer("limits", torch.tensor([0.25, 0.75]), persistent=False)


def test_what_a_file_does_not_hold_is_made_by_the_constructor(tmp_path: Path) -> None:
    network = Remembering(stages=1, channels=2)
    path = saved(network, tmp_path / "w.safetensors")
    torch.manual_seed(3)
    loaded = loading.filled(Remembering, path)
    assert torch.initial_seed() == 3 and torch.equal(torch.rand(3), torch.rand(3, generator=torch.manual_seed(3)))
    assert loaded.limits.tolist() == [0.25, 0.75]
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), network.state_dict().values()))


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    weights.save(path, {"a": torch.tensor([0.1]).half()}, {"method": "x"})
    assert weights.load(path)[1]["a"].dtype == torch.float32 and weights.header(path) == {"method": "x"}


def test_names_and_unknown_names() -> None:
    assert {"linear", "ista", "fista", "tv", "ista-net", "ista-net-plus", "ista-net-pp"} <= set(methods.names())
    with pytest.raises(UserError, match=r"no method 'fist' \(did you mean 'fista'\?\)"):
        methods.get("fist")
    for name in methods.names():
        description = methods.describe(name)
        assert description.name == name and (description.kind == "network") == (description.parameters > 0)


def test_a_new_method_needs_nothing_but_the_contract() -> None:
    class Mean(Method):
        name = "mean"

        def __call__(self, y: Tensor, sampling: BlockSampling) -> Tensor:
            return sampling.adjoint(y)

    image = torch.rand(1, 1, 40, 50)
    x, crop = pad(image)
    sampling = Mean().sampling(0.1, seed=3)
    assert crop(Blockwise(Mean())(sampling.A(x), sampling)).shape == image.shape

"""The fast path: the same network in another layout and number format."""

from pathlib import Path

import pytest
import torch

from istapp import methods
from istapp.__main__ import main
from istapp.basics import paths
from istapp.experiments.evaluation import evaluate, read_rows
from istapp.images import datasets
from istapp.method.fast import Fast, fast, networks
from istapp.methods import class_of
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.sampling import BlockSampling


def network() -> ISTANetPP:
    torch.manual_seed(0)
    net = ISTANetPP(3, 8)
    return net.fill(net.state_dict(), "none")


def plain(net: ISTANetPP) -> ISTANetPP:
    """The same in the layout that PyTorch builds."""
    copy = ISTANetPP(**net.config)
    copy.load_state_dict(net.state_dict())
    return copy.to(memory_format=torch.contiguous_format).eval().requires_grad_(False)


def test_another_layout_changes_nothing_but_rounding() -> None:
    net, sampling = network(), BlockSampling(0.3)
    y = sampling.A(torch.rand(1, 1, 66, 99))
    torch.testing.assert_close(net(y, sampling), plain(net)(y, sampling), atol=1e-5, rtol=0)
    quick = Fast(net, precision="float32")
    assert quick.variant == ""  # no other number format, so no variant
    torch.testing.assert_close(quick(y, sampling), net(y, sampling), atol=1e-5, rtol=0)


def test_rows_say_that_another_number_format_made_them(tmp_path: Path) -> None:
    quick = Fast(methods.blockwise(network()), precision="bfloat16")
    assert quick.variant == "blockwise; bfloat16" and quick.blockwise and quick.parameter_count > 0
    out = tmp_path / "rows.csv"
    (row,) = evaluate(quick, datasets.load("photos", images=["chelsea"]), [0.1], out=out)
    assert row["variant"] == read_rows(out)[0]["variant"] == "blockwise; bfloat16"
    exact = evaluate(quick.method, datasets.load("photos", images=["chelsea"]), [0.1])[0]
    assert 0 < abs(row["psnr"] - exact["psnr"]) < 0.1


def test_the_first_image_of_ista_net_plus_is_exact() -> None:
    """x0 = Qy belongs to the operator: in bfloat16 it would cost hundredths of a decibel at 50 %."""
    net = class_of("ista-net-plus")(stages=1, channels=4, ratio=0.5)
    sampling = BlockSampling(0.5)
    y = sampling.A(torch.rand(1, 1, 66, 33))
    with torch.autocast("cpu", torch.bfloat16):
        inside = net.trace(y, sampling)[0][0]
    assert torch.equal(inside, net.trace(y, sampling)[0][0])


def test_float64_stays_float64() -> None:
    net, sampling = network().double(), BlockSampling(0.1)
    quick = Fast(net, precision="bfloat16")
    y = sampling.A(torch.rand(1, 1, 33, 33, dtype=torch.float64))
    assert torch.equal(quick(y, sampling), net(y, sampling))


def test_every_kind_of_method_has_a_fast_path() -> None:
    """Classical ones are left alone; of a network per ratio every one is found."""
    assert not list(networks(methods.get("tv"))) and fast(methods.get("tv")).variant == ""
    assert len(list(networks(methods.get("reconnet")))) == len(methods.get("reconnet").ratios)
    method = fast(methods.get("reconnet"))
    sampling = method.sampling(0.1)
    assert method(sampling.A(torch.rand(1, 1, 33, 33)), sampling).dtype == torch.float32


def test_the_flag_on_the_command_line(tmp_path: Path) -> None:
    image = paths.PHOTOS / "chelsea.png"
    out = tmp_path / "fast.png"
    command = ["reconstruct", str(image), "--method", "ista-net-plus", "--ratio", "10", "--fast", "--out", str(out)]
    assert main(command) == 0 and out.exists()


@pytest.mark.verify
def test_compiled_stages_change_nothing_but_rounding() -> None:
    """Also where the sizes of images differ; on a machine without a compiler the stages run as they are."""
    net = network()
    quick = Fast(plain(net), many=True, precision="float32")
    for height, width in ((33, 33), (33, 66), (99, 66)):
        sampling = BlockSampling(0.3)
        y = sampling.A(torch.rand(1, 1, height, width))
        torch.testing.assert_close(quick(y, sampling), net(y, sampling), atol=1e-5, rtol=0)


@pytest.mark.verify
def test_the_fast_path_costs_little_on_set11(official_dir: Path, data_dir: Path) -> None:
    """At most 0.01 dB of the mean at 10 % and 0.03 dB at 50 %, with the released weights."""
    method = methods.get("ista-net-pp", weights=official_dir / "istanet-plus-plus" / "net_params_401.pkl")
    quick = Fast(method, precision="bfloat16")
    for ratio, most in ((0.1, 0.01), (0.5, 0.03)):
        exact, half = (sum(r["psnr"] for r in evaluate(m, "Set11", [ratio])) / 11 for m in (method, quick))
        assert abs(exact - half) <= most

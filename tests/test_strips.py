"""Large images in bounded memory: strips give what the whole image gives, and need the memory of one."""

import subprocess
import sys

import pytest
import torch

from istapp import metrics
from istapp.method import strips
from istapp.methods import Blockwise
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.sampling import BlockSampling, MixedSampling


def network(**config: object) -> ISTANetPP:
    """A network whose stages all do something, without gradients."""
    torch.manual_seed(0)
    return ISTANetPP(**{"stages": 3, "channels": 4, **config}).eval().requires_grad_(False)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of few pixels, so that small images have many."""
    monkeypatch.setattr(strips, "LARGE", 2000)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("shape", [(1, 1, 165, 66), (3, 1, 99, 33), (1, 1, 33, 165), (40, 1, 33, 33)], ids=str)
def test_strips_give_what_the_whole_image_gives(
    shape: tuple[int, ...], dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, sampling = network().to(dtype), BlockSampling(0.1)
    y = sampling.A(torch.rand(shape, dtype=dtype))
    whole = net(y, sampling)
    monkeypatch.setattr(strips, "LARGE", 2000)
    calls = []
    net.stages[0].head.register_forward_hook(lambda *_: calls.append(1))
    torch.testing.assert_close(net(y, sampling), whole, atol=tolerance, rtol=0)
    assert len(calls) > 1


@pytest.mark.parametrize("config", [{"noise_map": False}, {"dynamic_step": False}], ids=str)
def test_strips_know_the_switches_and_a_ratio_for_each_image(config: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    net, sampling = network(**config).double(), MixedSampling((0.1, 0.3, 0.5), batch=5)
    y = sampling.A(torch.rand(5, 1, 66, 66, dtype=torch.float64))
    whole = net(y, sampling)
    monkeypatch.setattr(strips, "LARGE", 2000)
    torch.testing.assert_close(net(y, sampling), whole, atol=1e-10, rtol=0)


def test_block_by_block_too(monkeypatch: pytest.MonkeyPatch) -> None:
    net, sampling = Blockwise(network().double()), BlockSampling(0.1)
    y = sampling.A(torch.rand(1, 1, 99, 132, dtype=torch.float64))
    whole = net(y, sampling)
    monkeypatch.setattr(strips, "LARGE", 2000)
    torch.testing.assert_close(net(y, sampling), whole, atol=1e-10, rtol=0)


def test_a_network_that_learns_takes_the_whole_image(small: None) -> None:
    net, sampling = network().requires_grad_(True), BlockSampling(0.1)
    net.loss(torch.rand(1, 1, 66, 66), sampling).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_every_pixel_is_in_one_strip(small: None) -> None:
    for shape in ((1, 1, 1, 1), (7, 1, 33, 33), (2, 1, 500, 3), (1, 1, 40, 9000), (900, 1, 2, 2)):
        seen = torch.zeros(shape)
        for images, strip, around, inside in strips.cut(shape, halo=6):
            seen[images, :, strip] += 1
            assert seen[images, :, around][..., inside, :].min() == 1
        assert (seen == 1).all()
        assert [r.start % 33 for r in strips.rows(shape, 33)] == [0] * len(list(strips.rows(shape, 33)))


def test_psnr_by_bands_is_psnr() -> None:
    a, b = torch.rand(2, 1, 50, 70), torch.rand(2, 1, 50, 70)
    assert metrics._clipped_error(a, b, most=100) == pytest.approx(metrics._clipped_error(a, b), rel=1e-13)


MEASURED = """
import resource, torch
from istapp.method import strips
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.sampling import BlockSampling
torch.manual_seed(0)
network = ISTANetPP(2, 8).requires_grad_(False)
sampling = BlockSampling(0.01)
y = sampling.A(torch.rand(1, 1, 33, 33)).expand(1, 10, {rows}, 64).contiguous()
network(y[:, :, :1], sampling)
strips.LARGE = 2**17
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
network(y, sampling)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_grows_by_the_images_that_stay_whole_alone() -> None:
    """Read from the operating system: what a larger image needs more is three of it and a passing fourth."""

    def mebibytes(rows: int) -> float:
        command = [sys.executable, "-c", MEASURED.format(rows=rows)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    few, many = mebibytes(16), mebibytes(64)
    image = 48 * 33 * 64 * 33 * 4 / 2**20  # by how much the larger one is larger
    assert many - few < 4.5 * image

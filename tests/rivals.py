"""What the tests of the rival networks share: a short training, and weights written and read again."""

from pathlib import Path

import torch

from istapp.images import datasets
from istapp.images.datasets import Image
from istapp.method import loading, weights
from istapp.methods import Method, Network
from istapp.metrics import psnr
from istapp.training import Run, first, train, validation_psnr


def pictures(name: str = "astronaut", count: int = 3, side: int = 66) -> list[Image]:
    """Return neighbouring squares of a photograph."""
    pixels = datasets.photo(name).gray().pixels
    return [Image(f"{name}{i}", pixels[90 * i : 90 * i + side, 150 : 150 + side]) for i in range(count)]


def a_run(network: Network, ratio: float, steps: int, rate: float = 2e-3, **more: object) -> Run:
    """Return a run of a few steps on a few blocks, always the same ones."""
    recipe = first(steps * 4 * 33**2, batch=4, blocks=1, rate=rate, average=0.9)
    return Run(network, pictures(), recipe, (ratio,), seed=7, quiet=True, **more)


def before_and_after(network: Network, ratio: float, steps: int, rate: float = 2e-3) -> tuple[float, float, float]:
    """Train, and return the PSNR in dB on another photograph of the start, the end, and plain back-projection."""
    held_out = pictures("camera", count=2)
    (before,) = validation_psnr(network, held_out, (ratio,), side=33)
    assert train(a_run(network, ratio, steps, rate, validate_every=steps)).done
    (after,) = validation_psnr(network, held_out, (ratio,), side=33)
    sampling = network.sampling(ratio)
    x = torch.cat([image.luma()[..., 16:49, 16:49] for image in held_out])
    back = sum(map(psnr, sampling.normal(x), x)) / len(x)
    return before, after, back


def loaded(network: Network, path: Path) -> Method:
    """Write a network's weights, leave it as it is to be compared, and build the method from the file."""
    network.to(memory_format=torch.channels_last).eval()  # another layout than the loaded one's rounds otherwise
    weights.save(path, network.state_dict(), {"method": network.name, "config": network.config})
    return loading.build(type(network), path)

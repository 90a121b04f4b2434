"""What a training is judged by while it runs: images of its own set that it never learns from, and no test image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from istapp.images.datasets import Image
from istapp.method.base import Network
from istapp.method.wrapping import as_published
from istapp.metrics import psnr


def split(images: Sequence[Image]) -> tuple[list[Image], list[Image]]:
    """Return training and validation images: every 20th, in the order of their pixel hashes, is held out.

    A set of fewer than 20 images lends its last one to both.
    """
    ordered = sorted(images, key=lambda image: image.hash)
    held_out = ordered[19::20]
    return ([image for image in ordered if image not in held_out], held_out) if held_out else (ordered, ordered[-1:])


def validation_psnr(
    network: Network, images: Sequence[Image], ratios: Sequence[float], side: int = 99, matrix_seed: int = 0
) -> list[float]:
    """Return the mean PSNR in dB at each ratio on the central `side` x `side` pixels of images.

    The square is cut down to whole blocks, and to the largest that all images have. A network whose authors run it on
    every block alone is judged that way: it never saw the ones beside.
    """
    device = next(network.parameters()).device
    network.eval()
    method, means = as_published(network), []
    with torch.no_grad():
        for ratio in ratios:
            sampling = network.sampling(ratio, matrix_seed)
            whole = min(side, *(n for image in images for n in image.size)) // sampling.block * sampling.block
            crops = torch.cat([_centre(image.luma(), whole) for image in images]).to(device)
            estimates = method(sampling.A(crops), sampling)
            means.append(sum(map(psnr, estimates, crops)) / len(crops))
    network.train()
    return means


def halved_where_free(
    network: Network, weights: dict[str, Tensor], images: Sequence[Image], ratios: Sequence[float], cost: float = 0.005
) -> dict[str, Tensor]:
    """Return weights in float16, or as they are where that costs `cost` dB or more of the mean PSNR of validation.

    The network is left with `weights`. What the book's own network is compared with may take half the room this way.
    """
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    means = []
    for each in (half, weights):
        network.load_state_dict(each)
        means.append(sum(validation_psnr(network, split(images)[1], ratios)) / len(ratios))
    return half if means[1] - means[0] < cost else weights


def _centre(image: Tensor, side: int) -> Tensor:
    top, left = ((n - side) // 2 for n in image.shape[-2:])
    return image[..., top : top + side, left : left + side]

"""Cutting a large image into strips of rows, so that a network's features need the memory of one strip only.

A convolution of 3 x 3 sees one row above and one below, so the rows that a strip loses at its edges are known
beforehand: cut with that halo and left out again, strips give what the whole image gives, up to rounding.
"""

from collections.abc import Iterator, Sequence

from torch import nn

#: Pixels of a batch beyond which it is cut, and about as many of a strip. In 32 channels of float32 that is 128 MiB;
#: a residual network holds about six of them at a time. Every image of the test sets is smaller, and done in one piece.
LARGE = 2**20


def reach(network: nn.Module) -> int:
    """Return how many rows away a chain of convolutions that keep the size sees: the sum of their padding."""
    return sum(int(layer.padding[0]) for layer in network.modules() if isinstance(layer, nn.Conv2d))


def rows(shape: Sequence[int], multiple: int = 1, least: int = 1) -> Iterator[slice]:
    """Yield the strips of images (B, 1, H, W), of about `LARGE` pixels: a multiple of so many rows, or `least`."""
    batch, _, height, width = shape
    step = max(LARGE // (batch * width) // multiple * multiple, multiple, least)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def cut(shape: Sequence[int], halo: int) -> Iterator[tuple[slice, slice, slice, slice]]:
    """Yield strips of some images (B, 1, H, W) at a time, of about `LARGE` pixels but not much lower than the halo.

    Yields:
        Which images, the rows of the strip, those with its halo, and where in these the strip lies.
    """
    batch, _, height, width = shape
    together = max(LARGE // (width * min(height, 8 * halo + 1)), 1)
    for first in range(0, batch, together):
        images = slice(first, min(first + together, batch))
        for strip in rows((images.stop - first, 1, height, width), least=2 * halo):
            seen = slice(max(strip.start - halo, 0), min(strip.stop + halo, height))
            yield images, strip, seen, slice(strip.start - seen.start, strip.stop - seen.start)

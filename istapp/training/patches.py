"""Random patches, cut, flipped and turned where the images are: no loader, no workers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from istapp.basics.errors import UserError
from istapp.images.datasets import Image


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, without waiting for what a GPU still has to do."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class Patches:
    """Draws square patches from images of any sizes, held as one flat uint8 array on the device.

    An image is drawn uniformly, then a position in it, then one of the eight flips and rotations. Images smaller than
    the patch are left out.
    """

    def __init__(self, images: Sequence[Image], side: int, device: torch.device) -> None:
        """Hold the luma of `images` to cut patches of `side` x `side` pixels.

        Raises:
            UserError: no image is large enough.
        """
        lumas = [image.gray().pixels for image in images if min(image.size) >= side]
        if not lumas:
            raise UserError(f"no training image is as large as a patch of {side} x {side} pixels")
        self.side, self.count, self.device = side, len(lumas), device
        self._flat = torch.cat([luma.flatten() for luma in lumas]).to(device)
        sizes = torch.tensor([luma.shape for luma in lumas])
        areas = sizes.prod(1)
        self._first = (areas.cumsum(0) - areas).to(device)
        self._height, self._width = sizes.to(device).unbind(1)
        self._grid = torch.arange(side, device=device)

    def draw(self, batch: int, random: torch.Generator) -> Tensor:
        """Return a batch of patches in [0, 1], (batch, 1, side, side) float32; `random` may be on another device."""
        uniform = torch.rand(4, batch, generator=random, device=random.device, dtype=torch.float64)
        uniform = sent(uniform, self.device)
        which = (uniform[0] * self.count).long()
        height, width = self._height[which], self._width[which]
        top = (uniform[1] * (height - self.side + 1)).long()
        left = (uniform[2] * (width - self.side + 1)).long()
        turn = (uniform[3] * 8).long()
        rows, columns = self._turned(turn)
        index = (self._first[which] + top * width + left).view(-1, 1, 1) + rows * width.view(-1, 1, 1) + columns
        return self._flat[index].unsqueeze(1).float() / 255

    def _turned(self, turn: Tensor) -> tuple[Tensor, Tensor]:
        """Return row and column offsets (batch, side, side): bit 0 flips down, bit 1 flips right, bit 2 transposes."""
        down = (turn % 2 == 1).view(-1, 1)
        right = (turn // 2 % 2 == 1).view(-1, 1)
        swap = (turn // 4 == 1).view(-1, 1, 1)
        last = self.side - 1
        rows = torch.where(down, last - self._grid, self._grid).unsqueeze(2).expand(-1, -1, self.side)
        columns = torch.where(right, last - self._grid, self._grid).unsqueeze(1).expand(-1, self.side, -1)
        return torch.where(swap, rows.mT, rows), torch.where(swap, columns.mT, columns)

"""Image sets packed into one safetensors file, so that a bare machine trains from a single one."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from istapp.basics.errors import UserError, nearest, reason
from istapp.basics.paths import refuse_unwritable, write_atomically
from istapp.images.image import Image, data_hash

#: How the name of a pack ends: by this it is told from a folder, as in ISTAPP_DATA.
ENDING = ".safetensors"

#: The entry of the file's header that says which image lies where.
HEADER = "istapp.images"

#: What the libraries raise where header and tensors, or the PNG files in them, are not what was written.
_DAMAGE = (
    SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OverflowError, OSError, SyntaxError,
    PIL.Image.DecompressionBombError,
)  # fmt: skip


def refuse_pack_target(path: str | Path) -> None:
    """Find out before any work whether a pack could be written there, where it takes the place of no other file.

    Raises:
        UserError: it could not; something else lies there; or nothing would take a file of that name for a pack.
    """
    refuse_unwritable(path)
    if not str(path).endswith(ENDING):
        raise UserError(f"{path} does not end in {ENDING}, as the name of a pack must")
    if not Path(path).exists():
        return
    try:  # of a damaged pack no more is asked: it is to be packed again
        own = HEADER in (safe_open(path, "pt").metadata() or {})
    except (OSError, SafetensorError):
        own = False
    if not own:
        raise UserError(f"{path} is there and is no pack of images; name another file, or remove it")


def write_pack(path: str | Path, sets: dict[str, list[Image]]) -> None:
    """Write sets of images: a flat uint8 tensor for each, and names, shapes and hash in the header.

    It holds the images as PNG files, one after the other, whose sizes the header then tells; or their pixels, where
    these are fewer bytes. Colour stays colour, (H, W, 3); nothing is padded.

    Raises:
        UserError: nothing to pack, or the file cannot be written.
    """
    if not sets or not all(sets.values()):
        raise UserError("a pack needs at least one set, and no empty one")
    tensors: dict[str, Tensor] = {}
    header: dict[str, dict[str, Any]] = {}
    for name, images in sets.items():
        shapes = [[image.name, *image.pixels.shape] for image in images]
        header[name] = {"hash": data_hash(images), "images": shapes}
        pixels, files = [image.pixels.flatten() for image in images], [_png(image) for image in images]
        if sum(map(len, files)) < sum(map(len, pixels)):
            header[name]["png"] = [len(file) for file in files]
        tensors[name] = torch.cat(files if "png" in header[name] else pixels)
    try:
        write_atomically(path, lambda beside: save_file(tensors, beside, {HEADER: json.dumps(header)}))
    except (OSError, SafetensorError) as error:  # a full disk is the one or the other
        raise UserError(f"cannot write {path}: {reason(error)}") from None


def _png(image: Image) -> Tensor:
    """Return the bytes of an image's PNG file, uint8."""
    file = io.BytesIO()
    PIL.Image.fromarray(image.pixels.numpy()).save(file, "PNG")
    return torch.frombuffer(bytearray(file.getbuffer()), dtype=torch.uint8)


def packed(path: str | Path) -> list[str]:
    """Return the names of the sets in a pack.

    Raises:
        UserError: the file is missing, damaged or not a pack.
    """
    return list(_open(path)[0])


def read_pack(path: str | Path, name: str | None = None) -> list[Image]:
    """Return the images of a set in a pack; the name may be left out where the pack holds one set only.

    Raises:
        UserError: the file is missing, damaged or not a pack, or it holds no such set.
    """
    header, file = _open(path)
    if name is None and len(header) > 1:
        raise UserError(f"{path} holds several sets; name one, as in {path}:{next(iter(header))}")
    name = name or next(iter(header))
    if name not in header:
        raise UserError(f"{path} holds no set '{name}'{nearest(name, header)}; it holds {', '.join(header)}")
    try:
        shapes = [(title, tuple(shape)) for title, *shape in header[name]["images"]]
        files = header[name].get("png")
        pieces = file.get_tensor(name).split(files or [torch.Size(shape).numel() for _, shape in shapes])
        pieces = [_of_png(piece, shape) for piece, (_, shape) in zip(pieces, shapes)] if files else pieces
        images = [Image(title, piece.view(shape)) for (title, shape), piece in zip(shapes, pieces, strict=True)]
        right = data_hash(images) == header[name]["hash"]
    except _DAMAGE as error:
        raise UserError(f"{path} is damaged: its header does not tell the images of {name} ({reason(error)})") from None
    if not right:
        raise UserError(f"{path} is damaged: the pixels of {name} are not those that were packed; pack it again")
    return images


def _of_png(file: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the pixels of a PNG file's bytes.

    Raises:
        ValueError: it is of another size than was packed, and is not decoded.
        OSError: it is no PNG file.
    """
    picture = PIL.Image.open(io.BytesIO(file.numpy().tobytes()), formats=["PNG"])
    if (picture.height, picture.width) != shape[:2]:
        raise ValueError(f"an image of {picture.width} x {picture.height} pixels where {shape} were packed")
    return torch.from_numpy(np.array(picture))


def _open(path: str | Path) -> tuple[dict, safe_open]:
    """Return a pack's header and the open file."""
    try:
        file = safe_open(path, "pt")
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {path} as a pack of images: {error}") from None
    header = (file.metadata() or {}).get(HEADER)
    if header is None:
        raise UserError(f"{path} is not a pack of images; make one with `istapp datasets --pack FILE{ENDING} NAME`")
    try:
        found = json.loads(header)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path} is damaged: its header tells no images; pack it again")
    return found, file

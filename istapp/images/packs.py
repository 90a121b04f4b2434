"""Image sets packed into one safetensors file, so that a bare machine trains from a single array."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from istapp.basics.errors import UserError, nearest, reason
from istapp.basics.paths import write_atomically
from istapp.images.image import Image, data_hash

#: The entry of the file's header that says which image lies where.
HEADER = "istapp.images"


def write_pack(path: str | Path, sets: dict[str, list[Image]]) -> None:
    """Write sets of images: a flat uint8 tensor of pixels for each, and names, shapes and hash in the header.

    Colour stays colour, (H, W, 3); nothing is padded.

    Raises:
        UserError: nothing to pack, or the file cannot be written.
    """
    if not sets or not all(sets.values()):
        raise UserError("a pack needs at least one set, and no empty one")
    tensors = {name: torch.cat([image.pixels.flatten() for image in images]) for name, images in sets.items()}
    header = {
        name: {"hash": data_hash(images), "images": [[image.name, *image.pixels.shape] for image in images]}
        for name, images in sets.items()
    }
    try:
        write_atomically(path, lambda beside: save_file(tensors, beside, {HEADER: json.dumps(header)}))
    except (OSError, SafetensorError) as error:  # a full disk is the one or the other
        raise UserError(f"cannot write {path}: {reason(error)}") from None


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
        pieces = file.get_tensor(name).split([torch.Size(shape).numel() for _, shape in shapes])
        images = [Image(title, piece.view(shape)) for (title, shape), piece in zip(shapes, pieces, strict=True)]
        right = data_hash(images) == header[name]["hash"]
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(f"{path} is damaged: its header does not tell the images of {name} ({reason(error)})") from None
    if not right:
        raise UserError(f"{path} is damaged: the pixels of {name} are not those that were packed; pack it again")
    return images


def _open(path: str | Path) -> tuple[dict, safe_open]:
    """Return a pack's header and the open file."""
    try:
        file = safe_open(path, "pt")
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {path} as a pack of images: {error}") from None
    header = (file.metadata() or {}).get(HEADER)
    if header is None:
        raise UserError(f"{path} is not a pack of images; make one with `istapp datasets --pack {path} NAME`")
    try:
        found = json.loads(header)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path} is damaged: its header tells no images; pack it again")
    return found, file

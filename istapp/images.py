"""Image files as 8-bit pixels, decoded the way a person expects, and the luma that every number is measured on."""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor

from istapp.errors import UserError
from istapp.paths import write_atomically

#: The formats that are read, and the file names by which a folder's images are known.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".pbm", ".pnm")


def bt601(pixels: Tensor) -> Tensor:
    r"""Return the full-range BT.601 luma of colour pixels, (..., 3) uint8 -> (...) uint8.

    :math:`\lfloor (4899 R + 9617 G + 1868 B + 8192) / 2^{14} \rfloor`, the integer formula that the paper's test code
    uses through its image library. Other roundings differ in about one pixel in ten thousand.
    """
    red, green, blue = pixels.int().unbind(-1)
    return ((4899 * red + 9617 * green + 1868 * blue + 8192) >> 14).to(torch.uint8)


@dataclass(frozen=True, eq=False)
class Image:
    """A named image: uint8 pixels, (H, W) where it is gray and (H, W, 3) where it has colour."""

    name: str
    pixels: Tensor

    def __post_init__(self) -> None:
        """Hold the pixels in a block of their own: a crop does not keep the whole image alive."""
        shape = tuple(self.pixels.shape)
        if self.pixels.dtype != torch.uint8 or len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or 0 in shape:
            raise ValueError(f"an image is uint8, (H, W) or (H, W, 3), not {self.pixels.dtype}, {shape}")
        object.__setattr__(self, "pixels", self.pixels.contiguous())

    @property
    def colour(self) -> bool:
        """Whether the pixels are red, green and blue."""
        return self.pixels.ndim == 3

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of shape and pixels: the same for every file format and every tool that wrote it."""
        shape = "x".join(map(str, self.pixels.shape))
        return hashlib.sha256(shape.encode() + b"\n" + self.pixels.numpy().tobytes()).hexdigest()

    def gray(self) -> "Image":
        """Return the image without colour: its luma."""
        return Image(self.name, bt601(self.pixels)) if self.colour else self

    def luma(self) -> Tensor:
        """Return the luma in [0, 1] as float32, (1, 1, H, W): what is sampled, recovered and measured."""
        return (self.gray().pixels.float() / 255)[None, None]

    def rgb(self) -> Tensor:
        """Return red, green and blue in [0, 1] as a batch of three, (3, 1, H, W) float32; gray is repeated."""
        planes = self.pixels.permute(2, 0, 1) if self.colour else self.pixels.expand(3, -1, -1)
        return (planes.float() / 255).unsqueeze(1)


def luma(planes: Tensor) -> Tensor:
    """Return the unrounded luma of planes: (3, 1, H, W) red, green, blue, or gray (1, 1, H, W) -> (1, 1, H, W)."""
    if len(planes) == 1:
        return planes
    red, green, blue = planes.clamp(0, 1).split(1)
    return (4899 * red + 9617 * green + 1868 * blue) / 2**14


def write_image(path: str | Path, planes: Tensor) -> None:
    """Write planes (3, 1, H, W) or (1, 1, H, W) as 8-bit colour or gray, clipped; the suffix says the format.

    Raises:
        UserError: the path cannot be written, or its suffix is no image format.
    """
    pixels = (planes.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).squeeze(1)
    picture = PIL.Image.fromarray((pixels.permute(1, 2, 0) if len(pixels) == 3 else pixels[0]).numpy())
    try:
        write_atomically(path, lambda beside: picture.save(beside))
    except ValueError:
        raise UserError(f"{path} does not end in a known image format such as .png") from None
    except OSError as error:
        raise UserError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def data_hash(images: Iterable[Image]) -> str:
    """Return the SHA-256 that identifies a list of images by their pixels and order, whatever they are called."""
    return hash_of_hashes(image.hash for image in images)


def hash_of_hashes(hashes: Iterable[str]) -> str:
    """Return the hash of a set of which only the hashes of its images are known."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def read_image(path: str | Path) -> Image:
    """Read an image file; its name is the file's without the ending.

    Rotated as its EXIF data asks, transparency on white, palettes resolved, 16-bit gray scaled to 8 bits (other 16-bit
    images lose their low byte), CMYK turned into RGB, the first frame of an animation.

    Raises:
        UserError: there is no such file, it cannot be read, or it is not a whole image.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    return decode(data, path.stem, str(path))


def decode(data: bytes, name: str, origin: str) -> Image:
    """Return the image in the bytes of a file, as `read_image` does; `origin` says in errors where they came from.

    Raises:
        UserError: the bytes are not a whole image.
    """
    if not data:
        raise UserError(f"{origin} is empty")
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
        pixels = _pixels(PIL.ImageOps.exif_transpose(picture))
    except PIL.UnidentifiedImageError:
        raise UserError(f"{origin} is not an image that can be read ({', '.join(FORMATS)})") from None
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise UserError(f"{origin} is not a whole image: {error}") from None
    return Image(name, torch.from_numpy(np.array(pixels, dtype=np.uint8)))


def _pixels(picture: PIL.Image.Image) -> np.ndarray:
    """Return a decoded picture's pixels as numbers from 0 to 255, (H, W) or (H, W, 3)."""
    if picture.mode.startswith("I"):
        return _eight_bits(np.asarray(picture).astype(np.int64))
    if picture.mode == "F":
        raise ValueError("it holds floating-point numbers; save it with 8 or 16 bits")
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        pixels = _on_white(np.asarray(picture.convert("RGBA")).astype(np.int32))
    else:
        pixels = np.asarray(picture.convert("RGB"))
    # Pillow hands out palettes and 16-bit gray with transparency in colour: they are gray if all their pixels are.
    gray = picture.mode in ("1", "L") or (picture.mode != "RGB" and bool((pixels == pixels[..., :1]).all()))
    return pixels[..., 0] if gray else pixels


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale 16-bit gray to 8 bits: 65535 becomes 255, rounded to the nearest."""
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its gray levels do not fit in 16 bits; save it with 8 or 16 bits")
    return (values + 128) // 257


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """Composite (H, W, 4) pixels on white, rounded to the nearest."""
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    return (colour * alpha + 255 * (255 - alpha) + 127) // 255


def image_files(folder: Path) -> list[Path]:
    """Return a folder's image files by name; hidden files, other endings and subfolders are left out.

    Raises:
        UserError: the folder cannot be read or holds no image.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise UserError(f"cannot read {folder}: {(error.strerror or str(error)).lower()}") from None
    files = [path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not files:
        raise UserError(f"{folder} holds no images (files ending in {', '.join(SUFFIXES)})")
    return files

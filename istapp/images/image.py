"""Image files as 8-bit pixels, decoded the way a person expects, and the luma that every number is measured on."""

import contextlib
import hashlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor

from istapp.basics.errors import UserError, reason, speakable
from istapp.basics.paths import refuse_unwritable, write_atomically

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
        own = self.pixels.contiguous()  # of whole rows this is still a view
        object.__setattr__(self, "pixels", own if own.untyped_storage().nbytes() == own.numel() else own.clone())

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


def refuse_image_target(path: str | Path, colour: bool) -> None:
    """Find out before any work whether an image could be written there.

    Raises:
        UserError: it could not, or the suffix is no format of images that can be written.
    """
    picture = PIL.Image.new("RGB" if colour else "L", (16, 16))
    file_format = PIL.Image.registered_extensions().get(Path(path).suffix.lower(), "")
    try:
        picture.save(io.BytesIO(), format=file_format)
    except Exception:  # no such format, or one that is read only, needs a library or another kind of picture
        raise UserError(f"{path} does not end in a known image format such as .png") from None
    refuse_unwritable(path)


def write_image(path: str | Path, planes: Tensor) -> None:
    """Write planes (3, 1, H, W) or (1, 1, H, W) as 8-bit colour or gray, clipped; the suffix says the format.

    Raises:
        UserError: the path cannot be written, or its suffix is no image format.
    """
    pixels = (planes.detach().cpu().clamp(0, 1) * 255).round_().to(torch.uint8).squeeze(1)
    picture = PIL.Image.fromarray((pixels.permute(1, 2, 0) if len(pixels) == 3 else pixels[0]).numpy())
    try:
        write_atomically(path, lambda beside: picture.save(beside))
    except ValueError:
        raise UserError(f"{path} does not end in a known image format such as .png") from None
    except OSError as error:
        raise UserError(f"cannot write {path}: {reason(error)}") from None


def data_hash(images: Iterable[Image]) -> str:
    """Return the SHA-256 that identifies a list of images by their pixels and order, whatever they are called."""
    return hash_of_hashes(image.hash for image in images)


def hash_of_hashes(hashes: Iterable[str]) -> str:
    """Return the hash of a set of which only the hashes of its images are known."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def most_pixels() -> int:
    """Return how many pixels an image may have: 100 million, or what ISTAPP_MAX_PIXELS says, such as 4e8.

    A file of a few kilobytes can ask for any amount of memory; this keeps it from getting it.

    Raises:
        UserError: the variable holds no number from 1 on.
    """
    text = os.environ.get("ISTAPP_MAX_PIXELS", "1e8")
    try:
        return max(int(float(text)), 1)
    except (ValueError, OverflowError):
        raise UserError(f"ISTAPP_MAX_PIXELS is a number of pixels such as 4e8, not '{text}'") from None


def read_image(path: str | Path, bits: int | None = None) -> Image:
    """Read an image file; its name is the file's without the ending, escaped where it is not UTF-8.

    Rotated as its EXIF data asks, transparency on white, palettes resolved, 16-bit gray scaled to 8 bits (other 16-bit
    images lose their low byte), CMYK turned into RGB, the first frame of an animation.

    Args:
        path: of a file.
        bits: how many of a 16-bit gray image's bits are used, for instance 12: then 4095 is white. Left out, 65535
            is, and a warning tells where no gray level needs more than 12 bits.

    Raises:
        UserError: there is no such file, it cannot be read, it is not a whole image, or larger than `most_pixels`.
    """
    path = Path(path)
    try:
        about = path.stat()
        if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
            raise UserError(f"cannot read {path}: it is a device or a pipe, not a file")
        if about.st_size > 16 * most_pixels():
            raise UserError(f"cannot read {path}: no image of up to {most_pixels():,} pixels is so large a file")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None
    return decode(data, speakable(path.stem), str(path), bits)


def decode(data: bytes, name: str, origin: str, bits: int | None = None) -> Image:
    """Return the image in the bytes of a file, as `read_image` does; `origin` says in errors where they came from.

    Raises:
        UserError: the bytes are not a whole image, or it is larger than `most_pixels`.
    """
    if not data:
        raise UserError(f"{origin} is empty")
    try:
        with _any_size():
            picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
            _refuse_size(picture, origin)
            pixels = _pixels(PIL.ImageOps.exif_transpose(picture), origin, bits)
    except UserError:
        raise
    except PIL.UnidentifiedImageError:
        raise UserError(f"{origin} is not an image that can be read ({', '.join(FORMATS)})") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise UserError(f"{origin} is not a whole image: {error}") from None
    return Image(name, torch.from_numpy(np.array(pixels, dtype=np.uint8)))


@contextlib.contextmanager
def _any_size() -> Iterator[None]:
    """Let Pillow open images of any size: `_refuse_size` has the limit that is ours."""
    limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = limit


def _refuse_size(picture: PIL.Image.Image, origin: str) -> None:
    """Raise UserError if an image, of which only the header was read, has too many pixels."""
    count = picture.width * picture.height
    if count > most_pixels():
        raise UserError(
            f"{origin} has {picture.width} x {picture.height} pixels, more than the {most_pixels():,} that are read; "
            f"ISTAPP_MAX_PIXELS={count} raises the limit"
        )


def _pixels(picture: PIL.Image.Image, origin: str, bits: int | None) -> np.ndarray:
    """Return a decoded picture's pixels as numbers from 0 to 255, (H, W) or (H, W, 3)."""
    if picture.mode.startswith("I"):
        levels = np.asarray(picture)
        pixels, mark = _eight_bits(levels, origin, bits), picture.info.get("transparency")
        return pixels if mark is None else np.where(levels == mark, np.uint8(255), pixels)
    if picture.mode == "F":
        raise ValueError("it holds floating-point numbers; save it with 8 or 16 bits")
    if picture.mode == "L" and "transparency" not in picture.info:
        return np.asarray(picture)
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        pixels = _by_bands(_on_white, np.asarray(picture.convert("RGBA")))
    else:
        pixels = np.asarray(picture.convert("RGB"))
    # Pillow hands out palettes and 16-bit gray with transparency in colour: they are gray if all their pixels are.
    gray = picture.mode in ("1", "L") or (picture.mode != "RGB" and bool((pixels == pixels[..., :1]).all()))
    return pixels[..., 0] if gray else pixels


def _by_bands(function: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """Apply a function of wider integers to some rows at a time, so that a large image needs little memory."""
    bands = [function(values[row : row + 256]).astype(np.uint8) for row in range(0, len(values), 256)]
    return np.concatenate(bands)


def _eight_bits(values: np.ndarray, origin: str, bits: int | None) -> np.ndarray:
    """Scale gray of `bits` bits (None: 16) to 8 bits: the largest number becomes 255, rounded to the nearest."""
    most, white = int(values.max()), 2 ** (bits or 16) - 1
    if values.min() < 0 or most > white:
        raise ValueError(f"its gray levels do not fit in {bits or 16} bits; save it with 8 or 16 bits")
    if bits is None and 0 < most <= 4095:
        used = next(each for each in (8, 10, 12) if most < 2**each)
        warnings.warn(
            f"{origin}: no gray level exceeds {most} of {white}, so little is left of them in 8 bits; if its pixels "
            f"have {used} bits, ask for them to be scaled: --bits {used}",
            stacklevel=2,
        )
    return _by_bands(lambda band: (band.astype(np.int64) * 255 + white // 2) // white, values)


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """Composite (H, W, 4) pixels on white, rounded to the nearest."""
    colour, alpha = rgba[..., :3].astype(np.int32), rgba[..., 3:].astype(np.int32)
    return (colour * alpha + 255 * (255 - alpha) + 127) // 255


def image_files(folder: Path) -> list[Path]:
    """Return a folder's image files by name; hidden files, other endings and subfolders are left out.

    Raises:
        UserError: the folder cannot be read or holds no image.
    """
    try:
        found = sorted(path for path in folder.iterdir() if not path.is_dir())
    except OSError as error:
        raise UserError(f"cannot read {folder}: {reason(error)}") from None
    files = [path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not files:
        raise UserError(f"{folder} holds no images (files ending in {', '.join(SUFFIXES)})")
    return files

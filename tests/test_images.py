"""Image files: decoding, luma, hashes, and what is no image."""

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pictures import COLOUR, GRAY, noise, refused, save

from istapp.basics.paths import PHOTOS
from istapp.images.image import Image, bt601, data_hash, read_image


def pixels(path: Path) -> np.ndarray:
    return read_image(path).pixels.numpy()


# ---- pixels


@given(COLOUR)
def test_luma_is_the_papers_integer_formula(rgb):
    r, g, b = (rgb[..., i].astype(int) for i in range(3))
    expected = (4899 * r + 9617 * g + 1868 * b + 8192) // 16384
    luma = Image("x", torch.from_numpy(rgb)).luma()
    assert luma.shape == (1, 1, *rgb.shape[:2]) and luma.dtype == torch.float32
    assert torch.equal(luma[0, 0], torch.from_numpy(expected).float() / 255)
    assert np.abs(expected - rgb @ [0.299, 0.587, 0.114]).max() < 0.52


@given(st.integers(0, 255))
def test_luma_of_gray_is_itself(level):
    assert bt601(torch.full((1, 3), level, dtype=torch.uint8)).item() == level


@given(st.one_of(GRAY, COLOUR))
def test_rgb_is_a_batch_of_three(values):
    image = Image("x", torch.from_numpy(values))
    rgb = image.rgb()
    assert rgb.shape == (3, 1, *image.size) and rgb.min() >= 0 and rgb.max() <= 1
    again = (rgb * 255).round().byte()[:, 0].permute(1, 2, 0)
    assert torch.equal(again, image.pixels if image.colour else image.pixels[..., None].expand(-1, -1, 3))


@given(st.one_of(GRAY, COLOUR))
def test_hash_identifies_shape_and_pixels(values):
    image = Image("x", torch.from_numpy(values))
    assert Image("y", image.pixels.clone()).hash == image.hash
    assert Image("x", image.pixels + 1).hash != image.hash
    if image.size[0] != image.size[1]:
        assert Image("x", image.pixels.transpose(0, 1)).hash != image.hash


def test_data_hash_knows_order_but_no_names():
    a, b = (Image(name, torch.from_numpy(noise(seed))) for seed, name in enumerate("ab"))
    assert data_hash([a, b]) == data_hash([Image("c", a.pixels), b]) != data_hash([b, a])


@pytest.mark.parametrize(
    "bad", [torch.zeros(2, 2), torch.zeros(2, 2, 4).byte(), torch.zeros(0, 2).byte(), torch.zeros(2).byte()]
)
def test_an_image_has_pixels(bad):
    with pytest.raises(ValueError, match="uint8"):
        Image("x", bad)


# ---- files


@given(values=st.one_of(GRAY, COLOUR), suffix=st.sampled_from(["png", "tif", "bmp", "ppm"]))
def test_lossless_files_give_their_pixels(tmp_path_factory, values, suffix):
    path = save(tmp_path_factory.mktemp("files") / f"x.y.{suffix}", values)
    image = read_image(path)
    assert image.name == "x.y"
    np.testing.assert_array_equal(image.pixels.numpy(), values)


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(4))))
def test_transparency_goes_on_white(tmp_path_factory, rgba):
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    folder = tmp_path_factory.mktemp("rgba")
    found = read_image(save(folder / "x.png", rgba)).rgb()[:, 0].permute(1, 2, 0).numpy() * 255
    assert np.abs(found - expected).max() <= 0.501
    la = np.ascontiguousarray(rgba[..., 2:])
    gray = pixels(save(folder / "la.png", la))
    assert gray.shape == la.shape[:2] and np.abs(gray - expected[..., 2]).max() <= 0.5


@pytest.mark.filterwarnings("ignore:.*no gray level exceeds")
@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_sixteen_bits_become_the_nearest_eight(tmp_path_factory, values):
    for suffix in ("png", "tif"):
        found = pixels(save(tmp_path_factory.mktemp("deep") / f"x.{suffix}", values))
        assert found.shape == values.shape and np.abs(found - values / 257).max() <= 0.5


def test_palette_in_colour_in_gray_and_with_a_hole(tmp_path):
    picture = PIL.Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8), "P")
    picture.putpalette([255, 0, 0, 0, 200, 0, 0, 0, 7])
    picture.save(tmp_path / "colour.png")
    assert pixels(tmp_path / "colour.png").tolist() == [[[255, 0, 0], [0, 200, 0]], [[0, 0, 7], [0, 200, 0]]]
    picture.save(tmp_path / "hole.png", transparency=1)
    assert pixels(tmp_path / "hole.png").tolist() == [[[255, 0, 0], [255] * 3], [[0, 0, 7], [255] * 3]]
    picture.putpalette([9, 9, 9, 100, 100, 100, 255, 255, 255])
    picture.save(tmp_path / "gray.png")
    assert pixels(tmp_path / "gray.png").tolist() == [[9, 100], [255, 100]]


def test_gray_with_transparency_is_gray_even_where_the_decoder_has_no_mode_for_it(tmp_path):
    """16-bit gray with alpha: PNG's colour type 4."""
    (tmp_path / "x.png").write_bytes(png_of_16_bits(4, [0, 65535, 0, 0]))  # opaque black, transparent
    assert pixels(tmp_path / "x.png").tolist() == [[0, 255]]


def test_a_level_of_16_bits_marked_transparent_goes_on_white_and_its_neighbour_does_not(tmp_path):
    """Bug: the mark was not heeded, and the transparent level stood in the picture."""
    (tmp_path / "x.png").write_bytes(png_of_16_bits(0, [1000, 65535, 30000, 1001], transparent=1000))
    assert pixels(tmp_path / "x.png").tolist() == [[255, 255, 117, 4]]


def png_of_16_bits(kind: int, levels: list[int], transparent: int | None = None) -> bytes:
    """A PNG of one row, written by hand: Pillow writes no such file. Kind 0 is gray, 4 gray and alpha in turn."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", len(levels) // (2 if kind == 4 else 1), 1, 16, kind, 0, 0, 0)
    mark = b"" if transparent is None else chunk(b"tRNS", struct.pack(">H", transparent))
    row = chunk(b"IDAT", zlib.compress(b"\0" + np.array(levels, dtype=">u2").tobytes()))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + mark + row + chunk(b"IEND", b"")


def test_one_bit_cmyk_and_a_colour_marked_transparent(tmp_path):
    PIL.Image.fromarray(np.array([[True, False]])).save(tmp_path / "bit.png")
    assert pixels(tmp_path / "bit.png").tolist() == [[255, 0]]
    PIL.Image.new("CMYK", (2, 1), (0, 255, 255, 0)).save(tmp_path / "ink.tif")
    assert pixels(tmp_path / "ink.tif").tolist() == [[[255, 0, 0]] * 2]
    PIL.Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert pixels(tmp_path / "key.png").tolist() == [[[255] * 3]]
    PIL.Image.new("L", (1, 1), 7).save(tmp_path / "graykey.png", transparency=7)
    assert pixels(tmp_path / "graykey.png").tolist() == [[255]]


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(1, lambda a: a), (3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)), (8, np.rot90)],
)
def test_exif_rotation_is_applied(tmp_path, orientation, turn):
    picture = PIL.Image.fromarray(noise(0))
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), turn(noise(0)))


def test_a_single_pixel(tmp_path):
    image = read_image(save(tmp_path / "x.png", np.array([[77]], dtype=np.uint8)))
    assert image.size == (1, 1) and image.luma().item() == pytest.approx(77 / 255)


def test_what_is_no_image_is_refused(tmp_path):
    whole = save(tmp_path / "whole.png", noise(0, (64, 64))).read_bytes()
    photo = (PHOTOS / "chelsea.png").read_bytes()
    bad = {
        "empty.png": (b"", "empty"),
        "text.png": (b"not a picture\n", "not an image"),
        "short.png": (whole[: len(whole) // 2], "not a whole image"),
        "head.png": (whole[:20], "image"),
        "photo.png": (photo[:-1000], "not a whole image"),
        "flipped.png": (whole[:100] + bytes([whole[100] ^ 255]) + whole[101:], "not a whole image"),
    }
    for name, (data, reason) in bad.items():
        (tmp_path / name).write_bytes(data)
        refused(lambda name=name: read_image(tmp_path / name), name, reason)
    refused(lambda: read_image(tmp_path / "absent.png"), "absent.png", "no such file")
    refused(lambda: read_image(tmp_path), "is a directory")


def test_floating_point_is_refused(tmp_path):
    refused(lambda: read_image(save(tmp_path / "f.tif", np.ones((2, 2), dtype=np.float32))), "f.tif", "floating-point")
    deep = save(tmp_path / "i.tif", np.array([[70000]], dtype=np.int32))
    refused(lambda: read_image(deep), "i.tif", "16 bits")


def test_a_forbidden_file_is_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "x.png", noise(0))

    def denied(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    refused(lambda: read_image(path), "x.png", "permission denied")


@given(st.binary(max_size=200), st.integers(0, 60))
def test_no_bytes_escape_as_another_error(tmp_path_factory, junk, kept):
    path = tmp_path_factory.mktemp("junk") / "x.png"
    path.write_bytes((PHOTOS / "brick.png").read_bytes()[:kept] + junk)
    refused(lambda: read_image(path), "x.png")


def test_a_small_file_may_not_ask_for_any_amount_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "large.png", np.zeros((300, 400), np.uint8))
    monkeypatch.setenv("ISTAPP_MAX_PIXELS", "1e5")
    monkeypatch.setattr(PIL.Image.Image, "load", lambda _: pytest.fail("decoded before its size was known"))
    refused(lambda: read_image(path), "400 x 300 pixels", "100,000", "ISTAPP_MAX_PIXELS=120000 raises")
    monkeypatch.undo()
    monkeypatch.setenv("ISTAPP_MAX_PIXELS", "120000")
    assert read_image(path).size == (300, 400)
    monkeypatch.setenv("ISTAPP_MAX_PIXELS", "many")
    refused(lambda: read_image(path), "ISTAPP_MAX_PIXELS is a number")


def test_the_limit_of_pixels_is_ours_and_not_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "i.png", noise(0, (50, 50)))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).size == (50, 50)
    assert PIL.Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero")])
def test_what_never_ends_is_not_read(make: Callable, tmp_path: Path) -> None:
    make(tmp_path / "i.png")
    refused(lambda: read_image(tmp_path / "i.png"), "device or a pipe")


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "i.png").open("wb") as file:
        file.truncate(10**12)
    refused(lambda: read_image(tmp_path / "i.png"), "so large a file")


def test_twelve_bits_in_sixteen_are_said_and_scaled_when_asked_for(tmp_path: Path) -> None:
    deep = np.linspace(0, 4095, 80).astype(np.uint16).reshape(8, 10)
    path = save(tmp_path / "i.png", deep)
    with pytest.warns(UserWarning, match="no gray level exceeds 4095 .* --bits 12"):
        assert read_image(path).pixels.max() == 16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = read_image(path, bits=12).pixels.numpy()
        assert read_image(save(tmp_path / "j.png", deep * 16)).pixels.max() == 255
    np.testing.assert_array_equal(scaled, np.round(deep / 4095 * 255))
    refused(lambda: read_image(path, bits=10), "do not fit in 10 bits")


def test_a_crop_of_whole_rows_holds_its_own_pixels(tmp_path: Path) -> None:
    crop = Image("a", torch.zeros(100, 100, dtype=torch.uint8)[:10])
    assert crop.pixels.untyped_storage().nbytes() == 1000

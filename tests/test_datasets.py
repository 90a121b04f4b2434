"""Images and sets: decoding, luma, the registry, folders, packs, and everything that must be refused."""

import csv
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from istapp import datasets, registry
from istapp.datasets import Image, data_hash, read_image
from istapp.errors import UserError
from istapp.images import bt601
from istapp.paths import PHOTOS

GRAY = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9))
COLOUR = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine with no image set at all."""
    monkeypatch.delenv("ISTAPP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def tiny(nowhere, monkeypatch):
    """A registered set of three images, in the folder that ISTAPP_DATA names."""
    folder = nowhere / "data" / "Tiny"
    made = {f"{name}.png": save(folder / f"{name}.png", noise(seed)) for seed, name in enumerate(("a", "b", "c"))}
    entries = tuple(registry.Entry(f, *i.size, 1, i.hash) for f, i in ((f, read_image(p)) for f, p in made.items()))
    monkeypatch.setitem(registry.SETS, "Tiny", registry.Dataset("Tiny", "Tiny", "test", "none", "http://a.test/{file}"))
    registered = registry.entries
    monkeypatch.setattr(registry, "entries", lambda name: entries if name == "Tiny" else registered(name))
    monkeypatch.setenv("ISTAPP_DATA", str(nowhere / "data"))
    return folder


def noise(seed: int, shape=(8, 11)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels, mode=None, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels, mode).save(path, **options)
    return path


def pixels(path: Path) -> np.ndarray:
    return read_image(path).pixels.numpy()


def refused(call, *words: str) -> str:
    """Return the error's one line, in which all the words stand."""
    with pytest.raises(UserError) as error:
        call()
    line = str(error.value)
    assert "\n" not in line
    for word in words:
        assert word in line
    return line


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
    """16-bit gray with alpha, written by hand: PNG's colour type 4."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 4, 0, 0, 0)
    row = b"\0" + np.array([0, 65535, 0, 0], dtype=">u2").tobytes()  # opaque black, transparent
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(data)
    assert pixels(tmp_path / "x.png").tolist() == [[0, 255]]


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


# ---- folders


def test_a_folder_is_its_images_by_name(tmp_path):
    for name in ("b.png", "a.TIF", "c.jpg", ".hidden.png"):
        save(tmp_path / name, noise(0))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "inner.png").mkdir()
    assert [image.name for image in datasets.load(tmp_path)] == ["a", "b", "c"]
    assert [image.name for image in datasets.load(str(tmp_path), images=["c", "a.TIF"])] == ["c", "a"]
    assert [image.name for image in datasets.load(tmp_path / "b.png")] == ["b"]


def test_names_that_differ_in_their_ending_stay_apart(tmp_path):
    for name in ("a.png", "a.tif", "b.png"):
        save(tmp_path / name, noise(0))
    assert [image.name for image in datasets.load(tmp_path)] == ["a.png", "a.tif", "b"]


def test_bad_folders_are_refused(tmp_path):
    refused(lambda: datasets.load(tmp_path), "holds no images")
    save(tmp_path / "good.png", noise(0))
    refused(lambda: datasets.load(tmp_path, images=["god"]), "no image 'god'", "did you mean 'good'")
    refused(lambda: datasets.load(tmp_path, images=[]), "no image")
    (tmp_path / "text.png").write_text("not an image")
    refused(lambda: datasets.load(tmp_path), "text.png", "not an image")


# ---- registered sets


def test_unknown_names_suggest_the_nearest():
    refused(lambda: datasets.load("set11"), "did you mean 'Set11'", "BSD68")
    refused(lambda: datasets.load(""), "'' is no data set")
    refused(lambda: datasets.describe("Urban10"), "did you mean 'Urban100'")
    refused(lambda: datasets.photo("astronut"), "did you mean 'astronaut'")


@pytest.mark.parametrize("name", [name for name in datasets.names() if name != "photos"])
def test_a_missing_set_names_itself_its_address_and_the_command(nowhere, name):
    address = datasets.describe(name).address
    assert address.startswith("http")
    refused(lambda: datasets.load(name), name, address, f"istapp datasets --download {name}", "not tried", "not set")


def test_a_set_in_order(tiny):
    assert [image.name for image in datasets.load("Tiny")] == ["a", "b", "c"]
    assert [image.name for image in datasets.load("Tiny", images=["c", "a.png"])] == ["c", "a"]
    assert datasets.verify("Tiny") == datasets.describe("Tiny").hash
    refused(lambda: datasets.load("Tiny", images=["d"]), "Tiny has no image 'd'")


def test_part_of_a_set_is_no_set(tiny):
    (tiny / "b.png").unlink()
    refused(lambda: datasets.load("Tiny"), "1 of 3", "b.png", "istapp datasets --download Tiny")
    refused(lambda: datasets.load("Tiny", images=["a"]), "1 of 3")
    state = {row.name: row.state for row in datasets.status()}
    assert state["Tiny"].startswith("incomplete")


def test_another_image_under_the_same_name_is_refused(tiny):
    save(tiny / "b.png", noise(7))
    refused(lambda: datasets.load("Tiny"), "b.png", "Tiny", "hash")
    (tiny / "b.png").write_bytes(b"")
    refused(lambda: datasets.load("Tiny"), "b.png", "empty")


def test_the_folder_of_the_user_comes_before_the_cache(tiny, nowhere, monkeypatch):
    cached = nowhere / "cache" / "istapp" / "Tiny"
    cached.parent.mkdir(parents=True)
    tiny.rename(cached)
    assert datasets.locate(datasets.describe("Tiny")) == cached
    assert len(datasets.load("Tiny")) == 3
    tiny.mkdir()
    assert datasets.locate(datasets.describe("Tiny")) == cached  # an empty folder is no set
    (tiny / "a.png").write_bytes((cached / "a.png").read_bytes())
    refused(lambda: datasets.load("Tiny"), str(tiny), "2 of 3")
    monkeypatch.delenv("ISTAPP_DATA")
    assert len(datasets.load("Tiny")) == 3


def test_the_bundled_photographs_are_all_there_with_their_authors(nowhere):
    images = datasets.load("photos")
    wanted = {"astronaut", "camera", "chelsea", "coffee", "china", "ascent", "flower", "brick", "rocket"}
    assert wanted < {image.name for image in images} == set(datasets.photos())
    assert datasets.verify("photos") == datasets.describe("photos").hash
    credit = {row["name"]: row for row in datasets.attribution()}
    assert set(credit) == set(datasets.photos()) == {path.stem for path in PHOTOS.glob("*.png")}
    for image in images:
        row = credit[image.name]
        assert row["author"] and row["licence"] and row["source"] and row["scene"]
        assert (int(row["height"]), int(row["width"])) == image.size and int(row["channels"]) == (
            3 if image.colour else 1
        )
    assert sum(path.stat().st_size for path in PHOTOS.iterdir()) <= 6 * 2**20
    assert datasets.photo("astronaut").luma().shape == (1, 1, 512, 512)


def test_the_registry_is_complete():
    counts = {
        "photos": 16, "Set11": 11, "BSD68": 68, "BSD68-full": 68, "Train400": 400, "T91": 91, "Urban100": 100,
        "Urban100-crop256": 100, "DIV2K-crop256": 100, "DIV2K-half512": 32,
    }  # fmt: skip
    assert {name: len(datasets.describe(name).entries) for name in datasets.names()} == counts
    with registry.REGISTRY.open(newline="") as file:
        assert len(list(csv.reader(file))) == sum(counts.values()) + 1
    rows = {row.name: row for row in datasets.status()}
    assert rows["photos"].state == "bundled" and rows["BSD68"].size == "480x288"
    assert all(row.role and row.terms and row.images == counts[row.name] for row in rows.values())


# ---- recipes


@given(st.integers(1, 400), st.integers(1, 400))
def test_centre_crops_are_centred(height, width):
    image = Image("x", torch.arange(height * width).view(height, width).byte())
    crop = registry.centre(image)
    top, left = max(0, (height - 256) // 2), max(0, (width - 256) // 2)
    assert crop.size == (min(height, 256), min(width, 256))
    assert torch.equal(crop.pixels, image.pixels[top : top + 256, left : left + 256])
    assert torch.equal(registry.centre(crop).pixels, crop.pixels)


def test_bsd_crops():
    wide = Image("x", torch.from_numpy(noise(0, (321, 481))))
    tall = Image("x", wide.pixels.T)
    assert torch.equal(registry.bsd_crop(wide).pixels, wide.pixels[16:304, 0:480])
    assert torch.equal(registry.bsd_crop(tall).pixels, wide.pixels[16:304, 0:480].T)
    assert registry.bsd_crop(registry.bsd_crop(wide)).hash == registry.bsd_crop(wide).hash


def test_halving_keeps_flat_images_flat_and_halved_ones_unchanged():
    flat = Image("x", torch.full((1100, 1200, 3), 90, dtype=torch.uint8))
    halved = registry.half(flat)
    assert halved.size == (512, 512) and (halved.pixels == 90).all()
    assert registry.half(halved) is halved


def test_recipes_are_described():
    for name in datasets.names():
        assert len(datasets.describe(name).how) > 20


# ---- packs


@given(st.lists(st.one_of(GRAY, COLOUR), min_size=1, max_size=4))
def test_packs_give_back_what_went_in(tmp_path_factory, arrays_):
    path = tmp_path_factory.mktemp("pack") / "x.safetensors"
    images = [Image(f"i{n}", torch.from_numpy(a)) for n, a in enumerate(arrays_)]
    datasets.write_pack(path, {"one": images, "two": images[:1]})
    again = datasets.load(f"{path}:one")
    assert [(i.name, i.hash) for i in again] == [(i.name, i.hash) for i in images]
    refused(lambda: datasets.load(path), "several sets", f"{path}:one")
    refused(lambda: datasets.load(f"{path}:on"), "did you mean 'one'")


def test_a_pack_stands_in_for_the_folder_of_sets(tiny, nowhere, monkeypatch):
    path = nowhere / "sets.safetensors"
    datasets.pack(path, ["Tiny", "photos"])
    refused(lambda: datasets.pack(path, ["Tiny", str(tiny)]), "called the same")
    monkeypatch.setenv("ISTAPP_DATA", str(path))
    assert datasets.verify("Tiny") == datasets.describe("Tiny").hash
    assert [image.name for image in datasets.load("Tiny", images=["b"])] == ["b"]
    assert {row.name: row.state for row in datasets.status()}["Tiny"] == f"at hand ({path})"
    save(tiny / "b.png", noise(9))
    datasets.write_pack(path, {"Tiny": datasets.load(tiny)})
    refused(lambda: datasets.load("Tiny"), "b.png", "hash")


def test_bad_packs_are_refused(nowhere):
    path = nowhere / "x.safetensors"
    refused(lambda: datasets.load(path), "x.safetensors")
    path.write_bytes(b"nonsense")
    refused(lambda: datasets.load(path), "x.safetensors")
    datasets.write_pack(path, {"one": [Image("a", torch.from_numpy(noise(0)))]})
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    refused(lambda: datasets.load(path), "x.safetensors", "damaged")
    refused(lambda: datasets.pack(path, []), "at least one")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, path)
    refused(lambda: datasets.load(path), "not a pack")


def test_an_unwritable_pack_leaves_nothing(nowhere):
    (nowhere / "file").write_text("")
    refused(lambda: datasets.pack(nowhere / "file" / "x.safetensors", ["photos"]), "cannot write")


# ---- the real sets


@pytest.mark.parametrize("name", datasets.names())
def test_the_sets_at_hand_are_the_registered_ones(data_dir, name):
    if datasets.locate(datasets.describe(name)) is None:
        pytest.skip(f"{name} is not at hand")
    assert datasets.verify(name) == datasets.describe(name).hash


def test_halving_makes_the_registered_pixels(data_dir):
    """The middle of DIV2K-half512 from the middle of DIV2K-crop256, away from the crop's edges."""
    if not (data_dir / "DIV2K_valid_crop256").is_dir():
        pytest.skip("DIV2K is not at hand")
    for halved in datasets.load("DIV2K-half512")[:4]:
        (native,) = datasets.load("DIV2K-crop256", images=[halved.name])
        expected = registry.half(native).pixels
        assert torch.equal(expected[2:-2, 2:-2], halved.pixels[194:318, 194:318])

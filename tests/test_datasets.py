"""Sets of images: the registry, folders, packs, recipes, and everything that must be refused."""

import csv

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import COLOUR, GRAY, noise, refused, save

from istapp.basics.paths import PHOTOS
from istapp.images import datasets, packs, registry
from istapp.images.datasets import Image, read_image


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


def test_bits_are_of_a_folders_files(tiny, tmp_path):
    deep = np.linspace(0, 4095, 80).astype(np.uint16).reshape(8, 10)
    file = save(tmp_path / "in" / "deep.png", deep)
    save(tmp_path / "in" / "plain.png", noise(0))
    found = {image.name: image.hash for image in datasets.load(tmp_path / "in", bits=12)}
    assert found == {"deep": read_image(file, 12).hash, "plain": read_image(tmp_path / "in" / "plain.png").hash}
    assert datasets.load(file, bits=12)[0].hash == found["deep"]
    bad = []
    assert [i.name for i in datasets.load(tmp_path / "in", bad=bad, bits=10)] == ["plain"] and "10 bits" in bad[0]
    datasets.pack(tmp_path / "x.safetensors", ["Tiny"])
    for name in ("Tiny", tmp_path / "x.safetensors"):
        refused(lambda name=name: datasets.load(name, bits=12), f"{name} is a registered set or a pack")


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


def test_a_pack_holds_png_files_where_they_are_smaller(nowhere):
    """Photographs are; noise is not."""
    path, (photo, *_) = nowhere / "x.safetensors", datasets.load("photos")
    datasets.write_pack(path, {"photo": [photo], "noise": [Image("a", torch.from_numpy(noise(0)))]})
    header, file = packs._open(path)
    assert "png" in header["photo"] and "png" not in header["noise"]
    assert file.get_tensor("photo").numel() < photo.pixels.numel()
    assert datasets.load(f"{path}:photo")[0].hash == photo.hash
    content = path.read_bytes()
    first, sizes = content.index(b"\x89PNG"), content.index(b"IHDR")
    for at in (first, sizes + 1, sizes + 4, sizes + 7, sizes + 40, sizes + 2000):  # a kind, a width, pixels
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        refused(lambda: datasets.load(f"{path}:photo"), "damaged")


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


def test_a_pack_takes_no_other_files_place(nowhere):
    from safetensors.torch import save_file

    path = nowhere / "x.safetensors"
    path.write_text("mine")
    refused(lambda: datasets.pack(path, ["photos"]), "x.safetensors is there and is no pack of images")
    assert path.read_text() == "mine"
    save_file({"a": torch.zeros(2)}, path, {packs.HEADER: "{"})
    refused(lambda: datasets.load(path), "pack it again")
    datasets.pack(path, ["photos"])
    assert packs.packed(path) == ["photos"]
    refused(lambda: datasets.pack(nowhere / "x.txt", ["photos"]), "x.txt does not end in .safetensors")
    assert [each.name for each in nowhere.iterdir()] == ["x.safetensors"]


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

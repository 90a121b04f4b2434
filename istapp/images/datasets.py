"""Images at hand: the bundled photographs, the paper's sets, any folder, and packs of them.

    load("Set11")                 a registered set, its pixels checked against data/registry.csv
    load("holiday/")              any folder of images, sorted by name
    load("train.safetensors")     a pack written by `istapp datasets --pack`
    photo("astronaut").luma()     one bundled photograph

A registered set is looked for in the folder (or pack) that the environment variable ISTAPP_DATA names, then in the
user's cache. It is downloaded only when asked for, and it is complete and right or an error: never a part of it.
"""

import contextlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from istapp.basics.errors import UserError, nearest, speakable
from istapp.basics.paths import PHOTOS, parse_table, read_text, write_table
from istapp.images import downloads
from istapp.images.image import Image, data_hash, image_files, read_image
from istapp.images.packs import ENDING, packed, read_pack, refuse_pack_target, write_pack
from istapp.images.registry import REGISTRY, SETS, Dataset, Entry, describe

__all__ = ["Dataset", "Entry", "Image", "attribution", "data_hash", "describe", "download", "load", "locate", "names"]
__all__ += ["pack", "photo", "photos", "read_image", "read_pack", "status", "verify"]


def names() -> list[str]:
    """Return the names of the registered sets."""
    return list(SETS)


def photos() -> list[str]:
    """Return the names of the bundled photographs."""
    return [Path(entry.file).stem for entry in SETS["photos"].entries]


def photo(name: str) -> Image:
    """Return one bundled photograph, for example ``photo("astronaut")``.

    Raises:
        UserError: there is none of that name.
    """
    return load("photos", images=[name])[0]


@cache
def attribution() -> list[dict[str, str]]:
    """Return author, licence, source and scene of each bundled photograph, as data/photos/ATTRIBUTION.csv has them."""
    path = PHOTOS / "ATTRIBUTION.csv"
    return [{"name": Path(row["file"]).stem, **row} for _, row in parse_table(read_text(path), path)]


def load(
    name: str | Path, download: bool = False, images: list[str] | None = None, bad: list[str] | None = None,
    bits: int | None = None,
) -> list[Image]:  # fmt: skip
    """Return the images of a registered set, a folder, a single file or a pack (``FILE.safetensors:SET``).

    `images` picks some by name, in that order. `download` fetches a registered set that is not at hand. Where a list
    `bad` is given, a line for each file of a folder that is no whole image is added to it and the others are returned.
    `bits`: how many the 16-bit gray files of a folder use, see `read_image`.

    Raises:
        UserError: the set is unknown, missing, incomplete or not the registered one; a file is not an image; `bits`
            where a set or a pack says itself what its pixels are.
    """
    text = str(name)
    if bits and (text in SETS or ENDING in text):
        raise UserError(f"{text} is a registered set or a pack, which is read as it is: --bits goes with a folder")
    if text in SETS:
        return _load_registered(SETS[text], download, images)
    if ENDING in text:
        path, _, inner = text.partition(ENDING)
        found = read_pack(path + ENDING, inner.removeprefix(":") or None)
    elif text and Path(text).is_dir():
        found = _load_folder(Path(text), bad, bits)
    elif text and Path(text).exists():
        found = [read_image(text, bits)]
    else:
        raise UserError(f"'{text}' is no data set, folder or image{nearest(text, SETS)}; sets: {', '.join(SETS)}")
    return found if images is None else _pick({image.name: image for image in found}, images, text)


def _load_folder(folder: Path, bad: list[str] | None, bits: int | None) -> list[Image]:
    """Return a folder's images; two files that differ in their ending only keep it in their names."""
    files = image_files(folder)
    stems, found = [path.stem for path in files], []
    for path in files:
        try:
            image = read_image(path, bits)
        except UserError as error:
            if bad is None:
                raise
            bad.append(str(error))
            continue
        found.append(Image(speakable(path.name), image.pixels) if stems.count(path.stem) > 1 else image)
    return found


def _pick(by_name: dict, wanted: list[str], where: str) -> list:
    """Return the values of the wanted names, in that order; an ending such as .png may be given or left out."""
    if not wanted:
        raise UserError(f"no image of {where} was asked for")
    picked = []
    for name in wanted:
        key = name if name in by_name else Path(name).stem
        if key not in by_name:
            raise UserError(f"{where} has no image '{name}'{nearest(name, by_name)}")
        picked.append(by_name[key])
    return picked


def _load_registered(dataset: Dataset, download_it: bool, images: list[str] | None) -> list[Image]:
    """Return a registered set, or some of its images, with every pixel checked."""
    wanted = list(dataset.entries)
    if images is not None:
        wanted = _pick({Path(entry.file).stem: entry for entry in wanted}, images, dataset.name)
    pack_file = _data_pack()
    if pack_file and dataset.name in packed(pack_file):
        by_name = {image.name: image for image in read_pack(pack_file, dataset.name)}
        return [_checked(by_name.get(Path(entry.file).stem), entry, dataset, pack_file) for entry in wanted]
    if download_it and _absent(dataset, locate(dataset)):
        download(dataset.name)
    folder = locate(dataset)
    if folder is None:
        raise UserError(_missing(dataset))
    absent = _absent(dataset, folder)
    if absent:
        raise UserError(
            f"{folder} is not the whole of {dataset.name}: {len(absent)} of {len(dataset.entries)} files are missing, "
            f"the first is {absent[0]}; {_remedy(dataset)}"
        )
    return [_checked(read_image(folder / entry.file), entry, dataset, folder) for entry in wanted]


def _checked(image: Image | None, entry: Entry, dataset: Dataset, where: Path) -> Image:
    """Return the set's image made from a file, refused if a single pixel differs from the registered one."""
    made = image and dataset.recipe(image)
    if made is None or made.hash != entry.sha256:
        raise UserError(
            f"{where}: {entry.file} is not the image of {dataset.name} (its pixels have another hash); "
            f"{_remedy(dataset)}"
        )
    return made


def _remedy(dataset: Dataset) -> str:
    """Return what to do about a folder that is not the set."""
    if dataset.name == "photos":
        return "restore data/photos from the project"
    return f"put the right files there, or remove it and run `istapp datasets --download {dataset.name}`"


def _data_pack() -> Path | None:
    """Return the pack that ISTAPP_DATA names, if it names one instead of a folder."""
    named = os.environ.get("ISTAPP_DATA", "")
    return Path(named) if named.endswith(ENDING) else None


def locate(dataset: Dataset) -> Path | None:
    """Return the folder that holds a set's files: bundled, else under ISTAPP_DATA, else in the user's cache.

    A folder with some of the files is the set's folder, if an incomplete one; a folder with none of them is not.
    """
    folders = [root / dataset.folder for root in _roots(dataset)]
    return next((folder for folder in folders if len(_absent(dataset, folder)) < len(dataset.entries)), None)


def _roots(dataset: Dataset) -> list[Path]:
    """Return the folders in which a set's own folder may lie, the first that has it counts."""
    if dataset.name == "photos":
        return [PHOTOS.parent]
    roots = [Path(os.environ["ISTAPP_DATA"])] if os.environ.get("ISTAPP_DATA") else []
    with contextlib.suppress(UserError):  # without a home folder there is no cache
        roots.append(downloads.cache_folder())
    return roots


def _absent(dataset: Dataset, folder: Path | None) -> list[str]:
    """Return the names of the set's files that a folder lacks."""
    return [entry.file for entry in dataset.entries if folder is None or not (folder / entry.file).is_file()]


def _missing(dataset: Dataset) -> str:
    """Return the line that tells a person how to get a set."""
    asked = os.environ.get("ISTAPP_DATA")
    tried = f"ISTAPP_DATA ({asked})" if asked else "ISTAPP_DATA (not set)"
    try:
        cache = f"in {downloads.cache_folder()}"
    except UserError:
        cache = "in a cache (there is no home folder: set XDG_CACHE_HOME)"
    return (
        f"the data set {dataset.name} is not at hand, neither in {tried} nor {cache}; "
        f"get it with `istapp datasets --download {dataset.name}` from {dataset.address} (an address not tried yet)"
    )


def download(name: str) -> Path:
    """Fetch a registered set into the user's cache unless it is at hand, check it, and return its folder.

    Raises:
        UserError: the set is unknown, its address does not deliver it, or the disk does not take it.
    """
    dataset = describe(name)
    folder = locate(dataset)
    if folder is None or folder.is_relative_to(downloads.cache_folder()):
        folder = downloads.fetch_set(SETS[dataset.parent] if dataset.parent else dataset)
    verify(name)
    return folder


class Status(NamedTuple):
    """What the command line tells of a set: images, their sizes, whether it is at hand, its role and terms."""

    name: str
    images: int
    size: str
    state: str
    role: str
    terms: str


def status() -> list[Status]:
    """Return the state of every registered set, by its files' presence alone; `verify` looks at the pixels."""
    return [Status(d.name, len(d.entries), _sizes(d), _state(d), d.role, d.terms) for d in SETS.values()]


def _sizes(dataset: Dataset) -> str:
    """Return the smallest and the largest size of a set's images as text, WIDTHxHEIGHT, landscape if either way."""
    by_area = sorted((entry.height * entry.width, -entry.width, entry.height) for entry in dataset.entries)
    ends = [f"{-width}x{height}" for _, width, height in (by_area[0], by_area[-1])]
    return ends[0] if by_area[0][0] == by_area[-1][0] else " to ".join(ends)


def _state(dataset: Dataset) -> str:
    """Return "bundled", "at hand (WHERE)", "incomplete (WHERE)" or "missing"."""
    if dataset.name == "photos":
        return "bundled"
    pack_file = _data_pack()
    if pack_file and dataset.name in packed(pack_file):
        return f"at hand ({pack_file})"
    folder = locate(dataset)
    if folder is None:
        return "missing"
    return f"{'incomplete' if _absent(dataset, folder) else 'at hand'} ({folder})"


def verify(name: str) -> str:
    """Check every pixel of a registered set and return the hash that identifies it.

    Raises:
        UserError: the set is unknown, missing, incomplete or not the registered one.
    """
    return data_hash(load(describe(name).name))


def register(names: Sequence[str]) -> None:
    """Record in data/registry.csv what the files of these sets are now, in the order of their names; other rows stay.

    For whoever adds a set: its folder lies in ISTAPP_DATA or in the cache, its description in `registry.SETS`.

    Raises:
        UserError: a set is unknown, or its folder is not there.
    """
    own = {name: _found(describe(name)) for name in names}
    rows = [
        {"set": name, **entry._asdict()} for name, d in SETS.items() for entry in own.get(name, d.entries)
    ]  # fmt: skip
    write_table(REGISTRY, ("set", *Entry._fields), rows)


def _found(dataset: Dataset) -> list[Entry]:
    """Return what lies in the folder of a set, whatever the registry says of it."""
    folder = next((root / dataset.folder for root in _roots(dataset) if (root / dataset.folder).is_dir()), None)
    if folder is None:
        raise UserError(_missing(dataset))
    images = ((path.name, dataset.recipe(read_image(path))) for path in image_files(folder))
    return [Entry(file, *image.size, 3 if image.colour else 1, image.hash) for file, image in images]


def pack(path: str | Path, sets: list[str]) -> None:
    """Pack sets or folders into one file for a machine that has neither: see `istapp.images.packs`.

    Raises:
        UserError: a set is not at hand, two are called the same, or the file is no pack or cannot be written.
    """
    refuse_pack_target(path)
    titles = [name if name in SETS else Path(name).name for name in sets]
    if len(set(titles)) < len(titles):
        raise UserError(f"two of the sets to pack are called the same: {', '.join(titles)}")
    write_pack(path, {title: load(name) for title, name in zip(titles, sets, strict=True)})

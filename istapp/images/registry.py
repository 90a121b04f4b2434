"""The image sets of the paper: where each comes from, what was done to it, and what its pixels must be.

No address in this file has been tried: the machine on which it was written had no network. The pixels were checked
against copies of the sets, so whatever a download brings is either the right set or refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch

from istapp.basics.errors import UserError, nearest, reason
from istapp.basics.paths import DATA, parse_table, read_text
from istapp.images.image import Image, hash_of_hashes

REGISTRY = DATA / "registry.csv"

#: What no archive of a set (the largest known has 0.45 GB), and no image in one (of up to 2040 x 2040 pixels), exceeds.
ARCHIVE_BYTES, MEMBER_BYTES = 2**30, 2**26


class Entry(NamedTuple):
    """One image of a set: file name, size, channels (1 or 3) and the hash of its decoded pixels."""

    file: str
    height: int
    width: int
    channels: int
    sha256: str


@cache
def entries(name: str) -> tuple[Entry, ...]:
    """Return what the registry holds of a set, in the set's order.

    Raises:
        UserError: the registry is damaged, or names a file that does not lie in the set's own folder.
    """
    try:
        rows = parse_table(read_text(REGISTRY), REGISTRY, ("set", *Entry._fields), what="the registry")
        return tuple(_entry(row) for _, row in rows if row["set"] == name)
    except ValueError as error:  # a UserError is one, too
        raise UserError(f"{REGISTRY} is damaged: {reason(error)}; restore it from the project") from None


def _entry(row: dict[str, str]) -> Entry:
    """Return a row as an entry, if its file is a plain name: what is downloaded is written there."""
    file = row["file"]
    if file in ("", ".", "..") or any(letter in file for letter in "/\\\0:"):
        raise ValueError(f"{file!r} is no plain name of a file")
    return Entry(file, int(row["height"]), int(row["width"]), int(row["channels"]), row["sha256"])


@cache
def _hashes(name: str) -> dict[str, str]:
    return {entry.file.rpartition(".")[0]: entry.sha256 for entry in entries(name)}


def pixels(label: str, image: str) -> str:
    """Return the hash that the pixels of a row's image must have, empty where what the row calls its set is none.

    A part of a set is called ``Set11 (cameraman, house)``.
    """
    return _hashes(label.partition(" (")[0]).get(image, "")


def unchanged(image: Image) -> Image:
    """The recipe of a set that is used as it was published."""
    return image


def luma(image: Image) -> Image:
    """Urban100: the full-range luma of the colour photographs."""
    return image.gray()


def bsd_crop(image: Image) -> Image:
    """BSD68 of the paper's tables: 480x288, from row (portrait: column) 16 on; crops pass through unchanged."""
    height, width = image.size
    if (height, width) == (321, 481):
        return Image(image.name, image.pixels[16:304, :480])
    if (height, width) == (481, 321):
        return Image(image.name, image.pixels[:480, 16:304])
    return image


def centre(image: Image, side: int = 256) -> Image:
    """The middle `side` x `side` pixels, the odd one left over at the right and bottom."""
    height, width = image.size
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    return Image(image.name, image.pixels[top : top + side, left : left + side])


def half(image: Image) -> Image:
    """The middle 1024 x 1024 pixels at half the size, bicubic, columns before rows; 512 x 512 passes unchanged."""
    if image.size == (512, 512):
        return image
    # Pillow resizes along rows first and rounds in between; the set was made the other way round, hence transposed.
    turned = PIL.Image.fromarray(centre(image, 1024).pixels.transpose(0, 1).numpy())
    halved = turned.resize((turned.width // 2, turned.height // 2), PIL.Image.Resampling.BICUBIC)
    return Image(image.name, torch.from_numpy(np.array(halved)).transpose(0, 1))


@dataclass(frozen=True)
class Dataset:
    """A registered set: `folder` under a data folder, `role` in the paper, `terms` of use, and where it comes from.

    `url` is the address of one file ({file}, {stem} stand for its name) or of an archive, in which the files are named
    `member`. `recipe` turns a published file into the set's image, and leaves an image of the set as it is. A set with
    `parent` is cut from that set's files.
    """

    name: str
    folder: str
    role: str
    terms: str
    url: str = ""
    member: str = ""
    parent: str = ""
    recipe: Callable[[Image], Image] = unchanged

    def most_bytes(self, entry: Entry) -> int:
        """Return how large the published file of an image may be, with room to spare: nothing larger is fetched."""
        return MEMBER_BYTES if self.member else 8 * entry.height * entry.width + 2**20

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The set's images, as registered."""
        return entries(self.name)

    @property
    def hash(self) -> str:
        """Identifies the set: `data_hash` of its images."""
        return hash_of_hashes(entry.sha256 for entry in self.entries)

    @property
    def how(self) -> str:
        """One line on how the set is made from its published files."""
        return (self.recipe.__doc__ or "").partition("\n")[0]

    @property
    def address(self) -> str:
        """Where the set is published, for a person to read."""
        url = SETS[self.parent].url if self.parent else self.url
        return url.format(file="FILE", stem="NAME")


_BSD = "non-commercial research and education"
_GITHUB = "https://raw.githubusercontent.com"
_DIV2K = "http://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_valid_HR.zip"

SETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("photos", "photos", "bundled photographs, shown in the book", "free licences, see ATTRIBUTION.csv"),
        Dataset(
            "Set11",
            "Set11",
            "test: Tables 1 and 4, Figs. 4 and 7a",
            "classic test images, terms unclear",
            f"{_GITHUB}/jianzhangcs/ISTA-Netpp/ce2a1022e522efe2536c26f65f624fd6a6f364c2/data/Set11/{{file}}",
        ),
        Dataset("BSD68", "BSD68", "test: Tables 1 and 3, Fig. 6", _BSD, parent="BSD68-full", recipe=bsd_crop),
        Dataset(
            "BSD68-full",
            "BSD68",
            "test: the same images before cropping, 481x321",
            _BSD,
            f"{_GITHUB}/cszn/DnCNN/master/testsets/BSD68/{{file}}",
        ),
        Dataset(
            "Train400",
            "Train400",
            "training",
            _BSD,
            f"{_GITHUB}/cszn/DnCNN/master/TrainingCodes/DnCNN_TrainingCodes_v1.0/data/Train400/{{file}}",
        ),
        Dataset(
            "T91",
            "T91",
            "training: Train91 of Table 3 and Fig. 7",
            "none stated",
            "http://mmlab.ie.cuhk.edu.hk/projects/SRCNN/SRCNN_train.zip",
            "{stem}.bmp",
        ),
        Dataset(
            "Urban100",
            "Urban100",
            "test: Table 2",
            "photographs from Flickr, terms differ",
            f"{_GITHUB}/jbhuang0604/SelfExSR/master/data/Urban100/image_SRF_4/{{stem}}_SRF_4_HR.png",
            recipe=luma,
        ),
        Dataset(
            "Urban100-crop256",
            "Urban100",
            "test: the crops that later papers use",
            "photographs from Flickr, terms differ",
            parent="Urban100",
            recipe=centre,
        ),
        Dataset(
            "DIV2K-crop256",
            "DIV2K_valid_crop256",
            "test: stands in for Table 2's DIV2K, a different number",
            "academic research only",
            _DIV2K,
            "{stem}.png",
            recipe=centre,
        ),
        Dataset(
            "DIV2K-half512",
            "DIV2K_valid_half512",
            "visual comparison: Fig. 7b",
            "academic research only",
            _DIV2K,
            "{stem}.png",
            recipe=half,
        ),
    )
}


def describe(name: str) -> Dataset:
    """Return the record of a registered set.

    Raises:
        UserError: there is no such set; the nearest name is suggested.
    """
    if name not in SETS:
        raise UserError(f"no data set is called '{name}'{nearest(name, SETS)}; known: {', '.join(SETS)}")
    return SETS[name]

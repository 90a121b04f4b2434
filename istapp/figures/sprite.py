"""Frames that travel together: photographs as one WebP, charts as one SVG, with three of them alone for paper."""

import base64
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from torch import Tensor

from istapp.figures.display import DPI
from istapp.figures.plotting import as_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = Tensor | np.ndarray
Frame = Union[Picture, tuple[Picture, ...], "Figure"]

Row = list[np.ndarray]  # the images of one frame, (H, W) or (H, W, 3), 0 to 255

TALLEST = 16_383  # lines of a WebP
QUALITIES = (90, 80, 70, 60, 50, 40, 30)  # of WebP
SVG = "http://www.w3.org/2000/svg"
LINK = "http://www.w3.org/1999/xlink"
WORTH_SHARING = 160  # bytes of a part of a chart; a reference has about sixty


@dataclass(frozen=True)
class Chart:
    """A figure as an SVG and, where it stands alone as well, as (H, W, 3) pixels."""

    svg: ElementTree.Element
    pixels: np.ndarray | None


@dataclass(frozen=True)
class Film:
    """Frames ready to be shown: all in one file, each file of a still frame, and the three as a plain picture."""

    sprite: str  # address with the data
    stills: list[str]
    picture: bytes
    kind: str
    width: int  # of one panel, in pixels
    height: int
    panels: int
    density: int  # pixels of the canvas for each of these
    widest: int  # a panel is shown at most that wide


def gather(frames: Iterable[Frame], kept: Collection[int]) -> "list[Row] | list[Chart]":
    """Make of each frame what can be put into one file; a figure is closed before the next one is asked for.

    Args:
        frames: as `istapp.figures.slider.slider` takes them.
        kept: the numbers of the frames that stand alone as well.

    Raises:
        ValueError: the frames are of several kinds, or differ in size or number of images.
    """
    rows: list[Row] = []
    charts: list[Chart] = []
    for i, frame in enumerate(frames):
        if isinstance(frame, tuple):
            rows.append(_row(frame))
        elif isinstance(frame, (Tensor, np.ndarray)):
            rows.append(_row((frame,)))
        else:
            charts.append(_chart(frame, i in kept))
    if rows and charts:
        raise ValueError("a slider shows images or figures, not both")
    if sum(len(row[0]) for row in rows) > TALLEST:
        raise ValueError(f"{len(rows)} images of {len(rows[0][0])} lines are too many for one file: {TALLEST} lines")
    shapes = {_sides(chart.svg) for chart in charts} or {(len(row), *panel.shape) for row in rows for panel in row}
    if len(shapes) > 1:
        raise ValueError(f"the frames of a slider have one size and number of images, not {sorted(shapes)}")
    return charts or rows


def _sides(svg: ElementTree.Element) -> tuple[int, int]:
    return int(svg.attrib["width"]), int(svg.attrib["height"])


def films(gathered: "list[Row] | list[Chart]", kept: Sequence[int]) -> Iterator[Film]:
    """Put frames into one file: photographs in falling quality, to be taken until the size will do; charts once."""
    if charts := [one for one in gathered if isinstance(one, Chart)]:
        yield _charts(charts, kept)
        return
    rows = [one for one in gathered if not isinstance(one, Chart)]
    for quality in QUALITIES:
        yield _photographs(rows, kept, quality)


def _address(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _photographs(rows: list[Row], kept: Sequence[int], quality: int) -> Film:
    (height, width, *_), panels = rows[0][0].shape, len(rows[0])
    strips = [np.concatenate(row, axis=1) for row in rows]
    stills = [strips[i] for i in kept]
    together = np.concatenate(stills, axis=0 if panels > 1 else 1)
    return Film(
        sprite=_address(_encoded(np.concatenate(strips), "WebP", quality), "image/webp"),
        stills=[_address(_encoded(still, "WebP", quality), "image/webp") for still in stills],
        picture=_encoded(together, "JPEG", 90), kind="image/jpeg",
        width=width, height=height, panels=panels, density=1, widest=round(1.5 * width),
    )  # fmt: skip


def _row(panels: tuple[Picture, ...]) -> Row:
    return [_bytes(image) for image in panels]


def _bytes(image: Picture) -> np.ndarray:
    pixels = np.rint(255 * as_pixels(image)).astype(np.uint8)
    if pixels.ndim not in (2, 3) or not pixels.size:
        raise ValueError(f"no image to show: its shape is {tuple(np.shape(image))}")
    return pixels


def _encoded(pixels: np.ndarray, form: str, quality: int = 90) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, quality=quality)
    return file.getvalue()


def _chart(figure: "Figure", is_kept: bool) -> Chart:
    import matplotlib.pyplot as plt

    made = Chart(_drawn(figure), _pixels(figure) if is_kept else None)
    plt.close(figure)  # or a front end would show it once more
    return made


def _charts(charts: list[Chart], kept: Sequence[int]) -> Film:
    drawn = [chart.svg for chart in charts]
    alone = [ElementTree.tostring(drawn[i]) for i in kept]
    pictures = np.concatenate([pixels for i in kept if (pixels := charts[i].pixels) is not None])
    width, height = _sides(drawn[0])
    return Film(
        sprite=_address(ElementTree.tostring(_sheet(drawn, width, height)), "image/svg+xml"),
        stills=[_address(content, "image/svg+xml") for content in alone],
        picture=_encoded(pictures, "PNG"), kind="image/png",
        width=width, height=height, panels=1, density=2, widest=width,
    )  # fmt: skip


def _pixels(figure: "Figure") -> np.ndarray:
    import matplotlib as mpl

    file = io.BytesIO()
    with mpl.rc_context({"savefig.bbox": "standard"}):
        figure.savefig(file, format="png", dpi=DPI)
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def _drawn(figure: "Figure") -> ElementTree.Element:
    """A figure as an SVG, its sides in whole pixels of the page, without what says when and by what it was made."""
    import matplotlib as mpl

    file = io.BytesIO()
    # With a fixed salt equal definitions have equal names in every frame; with a tight box the frames would jump.
    with mpl.rc_context({"svg.hashsalt": "slider", "savefig.bbox": "standard"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK)
    svg = ElementTree.fromstring(file.getvalue())
    svg.set("preserveAspectRatio", "none")  # the sides are rounded, and nothing may show between two frames
    for side in ("width", "height"):
        svg.set(side, f"{float(svg.attrib[side].removesuffix('pt')) * DPI / 72:.0f}")
    definitions = ElementTree.Element(f"{{{SVG}}}defs")
    for parent in list(svg.iter()):
        parent.text = parent.tail = None if not (parent.text or "").strip() else parent.text
        for group in parent.findall(f"{{{SVG}}}defs"):
            definitions.extend(group)
            parent.remove(group)
    for part in svg.iter():
        part.attrib.pop("id", None)  # "axes_1" stands in every figure, and nothing refers to it
        for name in {"d", "x", "y"} & part.attrib.keys():
            part.set(name, re.sub(r"(\.\d\d)\d+", r"\1", part.attrib[name]))  # a hundredth of a point is enough
    svg.insert(0, definitions)
    return svg


def _sheet(drawn: list[ElementTree.Element], width: int, height: int) -> ElementTree.Element:
    """All charts below each other in one SVG that holds once what they share: glyphs, markers, axes, curves."""
    size = {"width": f"{width}", "height": f"{height * len(drawn)}"}
    sheet = ElementTree.Element(f"{{{SVG}}}svg", size)
    definitions = ElementTree.SubElement(sheet, f"{{{SVG}}}defs")
    known: dict[bytes, tuple[ElementTree.Element, str]] = {}
    named: set[str | None] = {None}
    for number, svg in enumerate(drawn):
        for own in svg.findall(f"{{{SVG}}}defs"):
            for part in own:
                if part.get("id") not in named or number == 0:
                    definitions.append(part)
                    named.add(part.get("id"))
            svg.remove(own)
        _share(svg, known)
        svg.set("y", f"{height * number}")
        sheet.append(svg)
    return sheet


def _share(parent: ElementTree.Element, known: dict[bytes, tuple[ElementTree.Element, str]]) -> None:
    """Replace every part that stands in a frame before this one, from the largest down, by a reference to it."""
    for i, part in enumerate(list(parent)):
        content = ElementTree.tostring(part)
        if content in known:
            first, name = known[content]
            first.set("id", name)
            parent[i] = ElementTree.Element(f"{{{SVG}}}use", {f"{{{LINK}}}href": f"#{name}"})
        elif len(content) > WORTH_SHARING:
            known[content] = part, f"shared{len(known)}"
            _share(part, known)

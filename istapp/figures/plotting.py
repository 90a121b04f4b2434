"""Figures in one style: legible in light and dark, safe for colour-blind readers, photographs' tones untouched."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from istapp.figures import display, origin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

#: Okabe and Ito's palette: blue, vermillion, green, purple, orange, sky blue, black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

#: What nobody shall look at first: rivals as printed, bounds, grids.
GRAY = "#767676"

#: A method has one colour and marker in the whole book; those that are not here are `GRAY`, and told by their names.
METHODS = {
    "ista-net-pp": (COLOURS[0], "o"), "ista-net-plus": (COLOURS[1], "s"), "ista-net": (COLOURS[3], "D"),
    "linear": (COLOURS[6], "X"), "ista": (COLOURS[4], "v"), "fista": (COLOURS[5], "^"), "tv": (COLOURS[2], "P"),
    "lista": (COLOURS[2], "D"),
}  # fmt: skip

#: Points of the words at the ends of lines.
WORDS = 8.5

#: CS ratios in percent, from dark to light as more is measured: their order, which unrelated colours would hide.
RATIOS = {10: ("#1b0c6b", "o"), 20: ("#6a00a8", "D"), 30: ("#b12a90", "s"), 40: ("#dd5e66", "v"), 50: ("#f0893a", "^")}


def method_look(name: str) -> dict[str, str]:
    """Return colour and marker of a method, by its name or that of its run, as keywords for `plot`."""
    return dict(zip(("color", "marker"), METHODS.get(name, (GRAY, "."))))


def look_of(label: str) -> dict[str, str]:
    """Return colour and marker of the method that a label begins with, "ISTA-Net++ (laptop)"; empty for none."""
    said = label.lower().replace("net++", "net-pp").replace("net+", "net-plus")
    named = [name for name in METHODS if re.match(rf"{name}(?![\w-])", said)]
    return method_look(max(named, key=len)) if named else {}


def ratio_look(ratio: float) -> dict[str, str]:
    """Return colour and marker of a CS ratio, a fraction or in percent, as keywords for `plot`."""
    percent = round(100 * ratio) if ratio < 1 else round(ratio)
    nearest = min(RATIOS, key=lambda known: abs(known - percent))
    return dict(zip(("color", "marker"), RATIOS[nearest]))


def stage_colours(count: int) -> list[tuple[float, ...]]:
    """Return a colour for each of so many stages, from dark (the first) to light, never too light for white paper."""
    import matplotlib as mpl

    return [mpl.colormaps["viridis"](0.85 * k / max(1, count - 1)) for k in range(count)]


def stage_name(k: int, count: int) -> str | None:
    """Return the label of stage `k` (1, 2, ...): of up to nine each has one, of more the first and every fifth."""
    return f"$k={k}$" if count < 10 or k == 1 or k % 5 == 0 else None


def style() -> None:
    """Set matplotlib's defaults for the book: white ground, no clutter, the palette above.

    In a notebook charts become SVG, photographs PNG of twice their size, and a small line says what each was made of.
    """
    import matplotlib as mpl
    from cycler import cycler

    display.install()
    origin.install()
    mpl.rcParams.update({
        "figure.dpi": display.DPI, "svg.hashsalt": "istapp",
        "savefig.bbox": "tight", "figure.facecolor": "white", "savefig.facecolor": "white",
        "font.size": 10, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False,
        "axes.grid": True, "grid.alpha": 0.25, "legend.frameon": False, "lines.linewidth": 1.8, "lines.markersize": 5,
        "axes.prop_cycle": cycler(color=COLOURS), "image.cmap": "gray", "figure.constrained_layout.use": True,
    })  # fmt: skip


def as_pixels(image: Tensor | np.ndarray) -> np.ndarray:
    """Return an image as (H, W) or (H, W, 3) floats clipped to [0, 1]; accepts (1, 1, H, W), (3, 1, H, W), (H, W)."""
    array = np.asarray(image.detach().cpu() if isinstance(image, Tensor) else image, dtype=float)
    if array.ndim == 4:
        array = array[:, 0].transpose(1, 2, 0) if len(array) == 3 else array[0, 0]
    return np.clip(array, 0, 1)


def show_images(
    images: Sequence[Tensor | np.ndarray],
    titles: Sequence[str] = (),
    columns: int | None = None,
    width: float = 2.4,
    vmin: float = 0,
    vmax: float = 1,
    box: tuple[int, int, int] | None = None,
) -> "Figure":
    """Draw images in a grid of `columns`, each `width` inches wide, with a title above; gray values vmin ... vmax.

    `box` is a square, (top, left, side) in pixels, that every image shows enlarged in the corner opposite to it.
    """
    import matplotlib.pyplot as plt

    columns = columns or len(images)
    rows = -(-len(images) // columns)
    arrays = [as_pixels(image) if (vmin, vmax) == (0, 1) else np.squeeze(np.asarray(image)) for image in images]
    height = width * max(a.shape[0] / a.shape[1] for a in arrays) + 0.35
    figure, axes = plt.subplots(rows, columns, figsize=(columns * width, rows * height), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, array, title in zip(axes.flat, arrays, [*titles, *[""] * len(arrays)]):
        # Antialiased where shrunk, so that no row of pixels is dropped. A pixel that becomes two or more stays sharp:
        # nothing is smoothed that a method has left rough, and the file is not half as large.
        is_large = 2 * display.DPI * width >= 2 * array.shape[1]
        axis.imshow(array, vmin=vmin, vmax=vmax, interpolation="nearest" if is_large else "antialiased")
        axis.set_title(title)
        if box is not None:
            enlarge(axis, array, box)
    return figure


def enlarge(axis: "Axes", pixels: np.ndarray, box: tuple[int, int, int]) -> None:
    """Frame a square (top, left, side) of the pixels drawn in `axis`, and show it enlarged in the opposite corner."""
    from matplotlib.patches import Rectangle

    (top, left, side), (height, width) = box, pixels.shape[:2]
    shown = 0.42 * min(height, width)
    x = 0 if left + side / 2 > width / 2 else 1 - shown / width
    y = 1 - shown / height if top + side / 2 > height / 2 else 0
    inset = axis.inset_axes((x, y, shown / width, shown / height))
    inset.imshow(pixels[top : top + side, left : left + side], vmin=0, vmax=1, interpolation="nearest")
    inset.grid(False)
    inset.set(xticks=[], yticks=[])
    for spine in inset.spines.values():
        spine.set(visible=True, color=COLOURS[4], linewidth=1.6)
    frame = {"fill": False, "edgecolor": COLOURS[4], "linewidth": 1.6}
    axis.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, **frame))


def curves(
    lines: Mapping[str, Sequence[float]],
    x: Sequence[float] | None = None,
    xlabel: str = "iteration",
    ylabel: str = "",
    log: bool = False,
    axis: "Axes | None" = None,
) -> "Axes":
    """Draw named lines over a common x (default 0, 1, 2, ...) with a legend; `log` makes the y axis logarithmic.

    A line whose name begins with that of a method has the method's own colour and marker.
    """
    import matplotlib.pyplot as plt

    axis = axis or plt.subplots(figsize=(5.2, 3.2))[1]
    taken = {look_of(name).get("color") for name in lines}
    free = [look for look in zip(COLOURS, MARKERS) if look[0] not in taken] or list(zip(COLOURS, MARKERS))
    others = [name for name in lines if not look_of(name)]
    for name, values in lines.items():
        look: dict[str, Any] = look_of(name) or dict(zip(("color", "marker"), free[others.index(name) % len(free)]))
        abscissa = range(len(values)) if x is None else x
        axis.plot(abscissa, values, label=name, markevery=max(1, len(values) // 8), **look)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        axis.set_yscale("log")
    if len(lines) > 1:
        axis.legend()
    return axis


def ratio_dots(axis: "Axes", place: float, gaps: Mapping[float, float], colour: str, face: str | None = None) -> None:
    """Draw numbers by CS ratio, a fraction, as dots on a level of `axis`: the larger a dot, the more is measured.

    `face` is the colour inside, by default `colour`: white for what decides nothing.
    """
    if gaps:
        sizes = [15 + 150 * ratio for ratio in gaps]
        axis.plot(list(gaps.values()), [place] * len(gaps), lw=1, color=colour, zorder=1)
        axis.scatter(list(gaps.values()), [place] * len(gaps), sizes, **_dot(colour, face), linewidth=1, zorder=2)


def kinds_of_dots(axis: "Axes", kinds: Mapping[str, tuple[str, str | None]]) -> None:
    """Say above the figure of `axis` what colour and face of `ratio_dots` mean."""
    for name, (colour, face) in kinds.items():
        axis.scatter([], [], 60, **_dot(colour, face), label=name)
    axis.figure.legend(loc="outside upper center", ncols=len(kinds))


def _dot(colour: str, face: str | None) -> dict[str, Any]:
    """Return the colours of a dot, as keywords for `scatter`; one that is filled has a white edge."""
    return {"facecolor": face or colour, "edgecolor": "white" if face in (None, colour) else colour}


def label_ends(axis: "Axes", room: float = 0.16) -> None:
    """Write the label of each line of `axis` at its right end, in its colour, and move apart what would overlap.

    This takes the place of a legend: nobody has to look to and fro. `room` is the share of the width that is kept free
    for the words. Call it when all lines are drawn; a line without a label of its own gets none.
    """
    named = [line for line in axis.get_lines() if not str(line.get_label()).startswith("_")]
    lines = [line for line in named if np.size(line.get_xdata())]
    if not lines:
        return
    left, right = axis.get_xlim()
    scale = axis.xaxis.get_transform()
    a, b = scale.transform([left, right])
    ticks = [tick for tick in axis.get_xticks() if left <= tick <= right]
    if axis.get_xscale() == "linear":
        axis.set_xticks(ticks)  # where there are words, there are no numbers
    axis.set_xlim(left, float(scale.inverted().transform(a + (b - a) / (1 - room))))
    axis.figure.canvas.draw()  # heights are known only now
    ends = [(float(np.asarray(x)[-1]), float(np.asarray(y)[-1])) for x, y in (line.get_data() for line in lines)]
    heights = [72 / axis.figure.dpi * axis.transData.transform(end)[1] for end in ends]  # in points
    wanted = [height + 1.25 * WORDS * _way_out(axis, line, lines) for height, line in zip(heights, lines)]
    for line, end, height, place in zip(lines, ends, heights, spread_out(wanted, 1.25 * WORDS)):
        thread = {"arrowstyle": "-", "color": line.get_color(), "lw": 0.5, "shrinkA": 0, "shrinkB": 2}
        axis.annotate(
            str(line.get_label()), end, (8, place - height), textcoords="offset points", size=WORDS, va="center",
            color=line.get_color(), annotation_clip=False, arrowprops=thread if abs(place - height) > 2 else None,
        )  # fmt: skip


def _way_out(axis: "Axes", line: "Line2D", lines: Sequence["Line2D"]) -> int:
    """Return where the words at a line's end are out of the way of a line that goes on there: 1 above, -1 below, or 0.

    It is 0, too, where the other passes at a distance.
    """
    x, y = (float(np.asarray(data)[-1]) for data in line.get_data())
    for other in lines:
        xs, ys = (np.asarray(data, dtype=float) for data in other.get_data())
        if other is not line and xs.min() <= x < xs.max():
            passing = float(np.interp(x, xs, ys))
            low, high = (axis.transData.transform((x, value))[1] for value in (passing, y))
            if abs(high - low) * 72 / axis.figure.dpi < 1.25 * WORDS:
                return 1 if y >= passing else -1
    return 0


def spread_out(places: Sequence[float], gap: float) -> list[float]:
    """Return the places moved as little as needed so that neighbours are `gap` apart, in the same order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups: list[list[int]] = []  # neighbours that touch stand around the mean of where they wanted to be
    centre = lambda group: sum(places[i] for i in group) / len(group)  # noqa: E731
    for i in order:
        groups.append([i])
        while len(groups) > 1 and (
            centre(groups[-1]) - centre(groups[-2]) < gap * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            last = groups.pop()
            groups[-1] += last
    moved = list(places)
    for group in groups:
        for n, i in enumerate(group):
            moved[i] = centre(group) + gap * (n - (len(group) - 1) / 2)
    return moved

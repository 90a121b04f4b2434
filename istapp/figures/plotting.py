"""Figures in one style: legible in light and dark, safe for colour-blind readers, photographs' tones untouched."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's palette: blue, vermillion, green, purple, orange, sky blue, black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def style() -> None:
    """Set matplotlib's defaults for the book: white ground, no clutter, the palette above."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update({
        "figure.dpi": 110, "savefig.bbox": "tight", "figure.facecolor": "white", "savefig.facecolor": "white",
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
        axis.imshow(array, vmin=vmin, vmax=vmax)  # antialiased where shrunk, so that no pixel row is dropped
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
    """Draw named lines over a common x (default 0, 1, 2, ...) with a legend; `log` makes the y axis logarithmic."""
    import matplotlib.pyplot as plt

    axis = axis or plt.subplots(figsize=(5.2, 3.2))[1]
    for (name, values), marker in zip(lines.items(), MARKERS * (1 + len(lines) // len(MARKERS))):
        abscissa = range(len(values)) if x is None else x
        every = max(1, len(values) // 8)
        axis.plot(abscissa, values, label=name, marker=marker, markevery=every)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        axis.set_yscale("log")
    if len(lines) > 1:
        axis.legend()
    return axis

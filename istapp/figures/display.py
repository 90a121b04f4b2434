"""How a figure reaches a page: a chart as SVG, whatever holds pixels as PNG of twice its size on the page.

A chart is lines and letters, and stays sharp at any size. A photograph is pixels: a screen of today has two of them to
one of a page, so it gets twice as many, in gray where it is gray (a third of the weight). `install` is called once a
kernel, by `istapp.figures.plotting.style`; no cell says anything about formats.
"""

import base64
import io
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Pixels of a page to an inch of a figure, whatever its format.
DPI = 110

# A hundredth of a point is enough for a coordinate; numbers below ten may be scales, of letters.
_DIGITS = re.compile(r"(\b\d{2,}\.\d\d)\d+\b")
_SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')


def holds_pixels(figure: "Figure") -> bool:
    """Whether a figure shows an image, as `imshow` draws it, in an axis or in an inset."""
    from matplotlib.image import AxesImage

    return bool(figure.findobj(AxesImage))


def as_svg(figure: "Figure") -> str | None:
    """Return a chart as SVG, `DPI` pixels of the page to an inch; None for a figure that holds pixels."""
    if holds_pixels(figure):
        return None
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})

    def in_pixels(size: re.Match[str]) -> str:
        """Return the size in pixels for one in points."""
        width, height = (round(float(points) * DPI / 72) for points in size.groups())
        return f'width="{width}" height="{height}"'

    return _SIZE.sub(in_pixels, _DIGITS.sub(r"\1", drawn.getvalue()), count=1)


def as_png(figure: "Figure") -> tuple[str, dict[str, Any]] | None:
    """Return a figure that holds pixels as PNG (base64) and its width on the page; None for a chart."""
    if not holds_pixels(figure):
        return None
    import numpy as np
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight", dpi=2 * DPI)
    pixels = np.asarray(Image.open(drawn).convert("RGB"))
    is_gray = bool((pixels == pixels[..., :1]).all())
    picture = Image.fromarray(pixels[..., 0] if is_gray else pixels)
    picture.save(small, format="png", optimize=True)
    return base64.b64encode(small.getvalue()).decode(), {"width": picture.width // 2}


def install() -> None:
    """Make IPython show figures in these two formats; nothing happens outside a notebook."""
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython
    from matplotlib.figure import FigureBase

    shell: Any = get_ipython()
    if shell is None:
        return
    from matplotlib_inline.config import InlineBackend

    # The backend sets its own formats for Figure, now or when it is first used. With none it leaves the field to what
    # is set for the class above, and the order does not matter.
    InlineBackend.instance(parent=shell).figure_formats = set()
    formatters = shell.display_formatter.formatters
    formatters["image/svg+xml"].for_type(FigureBase, as_svg)
    formatters["image/png"].for_type(FigureBase, as_png)

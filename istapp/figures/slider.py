"""A slider over frames that were computed beforehand: it moves in a page without a kernel, and prints as three frames.

    slider(images, label="ISTA at 30 %", captions=[f"after {k} iterations" for k in stops])

The frames travel inside the cell's output: photographs as one WebP, charts as one SVG, each with all frames below each
other. The reader moves a native ``<input type="range">`` (arrow keys, Home and End, a finger), drags across the
picture, or presses play. Without JavaScript, on paper, and wherever scripts are removed, the first, the middle and the
last frame stand beside each other; a front end without HTML shows the same three as a plain picture.
"""

import base64
import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from istapp.figures.sprite import Film, Frame, films, gather

LIMIT = 400_000  # bytes of HTML for one slider; a page holds several
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Slider:
    """What a cell shows; made by `slider`.

    Attributes:
        label: what the slider moves through.
        captions: one for each frame.
        page: the HTML.
        picture: the three frames of the still picture, encoded.
        kind: the type of `picture`, such as "image/png".
    """

    label: str
    captions: tuple[str, ...]
    page: str
    picture: bytes
    kind: str

    def __repr__(self) -> str:
        return f"<slider: {self.label}; {len(self.captions)} frames>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        encoded = base64.b64encode(self.picture).decode()
        return {"text/plain": repr(self), "text/html": self.page, self.kind: encoded}


def slider(
    frames: Iterable[Frame],
    label: str,
    captions: Sequence[str],
    headings: Sequence[str] = (),
    start: int = 0,
) -> Slider:
    """Make a slider over precomputed frames, to be the last line of a cell.

    Args:
        frames: all images, (H, W), (1, 1, H, W) or (3, 1, H, W) from 0 to 1; all tuples of such images, which stand
            beside each other; or all matplotlib figures, of one size and with fixed axes, which are closed (many
            are best drawn one by one, in a generator).
        label: what the slider moves through, said once by a screen reader; unique on its page.
        captions: what each frame shows, with its number; the text beside the slider and for screen readers.
        headings: a word above each image of a frame; needed where there are several.
        start: the frame that is shown first; negative ones count from the end.

    Photographs are compressed as much as `LIMIT` asks, but not beyond recognition; numbers about them belong into the
    captions, computed from the images themselves.

    Raises:
        ValueError: fewer than two frames; captions or headings that do not match them, are empty or repeat themselves;
            frames of several kinds or sizes; more bytes than a page should carry.
    """
    count = len(captions)
    kept = sorted({0, count // 2, count - 1})
    gathered = gather(frames, kept)
    _check(len(gathered), label, captions, start)
    for film in films(gathered, kept):
        if len(headings) != (film.panels if headings or film.panels > 1 else 0) or not all(headings):
            raise ValueError(f"{film.panels} images in a frame need as many headings, not {list(headings)}")
        page = _page(film, kept, label, list(captions), list(headings), start % count)
        if len(page) <= LIMIT:
            return Slider(label, tuple(captions), page, film.picture, film.kind)
    raise ValueError(f"the slider weighs {len(page):,} bytes, more than {LIMIT:,}: take fewer or smaller frames")


def _check(count: int, label: str, captions: Sequence[str], start: int) -> None:
    if count < 2:
        raise ValueError("a slider needs two frames or more")
    if len(captions) != count:
        raise ValueError(f"{count} frames need as many captions, not {len(captions)}")
    if not label.strip() or not all(caption.strip() for caption in captions):
        raise ValueError("the label and every caption must say something")
    if len(set(captions)) < count:
        raise ValueError("two frames have one caption: say what tells them apart")
    if not -count <= start < count:
        raise ValueError(f"there is no frame {start} to start with")


def _page(film: Film, kept: list[int], label: str, captions: list[str], headings: list[str], start: int) -> str:
    """The HTML: three frames that everybody can see, and all that the script needs to replace them by a slider."""
    given = {
        "width": film.width, "height": film.height, "panels": film.panels, "density": film.density,
        "widest": film.widest, "label": label, "captions": captions, "headings": headings, "start": start,
    }  # fmt: skip
    stills = "".join(
        f'<div><img class="dark-light" src="{address}" alt="{html.escape(_alt(label, captions, i, headings))}">'
        f"<span>{html.escape(captions[i])}</span></div>"
        for i, address in zip(kept, film.stills)
    )
    style, script = ((HERE / f"slider.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    data = f"data-frames='{html.escape(json.dumps(given, ensure_ascii=False))}' data-sprite=\"{film.sprite}\""
    many = ' data-panels=""' if film.panels > 1 else ""
    return (
        f'<div class="istapp-slider"{many} {data}><div class="stills">{stills}</div></div>'
        f"<style>{style}</style><script>{script}</script>"
    )


def _alt(label: str, captions: list[str], i: int, headings: list[str]) -> str:
    shown = f" ({', '.join(headings)})" if headings else ""
    return f"{label}, frame {i + 1} of {len(captions)}{shown}: {captions[i]}"

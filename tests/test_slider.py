"""Sliders: their markup, what is refused, and what a browser makes of keys, a finger, paper and no script."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from browser import Browser, needs_chromium
from PIL import Image
from pipeline.check import Page, image_faults

from istapp.figures import slider as module
from istapp.figures.slider import slider

pytestmark = pytest.mark.xdist_group("browser")  # one browser for all of them

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
CAPTIONS = [f"gray level {level:.2f}" for level in LEVELS]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def sheets(size=(40, 60), panels=1):
    """One even sheet for each level; further panels are its negative."""
    frames = [tuple(torch.full(size, 1 - level if p else level) for p in range(panels)) for level in LEVELS]
    return frames if panels > 1 else [frame[0] for frame in frames]


def charts(count=4, size=(4.8, 3), marker="o"):
    """A growing curve in fixed axes."""
    figures = []
    for n in range(1, count + 1):
        figure, axis = plt.subplots(figsize=size)
        axis.plot(range(20), np.linspace(0, n, 20), marker=marker, label="curve")
        axis.plot(range(20), np.linspace(count, 0, 20))
        axis.set(ylim=(0, count), title="a title")
        axis.legend(loc="upper left")
        figures.append(figure)
    return figures


class Parts(HTMLParser):
    """The parts of a slider's markup."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.images, self.box = [], [], {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(given)
        if given.get("class") == "istapp-slider":
            self.box = given | json.loads(given["data-frames"])


def content(address):
    kind, _, encoded = address.removeprefix("data:").partition(";base64,")
    return kind, base64.b64decode(encoded)


def pixels(address):
    kind, data = content(address)
    assert kind == "image/webp"
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(float)


def test_all_frames_lie_below_each_other_and_three_stand_alone():
    parts = Parts(slider(sheets(), "Levels", CAPTIONS).page)
    sprite = pixels(parts.box["data-sprite"])
    assert sprite.shape == (5 * 40, 60)
    for n, level in enumerate(LEVELS):
        assert abs(sprite[40 * n + 2 : 40 * n + 38] - 255 * level).max() < 6
    assert [round(pixels(image["src"]).mean() / 255, 1) for image in parts.images] == [0.0, 0.5, 1.0]
    assert (parts.box["width"], parts.box["height"], parts.box["panels"]) == (60, 40, 1)


def test_images_of_a_frame_stand_beside_each_other_below_their_headings():
    parts = Parts(slider(sheets(panels=2), "Levels", CAPTIONS, headings=("sheet", "negative")).page)
    sprite = pixels(parts.box["data-sprite"])
    assert sprite.shape == (5 * 40, 2 * 60)
    assert sprite[20, 30] < 6 and sprite[20, 90] > 249 and sprite[180, 30] > 249 and sprite[180, 90] < 6
    assert parts.box["headings"] == ["sheet", "negative"]
    assert all("sheet, negative" in image["alt"] for image in parts.images)


def test_every_form_of_image_is_taken():
    colour = [torch.rand(3, 1, 24, 36, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    assert Parts(slider(colour, "Colours", CAPTIONS[:3]).page).box["width"] == 36
    for frames in (sheets(), [x[None, None] for x in sheets()], [x.numpy() for x in sheets()]):
        assert Parts(slider(frames, "Levels", CAPTIONS).page).box["height"] == 40


def test_what_everybody_sees_is_described_and_nothing_is_dead_without_a_script():
    parts = Parts(slider(sheets(), "Levels", CAPTIONS).page)
    assert [image["alt"] for image in parts.images] == [f"Levels, frame {n} of 5: {CAPTIONS[n - 1]}" for n in (1, 3, 5)]
    assert all("dark-light" in image["class"] for image in parts.images)
    assert not {"button", "input", "canvas"} & set(parts.tags)
    assert parts.box["captions"] == CAPTIONS and parts.box["label"] == "Levels"


def test_the_checks_of_the_book_find_nothing_and_nothing_is_loaded():
    page = Page("<main>" + slider(sheets(), "Levels", CAPTIONS).page + slider(charts(), "Charts", CAPTIONS[:4]).page)
    assert not list(image_faults(page)) and all(address.startswith("data:") for address in page.loads)
    assert "http" not in page.styles


def test_words_of_the_author_stay_words():
    label, captions = "a <b> & 'c' \"d\"", ["<i>one</i>", "two & 'more'", '"three" > 2']
    result = slider(sheets()[:3], label, captions)
    parts = Parts(result.page)
    assert parts.box["label"] == label and parts.box["captions"] == captions
    assert not {"b", "i"} & set(parts.tags) and parts.images[0]["alt"] == f"{label}, frame 1 of 3: {captions[0]}"


def test_two_frames_are_enough_and_the_start_counts_from_both_ends():
    parts = Parts(slider(sheets()[:2], "Levels", CAPTIONS[:2]).page)
    assert len(parts.images) == 2 and parts.box["start"] == 0
    assert Parts(slider(sheets(), "Levels", CAPTIONS, start=-1).page).box["start"] == 4


def test_a_front_end_gets_the_page_and_one_picture():
    shown = slider(sheets(), "Levels", CAPTIONS)._repr_mimebundle_()
    assert shown["text/plain"] == "<slider: Levels; 5 frames>" and shown["text/html"].startswith("<div")
    picture = Image.open(io.BytesIO(base64.b64decode(shown["image/jpeg"])))
    assert picture.size == (3 * 60, 40)
    shown = slider(sheets(panels=2), "Levels", CAPTIONS, headings="ab")._repr_mimebundle_()
    assert Image.open(io.BytesIO(base64.b64decode(shown["image/jpeg"]))).size == (2 * 60, 3 * 40)


def test_charts_share_what_they_have_in_common():
    figures = charts(12)
    result = slider(figures, "Charts", [f"slope {n}" for n in range(12)])
    assert not plt.get_fignums(), "an open figure would be shown once more"
    parts = Parts(result.page)
    sprite, stills = content(parts.box["data-sprite"]), [content(image["src"]) for image in parts.images]
    assert {kind for kind, _ in (sprite, *stills)} == {"image/svg+xml"}
    assert len(sprite[1]) < 4 * len(stills[0][1])  # twelve frames, three of them alone
    sheet = ElementTree.fromstring(sprite[1])
    frames = [part for part in sheet if part.tag.endswith("}svg")]
    assert [float(frame.get("y")) for frame in frames] == [n * parts.box["height"] for n in range(12)]
    names = [part.get("id") for part in sheet.iter() if part.get("id")]
    text = sprite[1].decode()
    referred = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert len(set(names)) == len(names) and referred <= set(names)
    bundle = result._repr_mimebundle_()
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).size == (528, 990)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"frames": sheets()[:1], "captions": CAPTIONS[:1]}, "two frames"),
        ({"frames": []}, "two frames"),
        ({"captions": CAPTIONS[:4]}, "as many captions, not 4"),
        ({"captions": [*CAPTIONS[:4], " "]}, "say something"),
        ({"captions": [*CAPTIONS[:4], CAPTIONS[0]]}, "one caption"),
        ({"label": ""}, "say something"),
        ({"start": 5}, "no frame 5"),
        ({"headings": ("one", "two")}, "as many headings"),
        ({"frames": sheets(panels=2)}, "as many headings"),
        ({"frames": [*sheets()[:4], torch.zeros(40, 61)]}, "one size"),
        ({"frames": [*sheets()[:4], (torch.zeros(40, 60),) * 2]}, "one size and number"),
        ({"frames": [torch.zeros(4)] * 5}, "no image to show"),
        ({"frames": [torch.zeros(4000, 2)] * 5}, "too many for one file"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused(change, fault):
    given = {"frames": sheets(), "label": "Levels", "captions": CAPTIONS} | change
    with pytest.raises(ValueError, match=fault):
        slider(**given)


def test_figures_may_come_one_by_one():
    open_at_once = []

    def drawn():
        for _ in range(4):
            yield charts(1)[0]
            open_at_once.append(len(plt.get_fignums()))

    slider(drawn(), "Charts", CAPTIONS[:4])
    assert open_at_once == [0, 0, 0, 0]


def test_images_and_figures_do_not_mix():
    with pytest.raises(ValueError, match="not both"):
        slider([sheets()[0], *charts(1)], "Both", CAPTIONS[:2])


def test_figures_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        slider([*charts(1), *charts(1, (5, 3))], "Charts", CAPTIONS[:2])


def test_photographs_are_compressed_until_they_keep_within_the_limit(monkeypatch):
    noise = [torch.rand(80, 80, generator=torch.Generator().manual_seed(n)) for n in range(5)]
    good = len(slider(noise, "Noise", CAPTIONS).page)
    monkeypatch.setattr(module, "LIMIT", good - 2000)
    assert len(slider(noise, "Noise", CAPTIONS).page) <= good - 2000
    monkeypatch.setattr(module, "LIMIT", good // 4)
    with pytest.raises(ValueError, match="fewer or smaller frames"):
        slider(noise, "Noise", CAPTIONS)


def test_the_component_is_small():
    assert sum((module.HERE / f"slider.{kind}").stat().st_size for kind in ("css", "js")) < 6000


# In a browser.


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def shown(browser, tmp_path):
    """Open a page of two sliders on a screen of 800 pixels, and wait until both live."""
    body = slider(sheets(), "Levels", CAPTIONS).page + slider(charts(), "Charts", CAPTIONS[:4], start=2).page
    page = tmp_path / "page.html"
    page.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>{body}', encoding="utf-8")
    browser.media()
    browser.screen(800, 1200)
    browser.do("Emulation.setScriptExecutionDisabled", value=False)
    browser.open(page)
    browser.wait('document.querySelectorAll(".istapp-slider[data-live=yes]").length == 2')
    return browser


def level(browser, number=0):
    """The gray level in the middle of a canvas, 0 to 255."""
    return browser.value(
        f"(c => c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[0])"
        f"(document.querySelectorAll('canvas')[{number}])"
    )


def said(browser, number=0):
    """What a screen reader says of a slider's value."""
    return browser.value(f"document.querySelectorAll('input')[{number}].getAttribute('aria-valuetext')")


@needs_chromium
def test_keys_move_the_frame_and_what_is_said_of_it(shown):
    shown.value("document.querySelector('input').focus()")
    assert said(shown) == "1 of 5: gray level 0.00" and level(shown) < 6
    shown.press("ArrowRight")
    assert said(shown) == "2 of 5: gray level 0.25" and abs(level(shown) - 64) < 6
    shown.press("End")
    assert said(shown) == "5 of 5: gray level 1.00" and level(shown) > 249
    shown.press("ArrowLeft", "ArrowLeft")
    assert said(shown) == "3 of 5: gray level 0.50"
    assert shown.value("document.querySelector('p').textContent") == "3 of 5: gray level 0.50"
    assert shown.value("document.querySelector('canvas').ariaLabel") == "Levels, frame 3 of 5: gray level 0.50"
    shown.press("Home", "ArrowLeft")
    assert said(shown).startswith("1 of 5") and said(shown, 1).startswith("3 of 4")


@needs_chromium
def test_the_tab_key_reaches_play_and_slider_in_turn(shown):
    names = []
    for _ in range(4):
        shown.press("Tab")
        names.append(shown.value("document.activeElement.ariaLabel"))
    assert names == ["Play: Levels", "Levels", "Play: Charts", "Charts"]


@needs_chromium
def test_a_drag_across_the_picture_moves_it(shown):
    box = shown.value(
        "(r => [r.left, r.top, r.width, r.height])(document.querySelector('.panels').getBoundingClientRect())"
    )
    left, middle, width = box[0], box[1] + box[3] / 2, box[2]
    shown.drag((left + 0.26 * width, middle))
    assert said(shown).startswith("2 of 5") and shown.value("document.activeElement.type") == "range"
    shown.drag((left + 0.26 * width, middle), (left + 0.7 * width, middle), (left + 3 * width, middle))
    assert said(shown).startswith("5 of 5")


@needs_chromium
def test_play_goes_to_the_end_once_and_stops_for_a_key(shown):
    shown.value("document.querySelector('button').focus()")
    shown.press(" ")
    assert shown.value("document.activeElement.ariaLabel") == "Pause: Levels"
    shown.wait("document.querySelector('input').value > 0")
    shown.value("document.querySelector('input').focus()")
    shown.press("Home")
    assert shown.value("document.querySelector('button').ariaLabel") == "Play: Levels"
    shown.value("document.querySelector('button').click()")
    shown.wait("document.querySelector('input').value == 4 && document.querySelector('button').ariaLabel[1] == 'l'")


@needs_chromium
def test_who_wants_no_motion_gets_no_play_button(shown):
    visible = "document.querySelector('button').checkVisibility()"
    assert shown.value(visible)
    shown.media(prefers_reduced_motion="reduce")
    assert not shown.value(visible) and shown.value("document.querySelector('input').checkVisibility()")


@needs_chromium
def test_paper_shows_three_frames_and_the_screen_one(shown):
    count = "[...document.querySelectorAll('.stills img')].filter(i => i.checkVisibility()).length"
    canvases = "[...document.querySelectorAll('canvas')].filter(c => c.checkVisibility()).length"
    assert (shown.value(count), shown.value(canvases)) == (0, 2)
    shown.media("print")
    assert (shown.value(count), shown.value(canvases)) == (6, 0)


@needs_chromium
def test_without_scripts_three_frames_stand_there(shown):
    shown.do("Emulation.setScriptExecutionDisabled", value=True)
    shown.do("Page.reload")
    shown.do("DOM.enable")
    while not any(event["method"] == "Page.loadEventFired" for event in shown.events[-5:]):
        shown.events.append(shown._next())
    root = shown.do("DOM.getDocument")["root"]["nodeId"]
    find = lambda what: shown.do("DOM.querySelectorAll", nodeId=root, selector=what)["nodeIds"]  # noqa: E731
    assert len(find(".stills img")) == 6 and not find("canvas, input, button")
    assert shown.do("DOM.getBoxModel", nodeId=find(".stills img")[0])["model"]["width"] > 50


@needs_chromium
def test_charts_are_drawn_where_their_frame_lies(shown):
    area = "(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
    shown.value("document.querySelectorAll('input')[1].focus()")
    tops = []
    for key in ("Home", "End"):
        shown.press(key)
        rgba = np.array(shown.value(f"{area}(document.querySelectorAll('canvas')[1])")).reshape(2 * 330, 2 * 528, 4)
        assert (rgba[..., 3] == 255).all()
        blue = abs(rgba[:, 920:, :3] - [0, 114, 178]).sum(-1) < 40  # the right end of the growing curve
        tops.append(blue.nonzero()[0].min())
    assert tops[0] > 350 and tops[1] < 170, tops


@needs_chromium
def test_nothing_is_fetched_nothing_complains_and_nothing_overflows(shown):
    assert [url for url in shown.requests() if not url.startswith("file:")] == [] and shown.errors() == []
    assert len(shown.requests()) == 1
    shown.screen(380, 800)
    assert shown.value("document.documentElement.scrollWidth") <= 380
    targets = shown.value("[...document.querySelectorAll('button, input')].map(e => e.getBoundingClientRect().height)")
    assert min(targets) >= 44

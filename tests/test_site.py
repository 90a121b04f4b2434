"""Pages of a built book in a browser: from disk, in light and dark, wide and narrow, and by axe-core.

The looks are proved on the small book of the tests: they find nothing on its pages, and what is put there to be found.
With the marker `look` they go over every page of the book that was built last, `make look`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import looks
import pytest
from books import ROOT
from browser import Browser, needs_chromium

SITE = ROOT / "build" / "html"
PAGES = [page for page in sorted(SITE.rglob("*.html")) if "_static" not in page.parts and page.name != "index.html"]
TRIAL = ("book/trial_cover", "notebooks/01_trial", "notebooks/more/02_source", "search", "genindex")

of_the_small_book = pytest.mark.xdist_group("build")  # the worker that has built it
of_the_whole_book = pytest.mark.look


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One page of one browser for all tests of this file."""
    with Browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def script() -> str:
    """axe-core."""
    return looks.axe() or pytest.skip("axe-core cannot be fetched: npm is missing or has no network")


# ---- the looks themselves, on the small book ----


@needs_chromium
@of_the_small_book
@pytest.mark.parametrize("name", TRIAL)
def test_the_small_book_has_no_fault(built: Path, tab: Browser, name: str) -> None:
    """What every page of every book has: the frame, a chapter with mathematics and pictures, the search, the index."""
    assert looks.faults(tab, built / "build" / "html" / f"{name}.html", looks.axe()) == []


WRONG = {
    "asks another host|complains": '<img alt="a dot" src="http://127.0.0.1:9/dot.png">',
    "complains": "<script>console.error('no good')</script>",
    "complains: .*no such thing": "<script>throw new Error('no such thing')</script>",
    "is not typeset: x_1": '<div class="math">x_1</div>',
    "is filtered in the dark": '<p style="filter: brightness(0.8)"><img alt="a dot" src="../_static/file.png"></p>',
    "overflows at 380 pixels: the page is": '<div style="width: 500px">long</div>',
    "overflows at 380 pixels: <p": '<p style="overflow: hidden; width: 50px; white-space: nowrap">cut by its box</p>',
    "is cut at the left of 380 pixels: <p": '<p style="position: absolute; left: -50px; width: 90px">half of it</p>',
    "hides the focus: <button": '<button style="outline: 0 !important; box-shadow: none">where?</button>',
    "axe: image-alt": '<img src="../_static/file.png">',
    "axe: button-name": "<button></button>",
    "axe: color-contrast": '<p style="color: #eee; background: #fff">hardly there</p>',
}


@needs_chromium
@of_the_small_book
@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_found(book: Path, tab: Browser, fault: str, request: pytest.FixtureRequest) -> None:
    """One thing that is wrong, at the end of the small book's chapter, is what is found, and nothing else is."""
    page = book / "build" / "html" / "book" / "trial_cover.html"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</article>", f"{WRONG[fault]}</article>"), encoding="utf-8")
    script = request.getfixturevalue("script") if fault.startswith("axe") else None
    found = looks.faults(tab, page, script)
    assert found and all(re.match(fault.partition(":")[0], each) for each in found), found
    assert re.match(fault.partition("|")[0], found[0]), found


def excerpt(tab: Browser, site: Path, word: str) -> dict:
    """Search for a word from disk; what the page finds, and the words that it quotes of the first place."""
    tab.media(prefers_color_scheme="light")
    tab.open(site / "search.html", f"q={word}")
    tab.wait("document.querySelector('#search-results .search-summary')?.textContent.match(/finished|did not match/)")
    tab.wait("!document.querySelector('#search-results li') || document.querySelector('#search-results .context')")
    assert looks.complaints(tab) == []
    return tab.value("""({found: document.querySelectorAll('#search-results li').length,
        quoted: document.querySelector('#search-results .context')?.textContent ?? ''})""")


@needs_chromium
@of_the_small_book
def test_the_search_quotes_what_it_finds(built: Path, tab: Browser) -> None:
    """A word that stands on one page, and one that stands on none."""
    there = excerpt(tab, built / "build" / "html", "beside")
    assert there["found"] == 1 and "A page beside the chapters" in there["quoted"]
    assert excerpt(tab, built / "build" / "html", "nowherefound") == {"found": 0, "quoted": ""}


@needs_chromium
@of_the_small_book
def test_the_menu_of_a_telephone_gives_the_focus_back(built: Path, tab: Browser) -> None:
    """Opened and closed by keys, it leaves the reader at the button that opened it."""
    tab.screen(looks.NARROW, 800)
    tab.open(built / "build" / "html" / "notebooks" / "01_trial.html")
    toggle = "[...document.querySelectorAll('.primary-toggle')].find((each) => each.checkVisibility())"
    tab.value(f"{toggle}.focus()")
    tab.press("Enter")
    tab.wait("document.querySelector('dialog[open]')")
    tab.press("Escape")
    tab.wait("!document.querySelector('dialog[open]')")
    tab.wait(f"document.activeElement === {toggle}")


# ---- every page of the book that was built last ----


@of_the_whole_book
def test_there_is_a_book() -> None:
    """Without one there is nothing to look at."""
    assert PAGES, "no pages in build/html: make book"


@needs_chromium
@of_the_whole_book
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(SITE).with_suffix("").as_posix())
def test_a_page_has_no_fault(page: Path, tab: Browser) -> None:
    """Nothing that a browser or axe-core could find."""
    assert looks.faults(tab, page, looks.axe()) == []


@needs_chromium
@of_the_whole_book
@pytest.mark.parametrize("word", ["shrinkage", "Moreau", "photograph", "threshold", "crop"])
def test_the_search_finds_words_of_the_book(tab: Browser, word: str) -> None:
    """Each with a piece of the text around it."""
    there = excerpt(tab, SITE, word)
    assert there["found"] and word.lower() in there["quoted"].lower()


@of_the_whole_book
def test_axe_was_there(script: str) -> None:
    """Skipped, with the reason, where the looks above had to do without."""
    assert "axe" in script

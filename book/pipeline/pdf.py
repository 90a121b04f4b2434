"""The whole book on paper: the built pages one after the other in one document, which chromium prints.

Links between pages become links inside the document, folded solutions stand open, sliders show three of their frames.
"""

import posixpath
import shutil
import subprocess
import tempfile
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline import BuildError, notebooks, pages
from pipeline.archive import version

WHOLE = pages.BUILD / "book.html"  # beside `html`, where its pictures are
MINUTES = 45  # a slow or busy machine needs a good part of them
#: A4 with margins, and the same width on the screen, for which the formulas are fitted before they are printed.
STYLE = """
@page { size: A4; margin: 18mm 16mm; @bottom-center { content: counter(page); font: 9pt sans-serif; } }
html { font-size: 12.5px; scroll-padding: 0; }
body { width: 178mm; margin: 0; }
.bd-article { padding: 0 !important; break-before: page; }
.headerlink, .copybtn, .viewcode-link, .demo, .tag_setup, .istapp-slider > :not(.stills),
details.hide > summary { display: none !important; }
summary { display: block; font-weight: 600; pointer-events: none; }
/* (letters that stand out of their line at the top of a page are painted on the page before as well, and a heading's
   words then stand twice in the table of contents) */
h1, h2, h3, h4, h5, h6 { line-height: 1.5 !important; }
/* (a thin stroke around each letter of a formula is as wide as a pixel where PDFs are shown) */
mjx-container :is(g, path) { stroke: none !important; }
dl.py { font-size: 0.85em; margin-bottom: 0.6em !important; }
.stills { display: flex !important; }
.highlight pre { font-size: 0.68rem !important; overflow-wrap: anywhere; white-space: pre-wrap !important; }
.cell_output, .status, .pst-scrollable-table-container, .table-wrapper { overflow: visible !important; }
table { font-size: 0.72rem !important; }
figure, img, mjx-container[display], .statement, tr { break-inside: avoid; }
h1, h2, h3, h4 { break-after: avoid; }
img { max-width: 100%; }
"""
NEEDS = "no chromium here (Debian: apt-get install chromium)"


def browser() -> str | None:
    """The program that prints, or None."""
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


def write() -> Path | None:
    """Print `build/html` into `build/istapp-VERSION.pdf`; returns that file, None where there is no chromium.

    Raises:
        BuildError: there are no pages, or chromium made no PDF of them.
    """
    if (program := browser()) is None:
        return None
    WHOLE.write_text(whole(contents()), encoding="utf-8")
    target = pages.BUILD / f"istapp-{version()}.pdf"
    unfinished = target.with_suffix(".part")
    unfinished.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        command += [f"--user-data-dir={profile}", "--no-pdf-header-footer", "--generate-pdf-document-outline"]
        command += [f"--virtual-time-budget={60_000 * MINUTES}", f"--print-to-pdf={unfinished}", WHOLE.as_uri()]
        try:
            subprocess.run(command, capture_output=True, timeout=60 * MINUTES)
        except subprocess.TimeoutExpired:
            raise BuildError(f"chromium did not print the book within {MINUTES} minutes") from None
    if not unfinished.exists():
        raise BuildError("chromium made no PDF of the pages")
    unfinished.replace(target)
    return target


def contents() -> list[str]:
    """The pages of the book in their order, such as "notebooks/02_ista".

    Raises:
        BuildError: one of them was not built.
    """
    from sphinx_external_toc.parsing import parse_toc_yaml

    names = [name.removesuffix(".ipynb").removesuffix(".md") for name in parse_toc_yaml(notebooks.TOC)]
    missing = [name for name in names if not (pages.HTML / f"{name}.html").exists()]
    if missing:
        raise BuildError(f"there is no page {missing[0]} in build/html; make book")
    return names


def whole(names: list[str]) -> str:
    """One HTML document of the pages `names`, to be read from the folder above theirs."""
    from bs4 import BeautifulSoup

    places = {f"{name}.html": f"p{n}" for n, name in enumerate(names)}
    articles, titles, head = [], [], ""
    for name in names:
        page = BeautifulSoup((pages.HTML / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        article = page.find("article", class_="bd-article")
        if article is None:
            raise BuildError(f"the page {name} has no article")
        head = head or _head(page, name)
        titles.append(_title(article, name))
        _rewrite(article, f"{name}.html", places)
        articles.append(str(article))
    listed = "".join(f'<li><a href="#p{n}">{escape(title)}</a></li>' for n, title in enumerate(titles))
    return (
        f'<!doctype html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">'
        f"<title>{escape(titles[0])}</title>{head}<style>{STYLE}</style></head><body>"
        f'<nav><h1>{escape(titles[0])}</h1><ol class="contents">{listed}</ol></nav>{"".join(articles)}</body></html>'
    )


def _head(page: Any, name: str) -> str:
    """The style sheets and the mathematics of a page."""
    kept = page.head.find_all("link", rel="stylesheet")
    kept += [s for s in page.head.find_all("script") if "mathjax/" in s.get("src", "") or "MathJax =" in s.text]
    kept += [s for s in page.head.find_all("script") if "equations.js" in s.get("src", "")]
    for each in kept:
        for attribute in {"href", "src"} & each.attrs.keys():
            each[attribute] = _beside(each[attribute], f"{name}.html")
    return "".join(str(each) for each in kept)


def _title(article: Any, name: str) -> str:
    heading = article.find("h1")
    return heading.get_text().removesuffix("#").strip() if heading else name


def _beside(link: str, page: str) -> str:
    """A link of a page as seen from the folder above the pages."""
    path, mark, rest = link.partition("?")
    return f"html/{posixpath.normpath(posixpath.join(posixpath.dirname(page), path))}{mark}{rest}"


def _rewrite(article: Any, page: str, places: dict[str, str]) -> None:
    """Make a page's article a part of the document: its ids its own, its links inside, nothing folded, no script."""
    for script in article.find_all(["script", "noscript"]):
        script.decompose()
    for each in article.find_all("details"):
        each["open"] = ""
    for each in article.find_all(id=True):
        each["id"] = f"{places[page]}-{each['id']}"
    for image in article.find_all(src=True):
        if not urlsplit(image["src"]).scheme:
            image["src"] = _beside(image["src"], page)
    for link in article.find_all("a", href=True):
        target = urlsplit(link["href"])
        if target.scheme or target.netloc:
            continue
        there = (
            posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(target.path))) if target.path else page
        )
        if there in places:
            link["href"] = f"#{places[there]}" + (f"-{target.fragment}" if target.fragment else "")
        else:
            del link["href"]  # of what is no page of the book, such as a source file
    article["id"] = places[page]

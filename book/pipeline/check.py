"""What the written pages must keep: nothing from another host, an alt text for every image, no link to nowhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Attributes from which a browser loads something while it shows a page.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src",
          "embed": "src", "object": "data"}  # fmt: skip
#: `<link rel=...>` that makes a browser connect; "canonical" or "next" only say something.
LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch", "manifest"}
REMOTE = re.compile(r"^(https?:)?//", re.I)
REMOTE_CSS = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""", re.I)
FILE_PATH = re.compile(r"^\S*(/\S*|\.(png|jpe?g|svg|gif|webp))$", re.I)


@dataclass
class Page(HTMLParser):
    """What matters of one page."""

    text: str
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)  # targets that a reader or the browser follows
    loads: list[str] = field(default_factory=list)  # what the browser fetches by itself
    images: list[tuple[str, str]] = field(default_factory=list)  # (source, alt text)
    styles: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._in_style = False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note anchors, links, images and what is loaded."""
        given = {name: value for name, value in attrs if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self._in_style = tag == "style"
        self.styles += given.get("style", "")
        if LOADED.get(tag) in given:
            self.loads.append(given[LOADED[tag]])
        if tag == "img":
            self.images.append((given.get("src", ""), given.get("alt", "")))
        if tag == "link" and LOADED_LINKS & set(given.get("rel", "").lower().split()):
            self.loads.append(given.get("href", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])

    def handle_data(self, data: str) -> None:
        """Keep what stands in `<style>`."""
        if self._in_style:
            self.styles += data


def image_faults(page: Page) -> Iterator[str]:
    """Images without an alt text of their own."""
    sources: dict[str, str] = {}
    for source, alt in page.images:
        shown = source if len(source) < 80 else f"{source[:77]}..."
        if not alt.strip():
            yield f"no alt text: {shown}"
        elif FILE_PATH.match(alt.strip()):
            yield f"the alt text is a file path: {alt}"
        elif sources.setdefault(alt, source) != source:
            yield f"two images share one alt text: {alt}"


def link_faults(path: Path, page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    """Links to files or anchors that do not exist; addresses elsewhere are the reader's business."""
    for link in page.links + page.loads:
        target = urlsplit(link)
        if target.scheme or target.netloc:
            continue
        there = (path.parent / unquote(target.path)).resolve() if target.path else path
        there = there / "index.html" if there.is_dir() else there
        if not there.exists():
            yield f"link to nowhere: {link}"
        elif target.fragment and there in pages and unquote(target.fragment) not in pages[there].anchors:
            yield f"no such anchor: {link}"


def parse(folder: Path) -> dict[Path, Page]:
    """The HTML pages below `folder`; what Sphinx keeps in _static are templates, not pages."""
    written = [path for path in sorted(folder.resolve().rglob("*.html")) if "_static" not in path.parts]
    return {path: Page(path.read_text(encoding="utf-8", errors="replace")) for path in written}


def faults(folder: Path, pages: dict[Path, Page]) -> list[str]:
    """Every fault of the HTML below `folder` but those of alt texts, as "page: what is wrong"."""
    folder = folder.resolve()
    found = [] if pages else [f"{folder.name}: no page at all"]
    for path, page in pages.items():
        remote = [link for link in page.loads if REMOTE.match(link)] + REMOTE_CSS.findall(page.styles)
        here = [f"loads from another host: {link}" for link in remote]
        here += link_faults(path, page, pages)
        found += [f"{path.relative_to(folder)}: {fault}" for fault in dict.fromkeys(here)]
    for path in sorted(folder.rglob("*.css")):
        remote = REMOTE_CSS.findall(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(folder)}: loads from another host: {link}" for link in remote]
    return found


def alt_faults(folder: Path, pages: dict[Path, Page]) -> list[str]:
    """Images below `folder` that nobody has described, as "page: what is wrong"."""
    folder = folder.resolve()
    found = {path: dict.fromkeys(image_faults(page)) for path, page in pages.items()}
    return [f"{path.relative_to(folder)}: {fault}" for path in found for fault in found[path]]


def claim_faults(root: Path) -> list[str]:
    """Sentences of the project at `root` with a number that no longer holds: see `istapp.paper.claims`."""
    done = _asked(root, root / "book" / "claims", "istapp", "claims")
    return _said(done, "claims", done.stdout or done.stderr) if done and done.returncode else []


def ledger_faults(root: Path) -> list[str]:
    """Entries of the ledger at `root` that do not follow from the rows, and results changed by hand."""
    done = _asked(root, root / "data" / "results" / "ledger.csv", "istapp", "ledger")
    return _said(done, "ledger", done.stderr) if done and done.returncode else []


def _said(done: "subprocess.CompletedProcess[str]", command: str, words: str) -> list[str]:
    """What a check that failed said, or that it said nothing: one that was killed has found nothing good."""
    return words.splitlines() or [f"istapp {command} ended with code {done.returncode} and said nothing"]


def _asked(root: Path, stored: Path, *command: str) -> subprocess.CompletedProcess[str] | None:
    """Run a command of the checkout at `root` itself; nothing where the book does not have what it checks."""
    if not stored.exists():
        return None
    here = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run([sys.executable, "-m", *command], cwd=root, env=here, capture_output=True, text=True)

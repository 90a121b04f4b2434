"""The build's command line, as the Makefile calls it.

book [--profile smoke]    execute what changed, write and check the pages
publish                   execute nothing, refuse anything stale or edited, ready the pages for a web host
archive                   publish, and pack pages, sources and their hashes into one zip
neurolibre                publish, and lay the project out as NeuroLibre wants a repository
pdf                       print the pages that were built last into one PDF
address URL               write the repository's address wherever it belongs
"""

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline import BuildError, archive, keys, neurolibre, notebooks, pages, pdf
from pipeline.address import write_address
from pipeline.execute import execute_changed, recorded, stale
from pipeline.processes import contain

PUBLISHED = {"profile": "laptop"}  # the parameters of every published chapter


@contextmanager
def alone() -> Iterator[None]:
    """Build while no other build does so in this checkout; the system frees the lock however a build ends.

    Raises:
        BuildError: another one is at work.
    """
    pages.BUILD.mkdir(exist_ok=True)
    with (pages.BUILD / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise BuildError(f"another build is at work here, process {lock.read()}; wait for it") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def book(profile: str) -> str:
    """Execute and write; returns the last line to print."""
    start = time.perf_counter()
    execute_changed({"profile": profile})
    pages.write(strict=False)
    return f"make book: done in {time.perf_counter() - start:.0f} s; open {pages.HTML / 'index.html'}"


def publish() -> str:
    """Write the pages from what was executed; returns the last line to print.

    Raises:
        BuildError: an executed chapter is older than its code, the module, the libraries or the data that it read, is
            of another profile than the published, or was edited; or a page was edited, or has a fault.
    """
    notebooks.check()
    found = []
    for notebook in notebooks.chapters():
        if why := stale(notebook, PUBLISHED) or keys.unpinned(recorded(notebook)["key"]):
            found.append(f"{notebooks.name(notebook)} is stale: {', '.join(why[:3])}")
    if found := found or pages.edited():
        more = [f"... and {len(found) - 20} more"] if found[20:] else []
        raise BuildError("\n".join([*found[:20], *more, "nothing is published; `make book` makes anew what is wrong"]))
    pages.write(strict=True)
    pages.verify()
    (pages.HTML / ".nojekyll").touch()  # GitHub Pages would drop folders that begin with an underscore
    return f"make publish: every key holds; {pages.HTML} is ready for a web host"


def packed() -> str:
    """Publish and pack; returns the last line to print."""
    publish()
    file = archive.write()
    return f"make archive: {file} ({file.stat().st_size / 1e6:.0f} MB) opens by its {archive.START}"


def laid_out() -> str:
    """Publish and lay out; returns the last line to print."""
    publish()
    folder = neurolibre.write()
    unnamed = neurolibre.NOWHERE in (folder / "paper.md").read_text(encoding="utf-8")
    name = "; name authors and affiliations in CITATION.cff before you submit it" if unnamed else ""
    return f"make neurolibre: {folder} is a repository as NeuroLibre asks for it{name}"


def printed() -> str:
    """Print the pages; returns the last line to print."""
    file = pdf.write()
    return f"make pdf: {file} ({file.stat().st_size / 1e6:.0f} MB)" if file else f"make pdf: skipped: {pdf.NEEDS}"


def main() -> int:
    """Run one command; a fault is shown as it reads, with exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("book").add_argument("--profile", choices=["laptop", "smoke"], default="laptop")
    for name in ("publish", "archive", "neurolibre", "pdf"):
        commands.add_parser(name)
    commands.add_parser("address").add_argument("url")
    given = parser.parse_args()
    try:
        if given.command == "address":
            last = write_address(given.url)
        else:
            contain(given.command)
            with alone():
                others = {"publish": publish, "archive": packed, "neurolibre": laid_out, "pdf": printed}
                last = book(given.profile) if given.command == "book" else others[given.command]()
    except BuildError as error:
        print(f"{error}\nmake {given.command}: FAILED", file=sys.stderr)
        return 1
    print(last)
    return 0


if __name__ == "__main__":
    sys.exit(main())

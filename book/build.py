"""The build's command line, as the Makefile calls it.

book [--profile smoke]    execute what changed, write and check the pages
publish                   execute nothing, refuse anything stale, ready the pages for a web host
address URL               write the repository's address wherever it belongs
"""

import argparse
import sys
import time

from pipeline import BuildError, pages
from pipeline.address import write_address
from pipeline.execute import chapters, execute_changed, stale


def book(profile: str) -> str:
    """Execute and write; returns the last line to print."""
    start = time.perf_counter()
    execute_changed({"profile": profile})
    pages.write()
    return f"make book: done in {time.perf_counter() - start:.0f} s; open {pages.HTML / 'index.html'}"


def publish() -> str:
    """Write the pages from what was executed; returns the last line to print.

    Raises:
        BuildError: an executed chapter is older than its code, the module or the data that it read.
    """
    reasons = {notebook.name: why for notebook in chapters() if (why := stale(notebook))}
    if reasons:
        old = [f"{name} is stale: {', '.join(why[:3])}" for name, why in reasons.items()]
        raise BuildError("\n".join([*old, "nothing is published; `make book` executes what changed"]))
    pages.write()
    (pages.HTML / ".nojekyll").touch()  # GitHub Pages would drop folders that begin with an underscore
    return f"make publish: every key holds; {pages.HTML} is ready for a web host"


def main() -> int:
    """Run one command; a fault is shown as it reads, with exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("book").add_argument("--profile", choices=["laptop", "smoke"], default="laptop")
    commands.add_parser("publish")
    commands.add_parser("address").add_argument("url")
    given = parser.parse_args()
    try:
        if given.command == "book":
            last = book(given.profile)
        elif given.command == "publish":
            last = publish()
        else:
            last = write_address(given.url)
    except BuildError as error:
        print(f"{error}\nmake {given.command}: FAILED", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"make {given.command}: stopped; finished chapters are kept", file=sys.stderr)
        return 130
    print(last)
    return 0


if __name__ == "__main__":
    sys.exit(main())

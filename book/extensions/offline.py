"""Mathematics that a reader sees without a network, with the macros of the book's own notation table.

MathJax comes from the package sphinx-mathjax-offline; of its 30 MB the book needs one file, with every TeX extension
and SVG output inside, so that no font or extension is fetched. Without the package MathJax comes from its usual
address (and the build's check of the pages refuses that).
"""

import csv
import importlib.util
import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

SCRIPT = "tex-svg-full.js"


def bundled() -> Path | None:
    """The MathJax script of the installed package, or None."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    return Path(spec.origin).parent / "static" / "mathjax" / SCRIPT if spec and spec.origin else None


def macros(table: Path) -> dict[str, str | list]:
    r"""MathJax macros from the columns `macro` and `latex` (between dollars); `#1`, `#2` in it are arguments."""
    found = {}
    with table.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            latex = row["latex"].strip().strip("$")
            arguments = max(map(int, re.findall(r"#(\d)", latex)), default=0)
            if name := row["macro"].strip().lstrip("\\"):
                found[name] = [latex, arguments] if arguments else latex
    return found


def configure(app: Sphinx, config: Config) -> None:
    """Point Sphinx at the local script and hand it the macros, keeping what MyST configured."""
    if bundled():
        config.mathjax_path = f"mathjax/{SCRIPT}"
    table = Path(app.srcdir) / "book" / "notation.csv"
    if table.exists():
        config.mathjax3_config = config.mathjax3_config or {}
        config.mathjax3_config.setdefault("tex", {}).setdefault("macros", {}).update(macros(table))


def copy(app: Sphinx, error: Exception | None) -> None:
    """Put the script beside the pages once they are written (Jupyter Book would add a source file to each page)."""
    script = bundled()
    if error is None and script:
        folder = Path(app.outdir) / "_static" / "mathjax"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(script, folder)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("config-inited", configure, priority=900)  # after MyST and Jupyter Book
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

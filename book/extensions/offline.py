"""Mathematics and a search that work from a disk, without a network, with the macros of the book's notation table.

MathJax comes from the package sphinx-mathjax-offline; of its 30 MB the book needs one file, with every TeX extension
and SVG output inside, so that no font or extension is fetched. Without the package MathJax comes from its usual
address (and the build's check of the pages refuses that). Its menu is off: it would make every formula a stop of the
Tab key, hundreds on a page.

Sphinx's search fetches a page to quote from it, which a browser refuses to do from a disk. There the words come from
`excerpts.js`, which holds the words of all pages, section by section.
"""

import csv
import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

SCRIPT = "tex-svg-full.js"
EXCERPTS = "excerpts.js"
#: Answers what the search asks for with a page made of the words that were kept.
ANSWER = """
if (location.protocol === "file:") {
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  window.fetch = (address) => {
    const root = document.documentElement.dataset.content_root;
    const page = String(address).slice(root.length).replace(/\\.html$/, "");
    const sections = (EXCERPTS[page] || []).map(([id, text]) => `<section id="${id}">${escaped(text)}</section>`);
    return Promise.resolve(new Response(`<div role="main">${sections.join(" ")}</div>`));
  };
}
"""
#: What TeX wants and a reader does not: of "\\operatorname{sign}(v)\\,\\theta" remains "sign(v)theta".
_TEX = re.compile(r"\\(?:operatorname|math\w+|text|[bB]igg?[lr]?|left|right|quad|[,;!])\s*|[{}\\]")
_UNSAID = (nodes.literal_block, nodes.math_block, nodes.raw, nodes.image, nodes.comment, nodes.section)


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
    config.mathjax3_config = config.mathjax3_config or {}
    config.mathjax3_config.setdefault("options", {})["enableMenu"] = False
    table = Path(app.srcdir) / "book" / "notation.csv"
    if table.exists():
        config.mathjax3_config.setdefault("tex", {}).setdefault("macros", {}).update(macros(table))


def words(node: nodes.Node) -> str:
    """The text of a section without its sections, its code and its displayed formulas; others as they are spoken."""
    if isinstance(node, nodes.Text):
        return node.astext()
    if isinstance(node, nodes.math):
        return _TEX.sub("", node.astext())
    inside = [words(child) for child in node.children if not isinstance(child, _UNSAID)]
    return ("" if isinstance(node, nodes.TextElement) else " ").join(inside)


def passages(page: nodes.document) -> Iterator[tuple[str, nodes.Element]]:
    """Id and node of all that the search finds on a page: sections, terms, documented names, places of the index."""
    for part in page.findall(nodes.section):
        yield part["ids"][0], part
    for part in page.findall(nodes.Element):
        if isinstance(part, nodes.term | addnodes.desc_signature | nodes.paragraph):
            for name in part["ids"]:
                yield name, part if isinstance(part, nodes.paragraph) else part.parent


def excerpts(env: BuildEnvironment) -> dict[str, list[tuple[str, str]]]:
    """For each page the id and the words of what can be found there."""
    return {
        page: [(name, " ".join(words(part).split())) for name, part in passages(env.get_doctree(page))]
        for page in sorted(env.found_docs)
    }


def scripts(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Leave out the script of a service that this book does not use, and give the search page its excerpts."""
    unused = lambda script: "thebe" in f"{script.filename}{script.attributes.get('body')}".lower()  # noqa: E731
    context["script_files"][:] = [script for script in context["script_files"] if not unused(script)]
    if page == "search":
        folder = Path(app.outdir) / "_static"
        folder.mkdir(parents=True, exist_ok=True)
        kept = json.dumps(excerpts(app.env), ensure_ascii=False, separators=(",", ":"))
        (folder / EXCERPTS).write_text(f"const EXCERPTS = {kept};\n{ANSWER}", encoding="utf-8")
        app.add_js_file(EXCERPTS)


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
    app.connect("html-page-context", scripts, priority=900)  # after those who add scripts
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

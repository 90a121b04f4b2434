"""Sphinx extension: the index tells in which chapters a word of the glossary stands, and leads to its first place.

The glossary itself is plain Markdown; each of its terms is a line that the next one explains. A chapter need not mark
anything: the first paragraph with the term, in the singular or the plural, is its place.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

GLOSSARY = Path("book") / "glossary.md"
_TERM = re.compile(r"^(\w.*)\n  (?=\S)", re.MULTILINE)
_SILENT = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.raw, nodes.title, addnodes.index)


def terms(text: str) -> list[str]:
    """The terms that a glossary explains."""
    return _TERM.findall(text)


def pattern(term: str) -> re.Pattern[str]:
    """Finds a term in running text, whatever its capitals; where a line broke, a space is not a space."""
    words = r"[\s-]+".join(re.escape(word) for word in term.split())
    return re.compile(rf"\b{words}(?:s|es)?\b", re.IGNORECASE)


def places(document: nodes.document, known: list[str]) -> dict[str, nodes.paragraph]:
    """The first paragraph of a page for each term that it uses."""
    found: dict[str, nodes.paragraph] = {}
    patterns = {term: pattern(term) for term in known}
    for paragraph in document.findall(nodes.paragraph):
        said = " ".join(part.astext() for part in paragraph.children if not isinstance(part, _SILENT))
        for term in [term for term in patterns if term not in found and patterns[term].search(said)]:
            found[term] = paragraph
    return found


class Terms(SphinxTransform):
    """Add the entries of the index before Sphinx collects them."""

    default_priority = 840  # Sphinx's domains look at 850

    def apply(self) -> None:
        """Mark the paragraphs of a chapter."""
        glossary = Path(self.app.srcdir) / GLOSSARY
        docname = self.env.docname
        if not (glossary.exists() and docname.startswith("notebooks/")):
            return
        number = re.match(r"notebooks/(\d\d)_", docname)
        heading = self.document.next_node(nodes.title)
        where = f"chapter {number[1]}" if number else heading.astext() if heading else docname
        for term, paragraph in places(self.document, terms(glossary.read_text(encoding="utf-8"))).items():
            name = nodes.make_id(f"term-{term}")
            paragraph["ids"].append(name)
            entry = addnodes.index(entries=[("single", f"{term}; {where}", name, "", None)])
            paragraph.parent.insert(paragraph.parent.index(paragraph), entry)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_transform(Terms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

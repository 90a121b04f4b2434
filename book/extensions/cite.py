"""Sphinx extension: how to cite the book and its paper, as BibTeX made from CITATION.cff.

`` ```{cite-this} ``` `` in a page becomes an entry for each. Nothing is typed twice: the file that archives and GitHub
read is the one that is asked.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FILE = "CITATION.cff"
#: What BibTeX calls a work, and where in it CITATION.cff's title of a collection goes.
KINDS = {"conference-paper": ("inproceedings", "booktitle"), "article": ("article", "journal")}
_SPECIAL = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}"} | {letter: f"\\{letter}" for letter in "&%$#_"}


def bibtex(work: dict[str, Any]) -> str:
    """A work as CITATION.cff has it, the whole file or one of its references, as an entry of BibTeX.

    Raises:
        KeyError: a work without title or authors.
    """
    kind, collection = KINDS.get(work["type"], ("misc", "howpublished"))
    kind = "software" if work["type"] == "software" else kind
    fields = {
        "title": f"{{{escaped(work['title'])}}}",
        "author": " and ".join(name(author) for author in work["authors"]),
        collection: escaped(work.get("collection-title", "")),
        "publisher": escaped(work.get("publisher", {}).get("name", "")),
        "year": year(work),
        "version": escaped(str(work.get("version", ""))),
        "doi": work.get("doi", ""),
        "url": work.get("repository-code", work.get("url", "")),
        **_eprint(work),
    }
    lines = [f"  {field} = {{{value}}}" for field, value in fields.items() if value]
    return f"@{kind}{{{key(work)},\n" + ",\n".join(lines) + "\n}\n"


def escaped(text: str) -> str:
    """Text with what TeX would take for commands made letters."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def name(author: dict[str, str]) -> str:
    """An author, a person or a group, whose name BibTeX must not take apart."""
    if "name" in author:
        return f"{{{escaped(author['name'])}}}"
    return escaped(", ".join(filter(None, [author["family-names"], author.get("given-names", "")])))


def year(work: dict[str, Any]) -> str:
    """The year of a work, of its release where it has one; empty where neither is known."""
    return str(work.get("year") or str(work.get("date-released", ""))[:4])


def key(work: dict[str, Any]) -> str:
    """A key for the entry: the first author's name or the title's first word, and the year."""
    first = work["authors"][0]
    return re.sub(r"[^a-z0-9]", "", (first.get("family-names") or work["title"].split()[0]).lower()) + year(work)


def _eprint(work: dict[str, Any]) -> dict[str, str]:
    """The number of a preprint, if the work has one."""
    for identifier in work.get("identifiers", []):
        if identifier["value"].startswith("arXiv:"):
            return {"eprint": identifier["value"].removeprefix("arXiv:"), "archiveprefix": "arXiv"}
    return {}


class CiteThis(SphinxDirective):
    """The directive."""

    def run(self) -> list[nodes.Node]:
        """Return an entry for the book and one for each work that it rebuilds, to be copied."""
        path = Path(self.env.srcdir) / FILE
        self.env.note_dependency(str(path))
        whole = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = [bibtex(work) for work in (whole, *whole.get("references", []))]
        return [nodes.literal_block(entry, entry, language="bibtex") for entry in entries]


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.add_directive("cite-this", CiteThis)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

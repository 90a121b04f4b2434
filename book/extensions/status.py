"""The status page's table: every PSNR cell of the paper's Tables 1 to 4 and what is known about it, as HTML.

`` ```{status} `` in a page becomes the ledger's headline and its cells. The table reads without scripts; ``status.js``,
which only that page loads, makes it sortable. Nothing is typed: `istapp.paper.ledger` is asked at every build.
"""

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from istapp.paper import verdicts

if TYPE_CHECKING:
    from istapp.paper.judgement import Entry

#: Header, and the attribute of an entry whose number the column shows.
NUMBERS = {"printed": "published", "released weights": "released", "laptop edition": "laptop", "our full size": "ours"}
HEADS = ("verdict", "cell", "method", *NUMBERS, "command, or what to bear in mind")


def verdict(entry: "Entry") -> str:
    """Return the verdicts of an entry with their signs, one below the other."""
    return "<br>".join(f"{verdicts.MEANING[word][0]} {escape(word)}" for word in entry.verdicts)


def number(entry: "Entry", name: str) -> str:
    """Return a number of an entry in dB; in place of a missing full-size one, that after a part of the training."""
    value = getattr(entry, name)
    if name == "ours" and value is None and entry.part is not None:
        return f"({entry.part:.2f})"
    return "–" if value is None else f"{value:.2f}"


def remark(entry: "Entry") -> str:
    """Return the command that would make ours, and what to bear in mind."""
    command = f"<code>{escape(entry.command)}</code>" if entry.command.startswith("istapp ") else escape(entry.command)
    return "; ".join(filter(None, [escape(entry.note), command]))


def row(entry: "Entry", place: int) -> str:
    """Return the table row of a cell; `place` is its place in the paper's order, by which the sorting begins."""
    order = min(map(verdicts.VERDICTS.index, entry.verdicts))
    cells: list[tuple[float | str, str, str]] = [(order, "verdict", verdict(entry))]
    cells += [(place, "cell", escape(entry.where)), ("", "method", escape(entry.what))]
    for label, name in NUMBERS.items():
        value = getattr(entry, name) if name != "ours" or entry.ours is not None else entry.part
        cells.append(("" if value is None else value, label, number(entry, name)))
    cells.append(("", HEADS[-1], remark(entry)))
    return f"<tr>{''.join(cell(*each) for each in cells)}</tr>"


def cell(key: float | str, label: str, text: str) -> str:
    """Return a cell of the table with what it is sorted by, if that is not its text, and its column for telephones."""
    missing = ' class="none"' * (text in ("", "–"))
    return f'<td{missing} data-label="{label}"' + (f' data-key="{key}"' if key != "" else "") + f">{text}</td>"


def table(found: Iterable["Entry"]) -> str:
    """Return the table of all PSNR cells among entries, by verdict, and then in the paper's order."""
    cells = enumerate(entry for entry in found if entry.kind == "cell")
    known = sorted(cells, key=lambda each: min(map(verdicts.VERDICTS.index, each[1].verdicts)))
    rows = "".join(row(entry, place) for place, entry in known)
    head = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    return (
        '<div class="status full-width"><table id="status">'
        "<caption>PSNR in dB; in brackets after a part of the training</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


class Status(SphinxDirective):
    """The directive."""

    def run(self) -> list[nodes.Node]:
        """Return the headline as a paragraph and the table as it is."""
        from istapp.paper import ledger  # brings torch along, which a book without this page need not wait for

        found = ledger.entries()
        return [nodes.paragraph("", ledger.headline(found)), nodes.raw("", table(found), format="html")]


def script(app: Sphinx, page: str, *_: object) -> None:
    """Load the script that sorts on the page that has the table, and on no other."""
    if page == "book/status":
        app.add_js_file("status.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.add_directive("status", Status)
    app.connect("html-page-context", script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

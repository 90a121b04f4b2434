"""Tables of the book: narrow enough for a telephone, the best of a column marked, and honest about what is missing."""

import html
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

#: Marks the best number of a column, beside bold print, so that it is seen without colours and heard when read aloud.
BEST = "★"

_STYLE = """
#ID {border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.4rem 0; line-height: 1.25}
#ID caption {caption-side: top; text-align: left; font-weight: 600; padding: 0.2rem 0}
#ID th, #ID td {padding: 0.2rem 0.35rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap}
#ID th:first-child, #ID td:first-child {text-align: left; white-space: normal}
#ID .missing {white-space: normal; font-size: 0.75em; text-align: right}
#ID th button {all: unset; cursor: pointer; text-decoration: underline dotted; font-weight: 600}
#ID th button:focus-visible {outline: 2px solid}
"""

# Headers become buttons only where the script runs: nothing looks clickable that is not.
_SCRIPT = """
(() => {const t = document.getElementById("ID"), body = t.tBodies[0];
t.querySelectorAll("thead th").forEach((th, i) => {const b = document.createElement("button");
b.type = "button"; b.textContent = th.textContent; b.title = "sort by this column"; let up = i === 0;
th.replaceChildren(b); b.onclick = () => {const key = r => {const c = r.cells[i] || r.cells[r.cells.length - 1];
return c.dataset.value === undefined ? null : i ? +c.dataset.value : c.dataset.value;};
const rows = [...body.rows].sort((a, b) => {const x = key(a), y = key(b);
if (x === null || y === null) return (x === null) - (y === null);
return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);}); up = !up; body.append(...rows);};});})();
"""


class Table:
    """Rows of numbers under a caption, as HTML that can be sorted, and as text.

    A row is a name and one value for each further column: a number, a text, or None where nothing can be there. A row
    whose only value is a text spans all columns.
    """

    def __init__(
        self, caption: str, columns: Sequence[str], rows: Mapping[str, Sequence[Any]], digits: int = 2,
        best: str = "", note: str = "", sign: bool = False,
    ) -> None:  # fmt: skip
        """Keep what is shown.

        Args:
            caption: what the table shows, and of which images.
            columns: headers, that of the names first.
            rows: values by name.
            digits: after the decimal point.
            best: ``max`` or ``min`` to mark the best number of each column that has two or more, empty for none.
            note: a line below; where the numbers come from is said without it, see `istapp.figures.origin`.
            sign: whether positive numbers carry a plus.
        """
        self.caption, self.columns, self.rows, self.note = caption, list(columns), dict(rows), note
        self.digits, self.sign = digits, "+" if sign else ""
        self._best = {"max": max, "min": min}.get(best)

    def text(self, value: Any, column: int = 0) -> str:
        """Return a value as it is shown in a column (1, 2, ...)."""
        if value is None:
            return "–"
        if isinstance(value, str):
            return value
        shown = f"{value:{self.sign}.{self.digits}f}".replace("-", "−")
        return f"{shown} {BEST}" if self._best and shown == self._shown_best(column) else shown

    def _shown_best(self, column: int) -> str:
        numbers = [row[column - 1] for row in self.rows.values() if len(row) >= column]
        numbers = [n for n in numbers if n is not None and not isinstance(n, str)]
        if self._best is None or len(numbers) < 2:  # who stands alone is not the best of anything
            return ""
        return f"{self._best(numbers):{self.sign}.{self.digits}f}".replace("-", "−")

    def _row(self, name: str, values: Sequence[Any]) -> str:
        cells = [f'<td data-value="{html.escape(name)}">{html.escape(name)}</td>']
        if len(values) < len(self.columns) - 1:
            wide = f'<td class="missing" colspan="{len(self.columns) - 1}">{html.escape(values[0])}</td>'
            return f"<tr>{cells[0]}{wide}</tr>"
        for column, value in enumerate(values, 1):
            shown = html.escape(self.text(value, column))
            if value is None or isinstance(value, str):
                cells.append(f'<td class="missing">{shown}</td>')
                continue
            # The mark has its place in every cell, so that points stay below points.
            marked = self._best is not None
            space = f'<span aria-hidden="true" style="visibility:hidden"> {BEST}</span>' if marked else ""
            shown = f"<b>{shown}</b>" if shown.endswith(BEST) else shown + space
            cells.append(f'<td data-value="{value:.6g}">{shown}</td>')
        return f"<tr>{''.join(cells)}</tr>"

    def _repr_html_(self) -> str:
        name = "t" + sha256(repr((self.caption, self.columns, self.rows)).encode()).hexdigest()[:8]
        head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in self.columns)
        body = "".join(self._row(key, values) for key, values in self.rows.items())
        note = f'<p style="font-size: 0.8em">{html.escape(self.note)}</p>' if self.note else ""
        return (
            f"<style>{_STYLE.replace('ID', name)}</style>"
            f'<div style="overflow-x: auto"><table id="{name}"><caption>{html.escape(self.caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
            f"<script>{_SCRIPT.replace('ID', name)}</script>"
        )

    def __repr__(self) -> str:
        lines = [self.columns]
        lines += [[key, *(self.text(v, i) for i, v in enumerate(row, 1))] for key, row in self.rows.items()]
        full = [line for line in lines if len(line) == len(self.columns)]
        widths = [max(len(line[i]) for line in full) for i in range(len(self.columns))]
        padded = [
            "  ".join(f"{cell:{'>' if i else '<'}{width}}" for i, (cell, width) in enumerate(zip(line, widths)))
            for line in lines
        ]
        return "\n".join([self.caption, *padded, *([self.note] if self.note else [])])

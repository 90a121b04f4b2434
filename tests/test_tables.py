"""Tables of the book: the best marked, the missing said, nothing clickable without a script."""

import re
from html.parser import HTMLParser

from istapp.figures.tables import BEST, Table

ROWS = {"a <b>": (1.234, 5.0), "c": (1.2361, None), "d": ("not yet run", 7.0), "e": ("not yet run: istapp x",)}


class Counter(HTMLParser):
    """Counts opening and closing tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.open[tag] = self.open.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        self.open[tag] -= 1


def test_a_number_alone_in_its_column_is_not_its_best() -> None:
    alone = Table("A caption", ["name", "x", "y"], {"a": (1.0, 2.0), "b": ("not yet run", 3.0)}, best="max")
    assert repr(alone).count(BEST) == alone._repr_html_().count(f"<b>3.00 {BEST}</b>") == 1


def test_the_best_of_each_column_is_marked_in_text_and_in_html() -> None:
    table = Table("A caption", ["name", "x", "y"], ROWS, best="max")
    assert [line for line in repr(table).splitlines() if BEST in line][0].startswith("c") and repr(table).count(
        BEST
    ) == 2
    assert len(re.findall(rf"<b>[\d.]+ {BEST}</b>", table._repr_html_())) == 2
    assert BEST not in repr(Table("A caption", ["name", "x", "y"], ROWS))
    assert f"5.00 {BEST}" in repr(Table("A caption", ["name", "x", "y"], ROWS, best="min"))


def test_equal_as_printed_is_equally_good() -> None:
    table = Table("Two", ["name", "x"], {"a": (1.001,), "b": (1.002,)}, best="max")
    assert repr(table).count(BEST) == 2


def test_html_is_closed_escaped_and_needs_no_address() -> None:
    text = Table("A caption", ["name", "x", "y"], ROWS, best="max", note="from & to")._repr_html_()
    assert not any(Counter(text).open.values())
    assert "a &lt;b&gt;" in text and "from &amp; to" in text and "http" not in text
    assert "<button" not in text, "headers turn into buttons by the script alone"
    assert (
        'colspan="2"' in text
        and text == Table("A caption", ["name", "x", "y"], ROWS, best="max", note="from & to")._repr_html_()
    )


def test_signs_and_gaps() -> None:
    shown = repr(Table("Differences", ["name", "x", "y"], {"a": (0.5, -0.25), "b": (None, "no")}, sign=True))
    assert "+0.50" in shown and "−0.25" in shown and "–" in shown and "no" in shown

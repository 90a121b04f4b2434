"""The status page: every cell of the tables once, what is known of it, and a script that only this page loads."""

import re
from html import unescape

import pytest
from conftest import ROOT
from test_results import whole

from istapp.paper import ledger, results, verdicts

status = pytest.importorskip("extensions.status")


@pytest.fixture(scope="module")
def found() -> list:
    """A ledger of some rows of each kind."""
    rows = whole(28.4, run=results.RELEASED) + whole(26.04, run="ista-net-pp-laptop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "trained", lambda run: 1 / 140)
        return ledger.judge(rows + whole(27.1) + whole(32.33, ratio=20.0))


def rows_of(page: str) -> list[list[str]]:
    body = page.partition("<tbody>")[2]
    cells = (re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body))
    return [[unescape(re.sub("<br>", "; ", re.sub("</?code>", "", cell))) for cell in row] for row in cells]


def test_every_cell_stands_there_once_verdict_first(found):
    rows = rows_of(status.table(found))
    cells = [entry for entry in found if entry.kind == "cell"]
    assert sorted((row[1], row[2], row[3]) for row in rows) == sorted(
        (entry.where, entry.what, f"{entry.published:.2f}") for entry in cells
    )
    assert all(len(row) == len(status.HEADS) and row[0][0] in "✓✗▲◐○…–" for row in rows)
    assert rows[0][0] == "✓ reproduced"


def test_a_row_has_every_witness_the_command_and_the_share(found):
    rows = {(row[1], row[2]): row for row in rows_of(status.table(found))}
    own = rows["Table 1, Set11 10 %", "ISTA-Net++"]
    assert own[:1] + own[3:7] == ["✓ reproduced", "28.34", "28.40", "26.04", "(27.10)"]
    said, share, command = own[7].split("; ")
    assert (said, share) == ("trained on Train400", "ista-net-pp-main: 1/140 of its training")
    assert command == "istapp train ista-net-pp-main --pixels 35e9"  # by itself it would say that it is done
    assert rows["Table 1, Set11 20 %", "ISTA-Net++"][0] == "✓ replicated"  # after a part of its training
    waits = rows["Table 1, Set11 30 %", "ISTA-Net++"]
    assert waits[0] == "… not run yet" and waits[4:] == ["–", "–", "–", command]


def test_the_words_of_the_page_are_those_of_the_verdicts():
    page = " ".join((ROOT / "book" / "status.md").read_text(encoding="utf-8").split())
    told = {(sign, word) for sign, word in re.findall(r"([✓✗▲◐○…–]) \*\*([a-z ]+)\*\*", page)}
    cells = set(verdicts.VERDICTS) - {
        verdicts.COUNTED, verdicts.COUNTED_OTHERWISE, verdicts.ADDS_UP, verdicts.DOES_NOT_ADD_UP
    }  # fmt: skip
    assert told == {(verdicts.MEANING[word][0], word) for word in cells}

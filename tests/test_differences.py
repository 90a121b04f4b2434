"""Two networks against each other: the same rows, intervals and words in every chapter."""

import pytest

from istapp.figures import differences
from istapp.paper import results
from istapp.paper.results import Difference

WORDS = [((0.1, 0.3), "better"), ((-0.3, -0.1), "worse"), ((-0.1, 0.3), "not resolved at this size")]


@pytest.mark.parametrize(("ends", "word"), WORDS)
def test_the_word_follows_from_the_interval(ends: tuple[float, float], word: str) -> None:
    difference = Difference(sum(ends) / 2, *ends, images=11)
    assert differences.word(difference) == word
    assert differences.said(difference).endswith(f"[{ends[0]:+.2f}, {ends[1]:+.2f}], {word}")


def test_runs_are_compared_on_the_rows_of_one_matrix() -> None:
    rows = results.load()
    one, other = "ista-net-pp-laptop-table4-e", "ista-net-pp-laptop-fig4-k3-c16"
    found = differences.compared(rows, one, other, "Set11", 10)
    assert found and found.images == 11 and found.mean > 0
    assert {row["seed"] for row in differences.rows_of(rows, one, "Set11", 10)} == {"0"}
    assert differences.compared(rows, one, "never-run", "Set11") is None

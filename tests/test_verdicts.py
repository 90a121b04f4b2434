"""Verdicts: each word means one thing, and is reached by one rule."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from istapp.basics.errors import UserError
from istapp.paper import verdicts
from istapp.paper.verdicts import (
    EXCEEDED,
    NOT_REPLICATED,
    NOT_REPRODUCED,
    PART,
    REPLICATED,
    REPRODUCED,
    replication,
    reproduction,
)

DB = st.floats(10, 50)


@given(DB, st.floats(-5, 5), st.none() | st.floats(0, 2))
def test_a_run_replicates_exceeds_or_does_not(published, gap, spread):
    tolerance = max(0.1, 2 * (spread or 0))
    assume(abs(abs(gap) - tolerance) > 1e-6)
    expected = REPLICATED if abs(gap) < tolerance else EXCEEDED if gap > 0 else NOT_REPLICATED
    assert replication(published, published + gap, spread) == expected
    assert verdicts.tolerance(spread) == tolerance


@given(DB, st.floats(-5, 5), st.none() | st.floats(0, 2))
def test_a_part_of_a_training_can_only_speak_for_a_number(published, gap, spread):
    whole, part = (replication(published, published + gap, spread, own) for own in (True, False))
    assert part == (PART if whole == NOT_REPLICATED else whole)


@given(DB, st.floats(-5, 5), st.none() | st.floats(0, 2))
def test_released_weights_reproduce_a_number_or_give_another(published, gap, spread):
    ours = replication(published, published + gap, spread)
    assert reproduction(published, published + gap, spread) == (REPRODUCED if ours == REPLICATED else NOT_REPRODUCED)


def test_boundaries_belong_to_the_printed_number():
    assert replication(28.34, 28.44) == replication(28.34, 28.24) == REPLICATED
    assert replication(28.34, 28.4401) == EXCEEDED and replication(28.34, 28.2399) == NOT_REPLICATED
    assert replication(28.34, 28.74, 0.2) == REPLICATED and replication(28.34, 28.75, 0.2) == EXCEEDED
    assert reproduction(28.34, 28.44) == REPRODUCED and reproduction(28.34, 28.4401) == NOT_REPRODUCED


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nothing_is_judged_by_what_is_not_finite(bad):
    for judge in (replication, reproduction):
        for measured, spread in ((bad, None), (30.0, bad)):
            with pytest.raises(UserError):
                judge(30.0, measured, spread)


def test_every_word_is_explained_once():
    words = {value for name, value in vars(verdicts).items() if name.isupper() and isinstance(value, str)}
    assert words == set(verdicts.VERDICTS) and {*verdicts.AGAINST, *verdicts.OPEN} < words
    assert len({text for _, text in verdicts.MEANING.values()}) == len(words)

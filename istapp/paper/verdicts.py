"""What can be said of a printed number: words that mean one thing each, and the rules that reach them.

Two witnesses can speak. The **authors' released weights**, run by our evaluation, *reproduce* a number or do not. **Our
own run** (a training at the paper's size, or a method that needs none) *replicates* or *exceeds* it or does not. What
needs no run is *counted*, or *adds up*. The rest is no verdict: a smaller network or a shorter training stands beside,
something is not run yet, or nobody can measure it.
"""

import math

from istapp.basics.errors import UserError

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
REPLICATED, EXCEEDED, NOT_REPLICATED = "replicated", "exceeded", "not replicated"
COUNTED, COUNTED_OTHERWISE = "counted", "counted otherwise"
ADDS_UP, DOES_NOT_ADD_UP = "adds up", "does not add up"
PART, LAPTOP = "part of its training beside", "laptop edition beside"
NOT_RUN, NOT_MEASURABLE = "not run yet", "not measurable"

#: What each word means, and a sign for the eye.
MEANING = {
    REPRODUCED: ("✓", "the authors' released weights give it in our evaluation"),
    NOT_REPRODUCED: ("✗", "the authors' released weights give another number in our evaluation"),
    REPLICATED: ("✓", "our own run at the paper's size gives it"),
    EXCEEDED: ("▲", "our own run at the paper's size gives more"),
    NOT_REPLICATED: ("✗", "our own run at the paper's size, its training whole, gives less"),
    COUNTED: ("✓", "counted in the built network or in the registered images"),
    COUNTED_OTHERWISE: ("✗", "the built network has another count"),
    ADDS_UP: ("✓", "the paper's other numbers give it"),
    DOES_NOT_ADD_UP: ("✗", "the paper's other numbers give another"),
    PART: ("◐", "a network of the paper's size, after a part of its training, stands beside and decides nothing"),
    LAPTOP: ("○", "a smaller network, or a stand-in, stands beside and decides nothing"),
    NOT_RUN: ("…", "nothing has been run; the command is told"),
    NOT_MEASURABLE: ("–", "nobody can measure it; the reason is told"),
}

#: All of them, in the order of a tally.
VERDICTS = tuple(MEANING)
#: Those that contradict the paper.
AGAINST = (NOT_REPRODUCED, NOT_REPLICATED, COUNTED_OTHERWISE, DOES_NOT_ADD_UP)
#: Those that wait for a run of our own.
OPEN = (PART, LAPTOP, NOT_RUN)

#: A difference this small is none, in dB, whatever the spread.
TOLERANCE = 0.1


def tolerance(spread: float | None = None) -> float:
    """Return how far from a published number ours may be in dB: 0.1, or two standard deviations if that is more."""
    return max(TOLERANCE, 2 * (spread or 0))


def _beyond(published: float, measured: float, spread: float | None) -> int:
    """Return 0 for the same within the tolerance, else the sign of the difference.

    Raises:
        UserError: what was measured, or its spread, is not finite.
    """
    if not math.isfinite(measured + (spread or 0)):
        raise UserError(f"what is to be judged is {measured}, with a spread of {spread}: a row behind it is damaged")
    d = measured - published
    return 0 if abs(d) <= tolerance(spread) + 1e-9 else 1 if d > 0 else -1


def reproduction(published: float, theirs: float, spread: float | None = None) -> str:
    """Judge a published number by what the authors' released weights give in our evaluation.

    Raises:
        UserError: theirs or its spread is not finite.
    """
    return NOT_REPRODUCED if _beyond(published, theirs, spread) else REPRODUCED


def replication(published: float, ours: float, spread: float | None = None, whole: bool = True) -> str:
    """Judge a published number by our own run at the paper's size.

    A training that is not `whole` can only speak for a number: where it meets or passes print, the rest of the training
    was not needed; where it stays below, nobody knows what the rest would have brought, and it stands beside.

    Raises:
        UserError: ours or its spread is not finite.
    """
    below = NOT_REPLICATED if whole else PART
    return (REPLICATED, EXCEEDED, below)[_beyond(published, ours, spread)]

"""Checks of the exercises of chapter 12: the ledger."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from istapp.exercises.answers import ask, check, number, require


@check("12.1")
def check_12_1(holding: Callable[[Sequence[float], float], int], when: str) -> str:
    """How many cells hold at which tolerance?

    Args:
        holding: maps differences (ours minus published, dB) and a tolerance to the number that hold or exceed.
        when: when a tolerance is to be chosen: "before the numbers are seen" or "after".
    """
    random = np.random.default_rng(0)
    for tolerance in (0.1, 1.0):
        differences = [*random.normal(0, 1, 50), -tolerance / 2, 5.0, -9.0]
        true = sum(d >= -tolerance for d in differences)
        yours = number(ask(holding, differences, tolerance), "the number")
        only_near = sum(abs(d) <= tolerance for d in differences)
        require(yours != only_near, "A number that is better than the published one counts at every tolerance.")
        require(yours == true, f"Of {len(differences)} differences {'more' if true > yours else 'fewer'} hold.")
    require(when == "before the numbers are seen", "The count is right. What could one show by choosing afterwards?")
    return "It counts rightly on random differences, those beyond the published value included."


@check("12.2")
def check_12_2(out_of_line: Callable[[Sequence[float]], int]) -> str:
    """Which increment is out of line?

    Args:
        out_of_line: maps at least five PSNR values to the place, from 0, of the increment that lies farthest below the
            mean of the increments before and after it.
    """
    for place in (1, 2, 3):
        steps = np.array([2.0, 1.8, 1.7, 1.6, 1.5])
        steps[place] = 0.1
        values = 25 + np.concatenate([[0.0], np.cumsum(steps)])
        yours = number(ask(out_of_line, values.tolist()), "the place")
        require(yours != place - 1, "One too early: is the first increment, which has none before it, counted as 0?")
        require(yours == place, f"Among the increments {', '.join(f'{s:.1f}' for s in steps)} yours is another one.")
    slow = 25 + np.concatenate([[0.0], np.cumsum([3.0, 2.0, 0.5, 0.6, 0.3])])
    require(
        number(ask(out_of_line, slow.tolist()), "the place") == 2,
        "The smallest increment is not the question: compare each with the mean of its two neighbours.",
    )
    return "It finds a dip that was planted, wherever it was, and does not mistake the last increment for one."


@check("12.3")
def check_12_3(replicated: Callable[[int], float], reason: str) -> str:
    """How often does (12.2) say "replicated" of an exact repetition?

    Args:
        replicated: maps n, the repetitions from which s is estimated, to that share, for s = 0.2 dB.
        reason: why it is not 95 %: "the difference of two draws spreads more than one" or "0.1 dB is too strict".
    """
    random = np.random.default_rng(12)
    for n in (2, 4, 10):
        published, ours = random.normal(0, 0.2, (2, 100_000))
        spread = random.normal(0, 0.2, (100_000, n)).std(1, ddof=1)
        true = float(np.mean(np.abs(ours - published) <= np.maximum(0.1, 2 * spread)))
        yours = number(ask(replicated, n), "the share")
        require(
            abs(yours - true) < 0.02,
            f"With n = {n} 100,000 trials say {'more' if true > yours else 'less'} often. Both numbers are drawn, and "
            "s comes from n further draws.",
        )
    require(reason.startswith("the difference"), "The shares are right. 2 s are how many deviations of the difference?")
    return "It agrees with 100,000 trials at three n."


@check("12.5")
def check_12_5(order: Callable[[Sequence[Sequence[str]], Mapping[str, float]], Sequence[str]], unweighed: str) -> str:
    """Which run settles most numbers for its time?

    Args:
        order: maps, for each number that waits, the runs that it waits for, and the minutes of each run, to the runs
            that some number waits for, in falling order of numbers per minute.
        unweighed: what this order does not weigh: "what a number means" or "how long a run takes".
    """
    waits = [["big"], ["big"], ["big"], ["big"], ["small"], ["small", "other"], ["other"], ["other"]]
    for minutes, right in (
        ({"big": 40.0, "small": 1.0, "other": 2.0, "idle": 0.1}, ["small", "other", "big"]),
        ({"big": 1.0, "small": 5.0, "other": 2.0, "idle": 0.1}, ["big", "other", "small"]),
    ):
        yours = list(ask(order, waits, minutes))
        require("idle" not in yours, "A run that no number waits for settles nothing, however short it is.")
        require(sorted(yours) == sorted(right), "Each run that a number waits for should be there once.")
        require(yours != right[::-1], "The order is upside down.")
        require(yours == right, f"With {minutes} minutes another order is right. Numbers divided by minutes?")
    require(unweighed == "what a number means", "The order is right. Which of the two is not in it?")
    return "Two small ledgers come out in the right order, and you know what it leaves out."

"""Checks of the exercises of chapter 07: what a table of PSNR says."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from istapp.exercises.answers import ask, check, close, names, number, require
from istapp.paper.printed import TABLE1, Comparison, Numbers


@check("7.1")
def check_7_1(wrong: Callable[[list[Comparison]], Collection[str]], misprints: int) -> str:
    """Do the printed averages hold?

    Args:
        wrong: maps rows of Table 1 to the labels of those with an average that is more than 0.01 off, on either set.
        misprints: how many there are in the paper's table.
    """
    whole = next(i for i, row in enumerate(TABLE1) if row.set11_average is not None and row.bsd68_average is not None)
    label = TABLE1[whole].label
    for column in ("set11_average", "bsd68_average"):
        for off in (0.4, -0.4):
            forged = list(TABLE1)
            forged[whole] = replace(TABLE1[whole], **{column: getattr(TABLE1[whole], column) + off})
            found = names(ask(wrong, forged), "what your function returns")
            require(
                label in found,
                f"With {off:+} dB in the {column.replace('_', ' ')} of {label} your function does not name it. Are "
                "both sets and both signs looked at?",
            )
            require(len(found) == 1, "Your function names a row whose averages hold. How exactly is a mean printed?")
    require(number(misprints, "`misprints`") == len(ask(wrong, list(TABLE1))), "Let your function count in the table.")
    return "Your function finds averages that were forged, on both sets, and none in the paper's table."


@check("7.2")
def check_7_2(pooled: Callable[[np.ndarray], float], equal: str) -> str:
    """The mean of PSNR values and the PSNR of the mean error.

    Args:
        pooled: maps PSNR values in dB to the PSNR of the mean of their squared errors.
        equal: when both agree: "never", "if all errors are equal" or "if there are two images".
    """
    errors = 10.0 ** -np.random.default_rng(0).uniform(2, 4, 9)
    values = -10 * np.log10(errors)
    require(
        close(number(ask(pooled, np.full(4, 31.5)), "the pooled PSNR"), 31.5),
        "Of equal values it should be that value.",
    )
    yours = number(ask(pooled, values), "the pooled PSNR")
    require(not close(yours, values.mean()), "That is the mean of the decibels. The errors are to be averaged.")
    require(yours <= values.mean(), "Yours lies above the mean of PSNR. Jensen says that it cannot.")
    require(close(yours, -10 * np.log10(errors.mean())), "Yours is not the PSNR of the mean of nine errors.")
    require(equal == "if all errors are equal", "The function is right. When is Jensen's inequality an equality?")
    return "Nine errors drawn at random and four equal ones agree."


@check("7.3")
def check_7_3(paired: Callable[..., float], unpaired: Callable[..., float]) -> str:
    """How many images does an interval of a given half width need?

    Args:
        paired: maps the PSNR of two methods on the same images, and the half width in dB, to a number of images.
        unpaired: the same if the two methods were measured on different images.
    """
    random = np.random.default_rng(3)
    scene = random.normal(30, 3, 4000)
    one, two = scene + random.normal(0.5, 0.3, 4000), scene + random.normal(0, 0.4, 4000)
    for name, function, spread in (("in pairs", paired, (one - two).std()), ("apart", unpaired, 0.0)):
        spread = spread or (one.var() + two.var()) ** 0.5
        needed = number(ask(function, one, two, 0.1), "the number of images")
        half = 1.96 * spread / needed**0.5
        require(
            abs(half - 0.1) < 0.003,
            f"With so many images, measured {name}, the interval would be +-{half:.3f} dB instead of 0.1. Which "
            "deviation is it, and does the root of the number come in?",
        )
        require(
            abs(number(ask(function, one, two, 0.05), "the number") / needed - 4) < 0.05,
            f"Measured {name}, half the width should take four times as many images.",
        )
    return "Both give the half width that was asked for. Pairs need far fewer images, as the scene drops out."


@check("7.4")
def check_7_4(rank_correlation: Callable[[Sequence[float], Sequence[float]], float], moved: Collection[str]) -> str:
    """Do two sets rank methods alike?

    Args:
        rank_correlation: Spearman's, of two lists without ties.
        moved: labels of the methods whose ranks on BSD68 and Set11, as printed at 10 %, are two or more apart.
    """
    given = np.array([3.0, 1.0, 4.0, 1.5, 9.0])
    require(close(ask(rank_correlation, given, given), 1), "A list and itself have the rank correlation 1.")
    require(close(ask(rank_correlation, given, -given), -1), "A list and its negative have the rank correlation -1.")
    one, two = np.random.default_rng(1).normal(size=(2, 12))
    plain = number(ask(rank_correlation, one, two), "the correlation")
    require(
        close(plain, ask(rank_correlation, np.exp(3 * one), two)),
        "Stretching the values without changing their order changes your number. Only ranks should count.",
    )
    ranks = [np.argsort(np.argsort(v)) for v in (one, two)]
    require(
        close(plain, np.asarray(np.corrcoef(ranks))[0, 1]),
        "Only the order counts in yours, but it is not the correlation of ranks. `argsort` once is not yet a rank.",
    )
    rows = [row for row in TABLE1 if row.bsd68[0] is not None and row.set11[0] is not None]
    places = [np.argsort(np.argsort([-float(v[0] or 0) for v in column])) for column in _columns(rows)]
    apart = {row.label for row, i, j in zip(rows, *places) if abs(i - j) >= 2}
    named = names(moved, "`moved`")
    require(named <= apart, "The correlation is right. A method that you name keeps its place, or moves by one.")
    require(named == apart, "The correlation is right. More methods change places by two or more.")
    return "It is 1, -1 and in between where it should be, and the ranks of the printed columns say who moved."


def _columns(rows: Sequence[Comparison]) -> tuple[list[Numbers], list[Numbers]]:
    return [row.bsd68 for row in rows], [row.set11 for row in rows]

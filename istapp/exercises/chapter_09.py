"""Checks of the exercises of chapter 09: training sets."""

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from istapp.exercises.answers import Wrong, ask, check, close, normal, number, require, tensor, truth
from istapp.paper.printed import GAINS, TABLE3


@check("9.1")
def check_9_1(left: float, certain: bool) -> str:
    """What is left of a gain?

    Args:
        left: dB of the average gain on BSD68, without the effect of the training set.
        certain: whether this follows from the paper's numbers without a further assumption.
    """
    sets = {row.trained_on: row.psnr for row in TABLE3}
    effect = sets["Train400"]["ista-net-plus"] - sets["Train91"]["ista-net-plus"]
    yours = number(left, "`left`")
    require(abs(yours - effect) > 1e-3, "That is the effect of the set itself. What does it leave of the gain?")
    require(abs(yours + effect - GAINS["BSD68"]) < 0.006, "Yours and the set's effect do not make the claimed gain.")
    require(not truth(certain, "`certain`"), "The number is right. At how many ratios is the effect of the set known?")
    return "Together with the effect of the set it is the claimed gain, if that effect is the same at all ratios."


@check("9.2")
def check_9_2(over_eight: Callable[[Tensor], Tensor]) -> str:
    """The average over the symmetries of the square.

    Args:
        over_eight: maps a matrix (B², B²) of pairs of pixels to its mean over the eight symmetries of the block.
    """
    for side in (3, 4):
        given = normal(side**2, side**2)
        answer = tensor(ask(over_eight, given), given.shape, "the mean")
        require(close(answer.trace(), given.trace(), 1e-9), "The trace changes. Are there eight in the mean?")
        pixels = torch.arange(side**2).view(side, side)
        for name, moved in {
            "upside down": pixels.flip(0), "left to right": pixels.flip(1), "about the diagonal": pixels.T
        }.items():  # fmt: skip
            order = moved.flatten()
            require(
                close(answer[order][:, order], answer, 1e-9),
                f"A block that is turned {name} has other moments in yours. Both pixels of a pair turn together.",
            )
        require(close(ask(over_eight, answer), answer, 1e-9), "Averaging a second time changes the matrix.")
        orders = [p.flatten() for k in range(4) for p in (pixels.rot90(k), pixels.rot90(k).T)]
        true = torch.stack([given[o][:, o] for o in orders]).mean(0)
        require(close(answer, true, 1e-9), "It is symmetric, but not the mean of the eight.")
    return "Nothing that turns a block changes it, and averaging twice changes nothing more."


@check("9.4")
def check_9_4(regularised: Callable[[Tensor, float], Tensor], numbers: int) -> str:
    """A second moment from few blocks.

    Args:
        regularised: maps blocks (n, N) and eps to their second moment (N, N) plus eps times the identity.
        numbers: how many different numbers a second moment of 33 x 33 blocks has.
    """
    for count, eps in ((5, 1e-3), (100, 1e-6)):
        blocks = normal(count, 30, seed=count) + 0.5
        answer = tensor(ask(regularised, blocks, eps), (30, 30), "the matrix")
        require(close(answer, answer.T, 1e-9), "A second moment is symmetric.")
        require(
            float(torch.linalg.eigvalsh(answer)[0]) > 0.5 * eps,
            f"With {count} blocks of 30 pixels some direction has no energy at all, so (1.16) has no solution.",
        )
        plain = answer - eps * torch.eye(30).double()
        centred = torch.cov(blocks.T, correction=0)
        require(not close(plain, centred, 1e-9), "That is the covariance. The second moment keeps the mean.")
        require(close(plain, blocks.T @ blocks / count, 1e-9), "Without eps it is not the mean of x x^T.")
    yours = number(numbers, "`numbers`")
    require(yours != 1089**2, "The matrix is right. It is symmetric: how many entries are different?")
    require(yours == 1089 * 1090 // 2, "The matrix is right. Count the diagonal and one side of it.")
    return "It is symmetric and can be inverted, even from five blocks."


@check("9.5")
def check_9_5(design: Sequence[tuple[str, str, str]], first: int) -> str:
    """Runs that separate three causes.

    Args:
        design: triples (set, range, steps), set "T91" or "Train400", range "full" or "limited", steps "short" or
            "long": the fewest runs from which all effects and interactions follow.
        first: place in `design`, from 0, of the run that changes nothing but the number of steps of the paper's
            ("Train400", "full", "long").
    """
    levels = ({"T91", "Train400"}, {"full", "limited"}, {"short", "long"})
    for run in design:
        if len(run) != 3 or any(value not in known for value, known in zip(run, levels)):
            raise Wrong(f"{run} is no run: set, range and steps are wanted, in this order and in these words.")
    require(len(set(design)) == len(design), "A run is there twice.")
    for i, name in enumerate(("set", "range", "number of steps")):
        seen = Counter(run[i] for run in design)
        require(len(seen) == 2 and len(set(seen.values())) == 1, f"The {name} is not balanced: {dict(seen)}.")
    require(len(set(design)) == 8, "Each cause is balanced, but some interactions cannot be told apart in so few runs.")
    chosen = design[int(number(first, "`first`"))]
    require(chosen == ("Train400", "full", "short"), f"The design is complete. {chosen} is not that run.")
    return "Every combination once, and the first run asks whether the figure is about the length of the training."

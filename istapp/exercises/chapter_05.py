"""Checks of the exercises of chapter 05: training."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from istapp.exercises.answers import ask, check, close, normal, number, require, tensor
from istapp.training.recipe import Recipe


@check("5.1")
def check_5_1(times: float, steps: Sequence[int], memory: float, released: Recipe, ours: Recipe) -> str:
    """Bookkeeping of the full run.

    Args:
        times: how often the full run shows each training pixel, on average.
        steps: of the released recipe, and of ours.
        memory: the share of our run over which the average of the weights reaches back.
        released: the recipe of the authors' code.
        ours: our full-size recipe.
    """
    pixels = 380 * 180**2
    require(
        abs(number(times, "`times`") * pixels / released.pixels - 1) < 0.01,
        "`times` times the pixels of the training images do not make the pixels of the run. Is the twentieth left out?",
    )
    require(len(steps) == 2, "`steps` should be two numbers.")
    for yours, recipe, name in zip(steps, (released, ours), ("released", "our")):
        require(
            abs(yours * recipe.pixels_per_step / recipe.pixels - 1) < 0.01,
            f"The {name} recipe's steps times the pixels of a step do not make its pixels.",
        )
    reach = 1 / (1 - ours.average) / ours.steps
    require(
        abs(number(memory, "`memory`") / reach - 1) < 0.1,
        "The steps are right. `memory` is not: an average with decay d forgets in about 1 / (1 - d) steps.",
    )
    return "Pixels, steps and memory fit together. The average reaches back over a moment of the run only."


@check("5.2")
def check_5_2(flattery: Callable[[int, int], float], honest: float) -> str:
    """What is gained by choosing on the test set?

    Args:
        flattery: maps (variants, images) to the expected dB that the best of equally good variants shows beyond the
            truth, with independent noise of 0.1 dB for each image.
        honest: the same, if the choice is made on other images.
    """
    random = np.random.default_rng(5)
    for variants, images in ((1, 11), (2, 3), (20, 11), (5, 50)):
        best = random.normal(0, 0.1 / images**0.5, (100_000, variants)).max(axis=1).mean()
        yours = number(ask(flattery, variants, images), "the expected dB")
        which = "one variant nothing is chosen, so" if variants == 1 else f"{variants} variants and {images} images"
        size = "more" if yours > best else "less"
        require(
            abs(yours - best) < 0.0015 + 0.02 * best,
            f"With {which} 100,000 trials say otherwise; yours is {size}. Is it the mean over images that is compared, "
            "and the largest of them that is reported?",
        )
    require(abs(number(honest, "`honest`")) < 0.003, "The first is right. Other images know nothing of the choice.")
    return "It agrees with 100,000 trials at four sizes: the best of many flatters itself on the images that chose it."


@check("5.4")
def check_5_4(per_step: Callable[[float, float, int], float], per_patch: Callable[[float, float, int], float]) -> str:
    """How noisy is the gradient of a batch?

    Args:
        per_step: maps (within, between, B), two variances and the batch, to the variance with one ratio a step.
        per_patch: the same, with a ratio for each patch.
    """
    for within, between, batch in ((1.0, 0.5, 4), (0.2, 3.0, 8)):
        inside = within**0.5 * normal(100_000, batch, seed=batch).mean(1)
        for name, function, ratios in (
            ("one ratio a step", per_step, normal(100_000, 1, seed=20)),
            ("a ratio for each patch", per_patch, normal(100_000, batch, seed=21)),
        ):
            seen = (inside + between**0.5 * ratios.mean(1)).var()
            yours = number(ask(function, within, between, batch), "the variance")
            require(
                abs(yours / seen - 1) < 0.03,
                f"With {name} the variance of 100,000 batches of {batch} is {'larger' if seen > yours else 'smaller'} "
                "than yours. Which of the two parts is drawn afresh for each patch, and averages out?",
            )
    return "Both agree with 100,000 batches. Between ratios only separate draws average out."


@check("5.6")
def check_5_6(exact: Callable[[Tensor], Tensor], textbook: Callable[[Tensor], Tensor]) -> str:
    """The nearest orthogonal matrix, and a polynomial on the way there.

    Args:
        exact: maps matrices (N, r, c) to U V^T of each.
        textbook: the same by five steps of the cubic polynomial 1.5 X - 0.5 X X^T X, from X divided by its norm.
    """
    for shape in ((3, 8, 8), (2, 5, 20)):
        given = normal(*shape)
        u, s, vt = torch.linalg.svd(given, full_matrices=False)
        answer = tensor(ask(exact, given), given.shape, "`exact(matrices)`")
        values = torch.linalg.svdvals(answer)
        require(close(values, torch.ones_like(values)), "Not all singular values of `exact` are 1.")
        require(close(answer, u @ vt), "It is orthogonal, but there is a nearer one: the same U and V as the matrix.")
        cubic = s / s.square().sum(-1, keepdim=True).sqrt()
        for _ in range(5):
            cubic = 1.5 * cubic - 0.5 * cubic**3
        step = tensor(ask(textbook, given), given.shape, "`textbook(matrices)`")
        inner = u.mT @ step @ vt.mT
        require(
            close(inner, torch.diag_embed(inner.diagonal(dim1=-2, dim2=-1))),
            "`exact` is right. `textbook` turns the singular vectors; an odd polynomial leaves them alone.",
        )
        require(
            close(inner.diagonal(dim1=-2, dim2=-1), cubic, 1e-4),
            "`exact` is right, and `textbook` keeps U and V. Its singular values are not those of five steps from a "
            "matrix of norm 1.",
        )
    return "The first makes every singular value 1, the second brings large ones there and leaves small ones small."

"""Checks of the exercises of chapter 10: one part at a time."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from istapp.exercises.answers import ask, check, close, normal, number, require, tensor, truth
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.paper.printed import TABLE4
from istapp.sampling import BLOCK


@check("10.1")
def check_10_1(sizes: Mapping[str, int], share: float, largest_at: int) -> str:
    """Sizes of the four settings.

    Args:
        sizes: for "b", "c", "d" and "e", the parameters with K = 9 and C = 16.
        share: how much larger (e) is than (b), a fraction.
        largest_at: the K at which that share is largest.
    """
    flags = {row.setting: (row.dynamic_step, row.noise_map) for row in TABLE4}
    true = {name: ISTANetPP(9, 16, *flags[name]).parameter_count for name in "bcde"}
    for name, size in true.items():
        require(name in sizes, f'`sizes` has no entry "{name}".')
        yours = number(sizes[name], "a size")
        require(yours == size, f"The module of ({name}) counts {'more' if size > yours else 'fewer'}.")
    apart = abs(number(share, "`share`") - (true["e"] / true["b"] - 1))
    require(apart < 5e-4, "The sizes are right. The share is what (e) has beyond (b), as a fraction of (b).")
    grown = {
        k: ISTANetPP(k, 16, True, True).parameter_count / ISTANetPP(k, 16, False, False).parameter_count
        for k in range(1, 21)
    }
    require(
        number(largest_at, "`largest_at`") == max(grown, key=lambda k: grown[k]),
        "Sizes and share are right. Which part of the module does not grow with K, and where does it weigh most?",
    )
    return "The four modules count the same, and the shallowest network pays most for being told the ratio."


@check("10.2")
def check_10_2(fold: Callable[[dict[str, Tensor], Tensor], dict[str, Tensor]], margin: int) -> str:
    """A noise map that is constant is a bias.

    Args:
        fold: maps the tensors of a stage with a noise map, and the level sigma, to those of a stage without.
        margin: pixels at the image's border in which the two may differ.
    """
    with_map, without = (ISTANetPP(1, 6, False, flag).double().stages[0] for flag in (True, False))
    x, seen = torch.rand(1, 1, 40, 50, dtype=torch.float64), []
    for value in (0.4, 1.7):
        level = torch.tensor(value).double()
        original = {name: t.clone() for name, t in with_map.state_dict().items()}
        without.load_state_dict(ask(fold, {name: t.clone() for name, t in original.items()}, level))
        with torch.no_grad():
            gap = (with_map(x, level) - without(x, None)).abs()[0, 0]
        require(
            float(gap[10:-10, 10:-10].max()) < 1e-10,
            f"With sigma = {value} the two differ in the middle of the image. Over how many taps does a constant "
            "channel reach each output of the head?",
        )
        seen.append(min(d for d in range(1, 11) if float(gap[d:-d, d:-d].max()) < 1e-10))
    yours = number(margin, "`margin`")
    require(
        yours == max(seen),
        f"The fold is right. The margin is {'wider' if max(seen) > yours else 'narrower'}. Count convolutions.",
    )
    return "In the middle of the image the two stages agree at two levels, and the margin is what you say."


@check("10.3")
def check_10_3(across: Callable[[Tensor, float], Tensor]) -> str:
    """Smoothing across the seams.

    Args:
        across: maps an image (B, 1, 33h, 33w) and t to the image in which each pixel at a seam is 1 - t of itself and
            t of its neighbour across.
    """
    image = normal(1, 1, 2 * BLOCK, 3 * BLOCK)
    answer = {t: tensor(ask(across, image.clone(), t), image.shape, "the image") for t in (0.0, 0.3, 0.5)}
    require(close(answer[0.0], image, 1e-12), "With t = 0 nothing should change.")
    changed = (answer[0.3] - image).abs()[0, 0] > 1e-12
    rows, columns = torch.zeros(2 * BLOCK, dtype=torch.bool), torch.zeros(3 * BLOCK, dtype=torch.bool)
    rows[BLOCK - 1 : BLOCK + 1] = True
    for seam in (BLOCK, 2 * BLOCK):
        columns[seam - 1 : seam + 1] = True
    at_seam = rows[:, None] | columns[None]
    require(not bool((changed & ~at_seam).any()), "Pixels change that lie at no seam. Seams run from 33j - 1 to 33j.")
    require(bool((changed | ~at_seam).all()), "Some pixels at a seam stay as they are. Rows, columns, all seams?")
    require(
        close(answer[0.5][..., 5, BLOCK - 1], answer[0.5][..., 5, BLOCK]),
        "With t = 0.5 the two pixels across a seam should be equal. Is the second mixed from values already changed?",
    )
    require(close(answer[0.3].sum(), image.sum(), 1e-9), "The sum of all pixels should not change.")
    mixed = 0.7 * image[..., 5, BLOCK] + 0.3 * image[..., 5, BLOCK - 1]
    require(close(answer[0.3][..., 5, BLOCK], mixed), "t is the share of the neighbour.")
    return "Only pixels at seams change, both sides at once, and no light is lost."


@check("10.4")
def check_10_4(images_needed: Callable[[float, float], float], enough: bool) -> str:
    """How many test images resolve a gain?

    Args:
        images_needed: maps the deviation of the differences and the gain, in dB, to the number of images for which
            1.96 standard errors are as large as the gain, or to the next whole one.
        enough: whether eleven are, for a gain of 0.06 dB and differences that deviate by 0.2 dB.
    """
    for s, gain in ((0.2, 0.1), (0.5, 0.06), (0.2, 0.06)):
        count = number(ask(images_needed, s, gain), "the number of images")
        exact, error = (1.96 * s / gain) ** 2, 1.96 * s / count**0.5
        require(
            0.98 * exact < count < 1.02 * exact or exact <= count < exact + 1,
            f"With so many images 1.96 standard errors are {error:.3f} dB, for a gain of {gain} dB. The standard error "
            "falls with the root of the number.",
        )
    require(truth(enough, "`enough`") == (count <= 11), "The function is right. Put 0.2 and 0.06 into it.")
    return f"It gives the interval that was asked for; at a deviation of 0.2 dB, 0.06 dB take {count:.0f} images."

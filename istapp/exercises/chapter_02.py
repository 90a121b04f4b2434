"""Checks of the exercises of chapter 02: ISTA and FISTA."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from istapp.exercises.answers import Wrong, ask, check, close, names, normal, number, require, tensor, truth
from istapp.sampling import BlockSampling
from istapp.solvers import fista, ista, objective, optimality_residual
from istapp.solvers.priors import Prior, Wavelet, soft

#: Measurements, operator, prior and weight: what every solver begins with.
Problem = tuple[Tensor, BlockSampling, Prior, float]


@check("2.1")
def check_2_1(
    shrunk: Sequence[float],
    ridge: Callable[[Tensor, float], Tensor],
    box: Callable[[Tensor], Tensor],
    zeros: Collection[str],
) -> str:
    """Three proximal operators by hand.

    Args:
        shrunk: the soft threshold 1 applied to 3, -0.5, 1.2 and -2.
        ridge: maps v and t to the prox of t u² / 2.
        box: maps v to the prox of the constraint 0 <= u <= 1.
        zeros: those of "soft", "ridge" and "box" that return exact zeros for inputs that are not zero.
    """
    given = torch.tensor([3, -0.5, 1.2, -2]).double()
    by_hand = tensor(torch.as_tensor(shrunk), (4,), "`shrunk`")
    require(bool((by_hand.abs() <= given.abs()).all()), "A soft threshold never moves a number away from zero.")
    require(close(by_hand, soft(given, 1.0)), "One of the four is off: each moves by 1 towards zero, and not beyond.")
    v, u = 2 * normal(200), torch.linspace(-8, 8, 16001).double()
    for t in (0.3, 2.0):
        answer = tensor(ask(ridge, v, t), v.shape, "the prox of the square")
        best = u[((u - v[:, None]) ** 2 / 2 + t * u**2 / 2).argmin(1)]
        require(close(answer, best, 1e-3), f"With t = {t} brute force finds a lower value than yours. Differentiate.")
    answer = tensor(ask(box, v), v.shape, "the prox of the constraint")
    require(bool(((answer >= 0) & (answer <= 1)).all()), "The square is right. The box leaves the interval 0 ... 1.")
    inside = torch.where((u - 0.5).abs() <= 0.5, (u - v[:, None]).abs(), torch.inf)
    require(
        close(answer, u[inside.argmin(1)], 1e-3),
        "The square is right. The box is not the nearest point of the interval.",
    )
    named = names(zeros, "`zeros`")
    for name, can in {"soft": True, "ridge": False, "box": True}.items():
        require(
            (name in named) == can,
            f'The operators are right. Think again about "{name}": what becomes 0?',
        )
    return "All three agree with brute force, and you know which of them make zeros."


@check("2.2")
def check_2_2(count: Mapping[float, int], ever: bool, problem: Problem) -> str:
    """Which step needs fewer iterations?

    Args:
        count: for the steps 1.0 and 1.9, the iterations until F has fallen 95 % of the way.
        ever: whether there are problems on which a step of 1 is faster.
        problem: measurements, operator, prior and weight.
    """
    least = min(fista(*problem, 80).history["objective"])
    for rho in (1.0, 1.9):
        require(rho in count, f"`count` has no entry for the step {rho}.")
        values = torch.tensor(ista(*problem, 60, step=rho).history["objective"]) - least
        true = int((values < 0.05 * values[0]).int().argmax())
        apart = int(count[rho]) - true
        require(
            abs(apart) <= 1,
            f"With a step of {rho} you count {'too many' if apart > 0 else 'too few'}. What is left must be below 5 % "
            "of what lay between the start and the minimum.",
        )
    require(
        truth(ever, "`ever`"),
        "The counts are right. Now take the prior away: what does a step of 1 do to the data term?",
    )
    return "The longer step needs about half the iterations here, and loses where there is only the data to fit."


@check("2.3")
def check_2_3(Support: Callable[[Tensor], Any], wavelet: Wavelet) -> str:  # noqa: N803 (a class)
    """The prior "only these coefficients".

    Args:
        Support: a class; `Support(x)` keeps the wavelet coefficients that x has, and its `prox(v, t)` sets others to 0.
        wavelet: the transform.
    """
    chosen = torch.rand(1, 1, 64, 64) < 0.1
    found = wavelet.synthesis(normal(1, 1, 64, 64) * chosen)
    kept = (wavelet.analysis(found).abs() > 1e-4) | ~wavelet.penalised(chosen)
    prior = Support(found)
    v = normal(1, 1, 64, 64, seed=1)
    answer = tensor(ask(prior.prox, v, 0.3), v.shape, "`prox(v, t)`")
    before, after = wavelet.analysis(v), wavelet.analysis(answer)
    require(float((after * ~kept).abs().max()) < 1e-6, "A coefficient that the given image does not have survives.")
    require(
        close(after * chosen, before * chosen),
        "The others are gone. But those of the support changed: a projection leaves them alone, whatever t is.",
    )
    require(close(answer, ask(prior.prox, answer, 0.3)), "Doing it twice changes the image again: no projection.")
    return "It is the projection onto the images with that support, and it shrinks nothing."


class _Counted(Wavelet):
    """A prior that counts its proximal steps, one an iteration; a solver's diary works on a copy."""

    calls = 0

    def prox(self, v: Tensor, t: float) -> Tensor:
        """Step and count."""
        self.calls += 1
        return super().prox(v, t)


@check("2.4")
def check_2_4(warm: Callable[[Tensor, BlockSampling, Prior, float], Tensor], image: Tensor) -> str:
    """Does it pay to begin with a large lambda?

    Args:
        warm: maps (y, sampling, prior, lam) to the image that 100 iterations in all of ISTA find by continuation.
        image: a photograph, (1, 1, 33h, 33w).
    """
    sampling, prior, lam = BlockSampling(0.3), _Counted(), 0.005
    y = sampling.A(image)
    answer = ask(warm, y, sampling, prior, lam)
    require(isinstance(answer, Tensor) and answer.shape == image.shape, "`warm` should return an image.")
    require(prior.calls <= 100, "That took more than the 100 iterations which both ways may spend.")
    cold = ista(y, sampling, Wavelet(), lam, 100, track=False).x
    values = [float(objective(x, y, sampling, prior, lam)) for x in (answer, cold)]
    require(values[0] < values[1], "Your objective ends above that of 100 iterations at the small lambda.")
    require(
        values[0] < values[1] / 2,
        "Better than the cold start, yet more is to be had: does each solve begin where the last one stopped, and "
        "does the first lambda sweep away what the last one cannot?",
    )
    return f"Your objective ends at {values[0] / values[1]:.0%} of what the same work reaches without continuation."


class _L1:
    """The sum of absolute values, on images."""

    def value(self, x: Tensor) -> Tensor:
        """Return g of each image."""
        return x.abs().flatten(1).sum(1)

    def prox(self, v: Tensor, t: float) -> Tensor:
        """Soft-threshold."""
        return soft(v, t)


@check("2.5")
def check_2_5(restarted: Callable[..., Tensor]) -> str:
    """FISTA with restarts.

    Args:
        restarted: maps (y, sampling, prior, lam, iterations, step, x), x the start, to the last image.
    """
    phi = normal(40, 64).cumsum(1) / 20
    sampling = BlockSampling(phi=phi, block=8)
    truth = normal(64, seed=1) * (torch.rand(64) < 0.15)
    problem = ((phi @ truth).view(1, 40, 1, 1), sampling, _L1(), 0.05)
    start, step = torch.zeros(1, 1, 8, 8).double(), 1 / sampling.norm

    def value(x: Tensor) -> float:
        """Return the objective at x."""
        return float(objective(x, *problem))

    one = tensor(ask(restarted, *problem, 1, step, start), start.shape, "the last image")
    require(close(one, ista(*problem, 1, step, start).x), "After a single iteration it should be where ISTA is.")
    values = [value(ask(restarted, *problem, k, step, start)) for k in range(0, 200, 10)]
    rises = any(later > earlier + 1e-12 for earlier, later in zip(values, values[1:]))
    require(not rises, "The objective rises somewhere. Forget the momentum then; keep the iterate before the rise.")
    residual = [optimality_residual(x, *problem) for x in (
        ask(restarted, *problem, 1500, step, start), fista(*problem, 1500, step, start, track=False).x
    )]  # fmt: skip
    require(
        residual[0] < max(residual[1], 1e-13),
        "It never rises, but after 1500 iterations plain FISTA is closer to the minimum. Does the momentum grow again?",
    )
    return "It never rises, and after 1500 iterations it is closer to the minimum than plain FISTA."


@check("2.6")
def check_2_6(gap: Callable[[int, float, float], float], bound: Callable[[int, float, float], float]) -> str:
    """How tight is the bound (2.19)?

    Args:
        gap: maps k, rho and lambda to F(x_k) - F(x*), for Phi = 0, g the absolute value and the start 2 k rho lambda.
        bound: maps the same to the bound (2.19).
    """
    for k, rho, lam in ((1, 1.0, 1.0), (7, 0.3, 2.0), (50, 1.7, 0.4)):
        x = torch.tensor(2 * k * rho * lam).double()
        first = x
        for _ in range(k):
            x = soft(x, rho * lam)
        true, above = float(lam * x.abs()), float(first**2 / (2 * k * rho))
        yours = number(ask(gap, k, rho, lam), "the gap")
        require(close(yours, true), f"k = {k} steps of ISTA from there leave another gap. Where does x_k stand?")
        yours = number(ask(bound, k, rho, lam), "the bound")
        require(close(yours, above), "The gap is right. The bound is not: take the first form of (2.19), with x* = 0.")
        if not close(2 * true, above):
            raise Wrong("The gap should be half the bound.")
    return "Iterating agrees with your gap at three settings, and it is half the bound each time."

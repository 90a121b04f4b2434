"""Answers to chapter 02."""

import math

import torch

from istapp import solvers
from istapp.sampling import BlockSampling
from istapp.solvers import priors

WAVELET = priors.Wavelet()
IMAGE = torch.linspace(0, 6, 33).sin().mul(0.4).add(0.5).round(decimals=1).view(1, 1, 33, 1).repeat(1, 1, 1, 33)
IMAGE = (IMAGE + IMAGE.mT) / 2


def ridge(v, t):
    return v / (1 + t)


def box(v):
    return v.clamp(0, 1)


def support(shrink=0.0, others=0.0):
    class Support:
        def __init__(self, x):
            c = WAVELET.analysis(x)
            self.mask = (c.abs() > 1e-4) | ~WAVELET.penalised(c)

        def prox(self, v, t):
            c = WAVELET.analysis(v)
            return WAVELET.synthesis(torch.where(self.mask, (1 - shrink * t) * c, others * c))

    return Support


def counts(problem):
    least, found = min(solvers.fista(*problem, 80).history["objective"]), {}
    for rho in (1.0, 1.9):
        above = torch.tensor(solvers.ista(*problem, 60, step=rho).history["objective"]) - least
        found[rho] = int((above < 0.05 * above[0]).int().argmax())
    return found


def warm(y, sampling, prior, lam, first=0.5, each=20):
    found = solvers.ista(y, sampling, prior, first, each)
    for ratio in (0.75, 0.5, 0.25, 0):
        found = solvers.ista(y, sampling, prior, lam * (first / lam) ** ratio, each, start=found.x)
    return found.x


def fista(forget):
    def restarted(y, sampling, prior, lam, iterations, step, x):
        z, t, last = x, 1.0, solvers.objective(x, y, sampling, prior, lam).item()
        for _ in range(iterations):
            new = prior.prox(z - step * sampling.adjoint(sampling.A(z) - y), step * lam)
            value = solvers.objective(new, y, sampling, prior, lam).item()
            if value > last and forget:
                z, t = x, 1.0
                continue
            t_next = (1 + math.sqrt(1 + 4 * t**2)) / 2
            x, z, t, last = new, new + (t - 1) / t_next * (new - x), t_next, value
        return x

    return restarted


def plain(y, sampling, prior, lam, iterations, step, x):
    return solvers.ista(y, sampling, prior, lam, iterations, step, x).x


PROBLEM = (BlockSampling(0.3).A(IMAGE), BlockSampling(0.3), WAVELET, 0.05)
COUNT = counts(PROBLEM)

CASES = {
    "2.1": [
        ([2, 0, 0.2, -1], ridge, box, {"soft", "box"}),
        ([2, 0.5, 0.2, -1], ridge, box, {"soft", "box"}),
        ([2, 0, 0.2, -3], ridge, box, {"soft", "box"}),
        ([2, 0, 0.2, -1], lambda v, t: v - t, box, {"soft", "box"}),
        ([2, 0, 0.2, -1], ridge, lambda v: v, {"soft", "box"}),
        ([2, 0, 0.2, -1], ridge, lambda v: v.round().clamp(0, 1), {"soft", "box"}),
        ([2, 0, 0.2, -1], ridge, box, {"soft"}),
    ],
    "2.2": [
        (COUNT, True, PROBLEM),
        ({1.0: COUNT[1.9], 1.9: COUNT[1.0]}, True, PROBLEM),
        ({1.0: COUNT[1.0]}, True, PROBLEM),
        (COUNT, False, PROBLEM),
    ],
    "2.3": [(support(), WAVELET), (support(shrink=0.5), WAVELET), (support(others=1.0), WAVELET)],
    "2.4": [
        (warm, IMAGE),
        (lambda y, s, prior, lam: solvers.ista(y, s, prior, lam, 100).x, IMAGE),
        (lambda y, s, prior, lam: s.adjoint(y), IMAGE),
        (lambda y, s, prior, lam: warm(y, s, prior, lam, each=60), IMAGE),
        (lambda y, s, prior, lam: solvers.ista(y, s, prior, lam, 200, track=False).x, IMAGE),
    ],
    "2.5": [(fista(True),), (fista(False),), (plain,), (lambda y, s, prior, lam, n, step, x: x,)],
    "2.6": [
        (lambda k, rho, lam: k * rho * lam**2, lambda k, rho, lam: 2 * k * rho * lam**2),
        (lambda k, rho, lam: 2 * k * rho * lam**2, lambda k, rho, lam: 2 * k * rho * lam**2),
        (lambda k, rho, lam: k * rho * lam**2, lambda k, rho, lam: 2 * k * lam**2 / rho),
    ],
}

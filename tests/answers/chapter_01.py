"""Answers to chapter 01."""

import torch
import torch.nn.functional as F

DOWN, UP, NEAREST = [0.2, 0.4, 0.5], [0.01, 0.04, 0.25], [0.01]


def customary() -> dict[str, list[float]]:
    import math

    from istapp.sampling import CUSTOMARY

    rules = {"down": math.floor, "up": math.ceil, "to nearest": round}
    return {k: [p / 100 for p, m in CUSTOMARY.items() if rule(round(10.89 * p, 6)) != m] for k, rule in rules.items()}


def back(v, sampling, height, width):
    return sampling.adjoint(v)[..., :height, :width]


def share(m, n):
    return m / n, 2 * m / n * (1 - m / n) / (n + 2)


def coherence(matrix):
    columns = F.normalize(matrix, dim=0)
    return (columns.T @ columns).abs().fill_diagonal_(0).max().item()


def noisy(power):
    def matrix(C, phi, sigma):
        return C @ phi.T @ torch.linalg.inv(phi @ C @ phi.T + sigma**power * torch.eye(len(phi)).double())

    return matrix


CASES = {
    "1.1": [
        (customary(), 1 - 10 / 10.89),
        (customary() | {"up": []}, 1 - 10 / 10.89),
        (customary() | {"down": [0.01, *customary()["down"]]}, 1 - 10 / 10.89),
        (customary(), 0.01),
    ],
    "1.2": [
        (back, False, True),
        (lambda v, s, h, w: s.adjoint(v)[..., -h:, -w:], False, True),
        (lambda v, s, h, w: 2 * back(v, s, h, w), False, True),
        (lambda v, s, h, w: s.adjoint(v), False, True),
        (back, True, True),
        (back, False, False),
    ],
    "1.3": [
        (share,),
        (lambda m, n: (m / n, 2 * m / n * (1 - m / n) / n),),
        (lambda m, n: (1 - m / n, share(m, n)[1]),),
        (lambda m, n: m / n,),
    ],
    "1.4": [
        (coherence, (2, 4)),
        (lambda matrix: (matrix.T @ matrix).abs().fill_diagonal_(0).max().item(), (2, 4)),
        (lambda matrix: 1.0, (2, 4)),
        (lambda matrix: (F.normalize(matrix, dim=0).T @ F.normalize(matrix, dim=0)).fill_diagonal_(-1).max(), (2, 4)),
        (coherence, (4, 2)),
        (coherence, (2, 2)),
    ],
    "1.5": [
        (noisy(2),),
        (noisy(1),),
        (lambda C, phi, sigma: C @ phi.T @ torch.linalg.inv(phi @ C @ phi.T),),
        (lambda C, phi, sigma: noisy(2)(C, phi, sigma).T,),
    ],
    "1.6": [
        (lambda C, m: torch.linalg.eigh(C).eigenvectors[:, -m:].T,),
        (lambda C, m: torch.linalg.eigh(C).eigenvectors[:, :m].T,),
        (lambda C, m: 2 * torch.linalg.eigh(C).eigenvectors[:, -m:].T,),
        (lambda C, m: torch.eye(len(C)).double()[C.diagonal().argsort(descending=True)[:m]],),
    ],
}

"""Answers to chapter 09."""

from itertools import product

import torch

from istapp.paper.printed import GAINS, TABLE3

SETS = {row.trained_on: row.psnr["ista-net-plus"] for row in TABLE3}
EFFECT = SETS["Train400"] - SETS["Train91"]


def pairs(C):
    side = round(len(C) ** 0.5)
    return C.view(side, side, side, side)


def over_eight(C):
    C = pairs(C)
    C = (C + C.flip(0, 2)) / 2
    C = (C + C.flip(1, 3)) / 2
    return ((C + C.permute(1, 0, 3, 2)) / 2).reshape(C.shape[0] ** 2, -1)


def over_four(C):
    C = pairs(C)
    C = (C + C.flip(0, 2)) / 2
    return ((C + C.flip(1, 3)) / 2).reshape(C.shape[0] ** 2, -1)


def one_pixel(C):
    C = pairs(C)
    return ((C + C.flip(0)) / 2).reshape(C.shape[0] ** 2, -1)


def regularised(blocks, eps):
    return blocks.T @ blocks / len(blocks) + eps * torch.eye(blocks.shape[1]).double()


def centred(blocks, eps):
    return regularised(blocks - blocks.mean(0), eps)


DESIGN = list(product(("T91", "Train400"), ("full", "limited"), ("short", "long")))
FIRST = DESIGN.index(("Train400", "full", "short"))
NUMBERS = 1089 * 1090 // 2

CASES = {
    "9.1": [
        (GAINS["BSD68"] - EFFECT, False),
        (EFFECT, False),
        (GAINS["BSD68"], False),
        (GAINS["BSD68"] - EFFECT, True),
    ],
    "9.2": [(over_eight,), (over_four,), (lambda C: 8 * over_eight(C),), (one_pixel,), (lambda C: (C + C.T) / 2,)],
    "9.4": [
        (regularised, NUMBERS),
        (lambda blocks, eps: regularised(blocks, 0.0), NUMBERS),
        (centred, NUMBERS),
        (lambda blocks, eps: len(blocks) * regularised(blocks, eps), NUMBERS),
        (regularised, 1089**2),
        (regularised, 1089),
    ],
    "9.5": [
        (DESIGN, FIRST),
        (DESIGN[:4], FIRST),
        ([run for run in DESIGN if sum(value in ("T91", "full", "short") for value in run) % 2], 0),
        (DESIGN, FIRST + 1),
        ([(b, a, c) for a, b, c in DESIGN], FIRST),
        (DESIGN + DESIGN[:1], FIRST),
    ],
}

"""Answers to chapter 13."""

import numpy as np
import torch

from istapp import methods
from istapp.method.base import Method
from istapp.sampling import BlockSampling

WEIGHTS = torch.tensor([4899, 9617, 1868]).view(3, 1, 1, 1) / 2**14
LINEAR = methods.get("linear")


class Squared(Method):
    """Not linear, and quick."""

    name = "squared"

    def __call__(self, y, sampling):
        return LINEAR(y, sampling).square()


SQUARED = Squared()
SAME = {"linear": True, "network": False}


def encode(y, b):
    codes = ((y - y.min()) / (y.max() - y.min()) * 2**b).long().clamp(0, 2**b - 1).flatten()
    bits = (codes[:, None] >> torch.arange(b)) & 1
    ends = np.float32([y.min(), y.max()])
    return ends.tobytes() + np.packbits(bits.numpy().astype(np.uint8)).tobytes()


def luma(planes):
    return (WEIGHTS * planes).sum(0, keepdim=True)


def directly(method, y, sampling):
    return method((WEIGHTS * y).sum(0, keepdim=True), sampling)


def planes(y, u, v):
    w = WEIGHTS.flatten()
    return torch.cat([y + v, (y - w[0] * (y + v) - w[2] * (y + u)) / w[1], y + u])


def centred(y, sampling):
    ones = sampling.A(torch.ones(1, 1, 33 * y.shape[2], 33 * y.shape[3]).to(y))
    mean = ((y * ones).sum() / ones.square().sum()).item()
    return mean, y - mean * ones


def halved(y, sampling):
    mean, _ = centred(y, sampling)
    rest = y - mean / 2 * sampling.A(torch.ones(1, 1, 33 * y.shape[2], 33 * y.shape[3]).to(y))
    return mean / 2, rest


def received(sampling, rows):
    return BlockSampling(len(rows) / 1089, phi=sampling.phi[rows], kind="received")


CASES = {
    "13.1": [
        (52_232, 8 * 52_232 / 528**2, 0.125, encode),
        (52_224, 1.5, 0.125, encode),
        (104_448, 1.5, 0.125, encode),
        (52_232, 12.0, 0.125, encode),
        (52_232, 1.5, 0.25, encode),
    ],
    "13.2": [
        (directly, SAME, WEIGHTS, LINEAR, SQUARED),
        (lambda m, y, s: (WEIGHTS * m(y, s)).sum(0, keepdim=True), SAME, WEIGHTS, LINEAR, SQUARED),
        (lambda m, y, s: m(y.mean(0, keepdim=True), s), SAME, WEIGHTS, LINEAR, SQUARED),
        (directly, {"linear": False, "network": False}, WEIGHTS, LINEAR, SQUARED),
        (directly, {"linear": True, "network": True}, WEIGHTS, LINEAR, SQUARED),
    ],
    "13.3": [
        (planes, luma),
        (lambda y, u, v: planes(y, v, u), luma),
        (lambda y, u, v: torch.cat([y + v, y - u - v, y + u]), luma),
    ],
    "13.4": [
        (centred,),
        (halved,),
        (lambda y, s: (y.mean().item(), y - y.mean()),),
        (lambda y, s: (0.0, y),),
    ],
    "13.5": [
        (received,),
        (lambda s, rows: BlockSampling(len(rows) / 1089),),
        (lambda s, rows: s,),
        (lambda s, rows: BlockSampling(s.ratio, phi=s.phi[rows]),),
    ],
}

"""Answers to chapter 08."""

import copy

import numpy as np
import torch

from istapp.methods.ista_net_plus import ISTANetPlus
from istapp.methods.ista_net_pp import ISTANetPP

BUDGET, STAGE = ISTANetPP().parameter_count, ISTANetPlus(stages=1, channels=32).parameter_count


def widest(m):
    return max(c for c in range(99) if 2 * m >= 36 * c**2 + 27 * c)


def extrapolate(sizes, psnr, size):
    b, a = np.polyfit(np.log2(sizes), psnr, 1)
    return a + b * np.log2(size)


def ends(sizes, psnr, size):
    b = (psnr[-1] - psnr[0]) / np.log2(sizes[-1] / sizes[0])
    return psnr[0] + b * np.log2(size / sizes[0])


def straight(sizes, psnr, size):
    b, a = np.polyfit(sizes, psnr, 1)
    return a + b * size


def best(x, linear, truth):
    away = x - linear
    return min(1.0, max(0.0, float(((truth - linear) * away).sum() / away.square().sum())))


def share(network):
    network.stages = torch.nn.ModuleList([network.stages[0]] * len(network.stages))
    return network


def copies(network):
    network.stages = torch.nn.ModuleList(copy.deepcopy(network.stages[0]) for _ in network.stages)
    return network


def single(network):
    network.stages = network.stages[:1]
    return network


CASES = {
    "8.1": [
        (BUDGET // STAGE, BUDGET // (5 * STAGE)),
        (BUDGET // STAGE + 1, BUDGET // (5 * STAGE)),
        (BUDGET // STAGE - 1, BUDGET // (5 * STAGE)),
        (BUDGET // STAGE, BUDGET // STAGE),
    ],
    "8.2": [
        (widest, False),
        (lambda m: widest(m) + 1, False),
        (lambda m: widest(m // 2), False),
        (widest, True),
    ],
    "8.3": [(extrapolate, False), (straight, False), (ends, False), (extrapolate, True)],
    "8.4": [
        (best,),
        (lambda x, linear, truth: 1 - best(x, linear, truth),),
        (lambda x, linear, truth: 2.0,),
        (lambda x, linear, truth: 0.5,),
    ],
    "8.5": [(share,), (copies,), (single,), (lambda network: network,)],
}

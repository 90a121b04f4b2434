"""Answers to chapter 06."""

import torch

from istapp.methods.ista_net_pp import ISTANetPP
from istapp.metrics import psnr
from istapp.sampling import BlockSampling

torch.manual_seed(0)
NET, S = ISTANetPP(4, 4).requires_grad_(False), BlockSampling(0.3)
TRUTH = torch.rand(1, 1, 33, 66)
Y = S.A(TRUTH)


def quality(left_out):
    rho, sigma = NET.conditions(S.ratio)
    x = x0 = S.adjoint(Y)
    for k, stage in enumerate(NET.stages):
        if k != left_out:
            x = stage(x - rho[0, k] * (S.normal(x) - x0), sigma[0, k : k + 1])
    return psnr(x, TRUTH)


DROP = [quality(k) - quality(None) for k in range(4)]
LEAST = DROP.index(min(DROP)) + 1


def projected(x, y, sampling):
    return x + sampling.adjoint(y - sampling.A(x))


def turn(image, g):
    image = image.flip(-2) if g & 1 else image
    image = image.flip(-1) if g & 2 else image
    return image.mT if g & 4 else image


def back(image, g):
    image = image.mT if g & 4 else image
    image = image.flip(-1) if g & 2 else image
    return image.flip(-2) if g & 1 else image


def masks(phi, g):
    return turn(phi.view(-1, 33, 33), g).reshape(-1, 33 * 33)


def amplification(method, y, noise, sampling):
    return (method(y + noise, sampling) - method(y, sampling)).norm() / noise.norm()


CASES = {
    "6.1": [
        (projected,),
        (lambda x, y, s: x,),
        (lambda x, y, s: s.adjoint(y),),
        (lambda x, y, s: x - s.adjoint(y - s.A(x)),),
    ],
    "6.2": [
        (DROP, LEAST, NET, Y, S, TRUTH),
        ([-d for d in DROP], LEAST, NET, Y, S, TRUTH),
        (DROP, LEAST - 1, NET, Y, S, TRUTH),
        (DROP, LEAST % 4 + 1, NET, Y, S, TRUTH),
        (DROP[:3], LEAST, NET, Y, S, TRUTH),
    ],
    "6.3": [
        (turn, back, masks),
        (turn, turn, masks),
        (lambda x, g: turn(x, g % 4), lambda x, g: back(x, g % 4), masks),
        (turn, back, lambda phi, g: phi),
    ],
    "6.4": [
        (amplification,),
        (lambda m, y, noise, s: amplification(m, y, noise, s) ** 2,),
        (lambda m, y, noise, s: m(noise, s).norm() / noise.norm(),),
        (lambda m, y, noise, s: m(y + noise, s).norm() / y.norm(),),
    ],
}

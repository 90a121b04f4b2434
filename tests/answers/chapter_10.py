"""Answers to chapter 10."""

import torch

from istapp.methods.ista_net_pp import ISTANetPP
from istapp.paper.printed import TABLE4

SIZES = {
    row.setting: ISTANetPP(9, 16, row.dynamic_step, row.noise_map).parameter_count
    for row in TABLE4
    if row.setting in "bcde"
}
SHARE = SIZES["e"] / SIZES["b"] - 1


def fold(tensors, level, taps=slice(None)):
    weight = tensors["head.weight"]
    tensors["head.bias"] = tensors["head.bias"] + level * weight[:, 1, taps].sum(dim=(1, 2))
    tensors["head.weight"] = weight[:, :1]
    return tensors


def across(image, t, start=32, dims=(-1, -2)):
    for dim in dims:
        last = torch.arange(start, image.shape[dim] - 1, 33)
        a, b = image.index_select(dim, last), image.index_select(dim, last + 1)
        image = image.index_copy(dim, last, (1 - t) * a + t * b)
        image = image.index_copy(dim, last + 1, (1 - t) * b + t * a)
    return image


def one_sided(image, t):
    for dim in (-1, -2):
        last = torch.arange(32, image.shape[dim] - 1, 33)
        a, b = image.index_select(dim, last), image.index_select(dim, last + 1)
        a = (1 - t) * a + t * b
        image = image.index_copy(dim, last, a).index_copy(dim, last + 1, (1 - t) * b + t * a)
    return image


def images(s, gain):
    return (1.96 * s / gain) ** 2


CASES = {
    "10.1": [
        (SIZES, SHARE, 1),
        (SIZES | {"c": 1}, SHARE, 1),
        (SIZES, SHARE + 1, 1),
        (SIZES, SHARE, 9),
    ],
    "10.2": [
        (fold, 6),
        (lambda tensors, level: fold(tensors, level, slice(1, 2)), 6),
        (lambda tensors, level: fold(tensors, 0 * level), 6),
        (fold, 1),
        (fold, 7),
    ],
    "10.3": [
        (across,),
        (lambda image, t: across(image, t, start=33),),
        (lambda image, t: across(image, t, dims=(-1,)),),
        (lambda image, t: across(image, 1 - t),),
        (one_sided,),
    ],
    "10.4": [
        (images, False),
        (lambda s, gain: 1.96 * s / gain, False),
        (lambda s, gain: (s / gain) ** 2, False),
        (images, True),
    ],
}

"""Answers to chapter 11."""

import torch
import torch.nn.functional as F

from istapp import methods
from istapp.exercises.chapter_11 import _shapes

X = torch.rand(1, 1, 66, 99)
BASE = _shapes(32, X, 0.1)
CHANGED = {
    "50 %": {"1×109×2×3"},
    "64 channels": set(),
    "99 x 99": set(BASE) - {"1×1"},
}


def by_hand(m):
    return 1089 * (m + 1) + 22_914


def skips(observed):
    return sum(
        step.kind == "add" and None not in step.sources and i - min(step.sources) > 1 for i, step in enumerate(observed)
    )


def reach(kernels):
    return sum((side - 1) // 2 for side in kernels)


def lead(first, second, scene, n):
    errors = [F.avg_pool2d((image - scene) ** 2, n, stride=1)[0, 0] for image in (first, second)]
    return 10 * torch.log10(errors[1] / errors[0])


RIGHT = {
    label
    for label, name in (("ReconNet", "reconnet"), ("ISTA-Net", "ista-net"), ("ISTA-Net+", "ista-net-plus"))
    if len({methods.class_of(name)(ratio=ratio).parameter_count for ratio in (0.1, 0.5)}) == 1
}

CASES = {
    "11.1": [
        (CHANGED,),
        (CHANGED | {"50 %": set()},),
        (CHANGED | {"64 channels": {BASE[0]}},),
        (CHANGED | {"99 x 99": {"1×1×7×7"}},),
    ],
    "11.2": [
        (by_hand, RIGHT),
        (lambda m: by_hand(m) - 1089, RIGHT),
        (lambda m: by_hand(109), RIGHT),
        (by_hand, {"ReconNet", *RIGHT}),
        (by_hand, set()),
    ],
    "11.3": [
        (skips,),
        (lambda observed: sum(step.kind == "add" for step in observed),),
        (lambda observed: 6,),
        (lambda observed: skips(observed) // 3,),
    ],
    "11.4": [
        (reach,),
        (lambda kernels: 2 * reach(kernels) + 1,),
        (lambda kernels: max(kernels) // 2,),
        (lambda kernels: sum(kernels) // 2,),
    ],
    "11.5": [
        (lead,),
        (lambda first, second, scene, n: lead(second, first, scene, n),),
        (lambda first, second, scene, n: lead(first, second, scene, n) / 10,),
        (lambda first, second, scene, n: lead(first, second, scene, n + 1),),
        (lambda first, second, scene, n: lead(first, second, scene, n).abs(),),
    ],
}

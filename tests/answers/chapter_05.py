"""Answers to chapter 05."""

import numpy as np
import torch

from istapp.training import recipe

RELEASED, OURS = recipe.released(35e9), recipe.ours(35e9)
TIMES, STEPS = 35e9 / (380 * 180**2), (RELEASED.steps, OURS.steps)
MEMORY = 1 / (1 - OURS.average) / OURS.steps


def flattery(variants, images, of=np.max):
    noise = np.random.default_rng(0).normal(0, 0.1, (20_000, variants, images))
    return float(of(noise.mean(axis=2), axis=1).mean())


def exact(matrices):
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    return u @ vt


def textbook(matrices, steps=5):
    x = matrices / torch.linalg.matrix_norm(matrices, keepdim=True)
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x @ x.mT @ x
    return x


def per_step(within, between, batch):
    return within / batch + between


def per_patch(within, between, batch):
    return (within + between) / batch


CASES = {
    "5.1": [
        (TIMES, STEPS, MEMORY, RELEASED, OURS),
        (TIMES * 380 / 400, STEPS, MEMORY, RELEASED, OURS),
        (TIMES, STEPS[::-1], MEMORY, RELEASED, OURS),
        (TIMES, STEPS, OURS.average, RELEASED, OURS),
    ],
    "5.2": [
        (flattery, 0.0),
        (lambda variants, images: flattery(variants, images, np.median), 0.0),
        (lambda variants, images: flattery(variants, 1), 0.0),
        (flattery, 0.05),
    ],
    "5.4": [(per_step, per_patch), (per_patch, per_patch), (per_step, per_step)],
    "5.6": [
        (exact, textbook),
        (textbook, textbook),
        (lambda m: torch.eye(m.shape[1], m.shape[2]).double().expand_as(m), textbook),
        (exact, exact),
        (exact, lambda m: textbook(m).flip(1)),
    ],
}

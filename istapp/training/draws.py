"""Everything random of a training step, drawn from (seed, step) alone: no state to keep, the same on every device."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from istapp.sampling import BlockSampling, MixedSampling
from istapp.training.patches import Patches, sent
from istapp.training.recipe import Recipe

#: What a step draws, each from a stream of its own, so that adding one changes none of the others.
PATCHES, RATIOS, MATRIX, NOISE = range(4)


def seed_of(*numbers: int) -> int:
    """Return one well-mixed seed below 2^32 of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def generator(*numbers: int) -> torch.Generator:
    """Return a generator on the processor, whatever device trains, seeded by several numbers."""
    return torch.Generator().manual_seed(seed_of(*numbers))


def orthonormal_rows(m: int, random: torch.Generator, n: int = 1089) -> Tensor:
    """Return m random orthonormal rows of n numbers, (m, n) float64, uniform among all such."""
    gaussian = torch.randn(n, m, generator=random, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    return (q * r.diagonal().sign()).T


class Draws:
    """Draws the batch of any step: patches, ratios, and every so often a fresh sampling matrix.

    On a GPU the processor, which is idle, makes the next few matrices ahead of time; they are the same ones.
    """

    #: Matrices made ahead, each in a thread: a QR decomposition takes as long as 20 steps on a fast GPU, or longer.
    AHEAD = 4

    def __init__(
        self, patches: Patches, sampling: BlockSampling, recipe: Recipe, ratios: Sequence[float], seed: int,
        mine: slice = slice(None),
    ) -> None:  # fmt: skip
        """Draw for a recipe; `mine` is this process's part of every batch, which all processes draw alike."""
        self.patches, self.sampling, self.recipe, self.seed, self.mine = patches, sampling, recipe, seed, mine
        weights = torch.tensor([float(ratio) for ratio in ratios]) ** -recipe.low_ratios
        self.bounds = (weights / weights.sum()).cumsum(0)[:-1]
        self._epoch = 0
        ahead = self.AHEAD if patches.device.type == "cuda" and recipe.renew_matrix else 0
        # One thread each: several for one decomposition gain little and stand in the way of what feeds the GPU.
        self._workers = ThreadPoolExecutor(ahead, initializer=torch.set_num_threads, initargs=(1,)) if ahead else None
        self._made: dict[int, Future[Tensor]] = {}

    def draw(self, step: int) -> Tensor:
        """Return the patches of a step, (B, 1, side, side) in [0, 1], and set the operator to its ratios and matrix."""
        recipe, device = self.recipe, self.patches.device
        torch.manual_seed(seed_of(self.seed, step, NOISE))  # what a loss draws itself, such as a denoiser's noise
        if isinstance(self.sampling, MixedSampling):  # else a network of one matrix and one ratio
            self._renew(self.sampling, step)
            draws = recipe.batch if recipe.ratio_per_sample else 1
            uniform = torch.rand(draws, generator=generator(self.seed, step, RATIOS))
            which = torch.bucketize(uniform, self.bounds, right=True).expand(recipe.batch)[self.mine]
            self.sampling.choose(sent(which, device))
        return self.patches.draw(recipe.batch, generator(self.seed, step, PATCHES))[self.mine]

    def _renew(self, sampling: MixedSampling, step: int) -> None:
        """Replace the matrix where a step belongs to another one; the first is that of the run's matrix seed."""
        epoch = step // self.recipe.renew_matrix if self.recipe.renew_matrix else 0
        if epoch != self._epoch:
            self._epoch = epoch
            sampling.renew(self._rows(epoch))

    def _rows(self, epoch: int) -> Tensor:
        """Return the rows of an epoch's matrix, and have those of the next ones made."""
        if self._workers is None:
            return self._make(epoch)
        wanted = range(epoch, epoch + self.AHEAD + 1)
        self._made = {other: made for other, made in self._made.items() if other in wanted}
        for other in wanted:
            if other not in self._made:
                self._made[other] = self._workers.submit(self._make, other)
        return self._made.pop(epoch).result()

    def _make(self, epoch: int) -> Tensor:
        return orthonormal_rows(self.sampling.m, generator(self.seed, epoch, MATRIX))

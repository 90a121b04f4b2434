"""What a run costs beside its pixels, and what it has seen already: all that a plan for a clock rests on."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from istapp.basics import measuring
from istapp.basics.errors import UserError
from istapp.experiments.campaigns import Experiment
from istapp.experiments.evaluation import evaluate
from istapp.experiments.queue import Places
from istapp.images import datasets
from istapp.training import split, state, validation_psnr
from istapp.training.benchmark import operations_per_pixel

#: A budget must be worth its name: so many times the pixels over which the rate rises.
LEAST = 4


def operations(experiment: Experiment) -> float:
    """Return the operations of training on a pixel: the member with the most is taken for the slowest."""
    network = experiment.network().train().requires_grad_(True)
    sampling = network.operator(experiment.ratios, experiment.matrix_seed, 1)
    patch = torch.rand(1, 1, experiment.recipe.patch, experiment.recipe.patch)
    with torch.enable_grad():  # a page that only looks at networks has switched it off
        return operations_per_pixel(network, sampling, patch)


def pixels_seen(experiment: Experiment, places: Places) -> int:
    """Return the pixels behind the state that a run would go on from; 0 where it would begin."""
    for suffix in ("", ".stable"):
        prefix = places.runs / f"{experiment.id}{suffix}"
        found = state.peek(prefix)
        if found and found["decay_from"] is None:
            return found["pixels"]
    return 0


def least_pixels(experiment: Experiment, device_name: str) -> float:
    """Return the smallest budget that is worth training: the rate must have risen, and a few steps been taken."""
    recipe = experiment.recipe.on(device_name)
    return max(LEAST * min(recipe.warm_up, recipe.pixels / LEAST / 2), 8 * recipe.pixels_per_step)


@dataclass
class Costs:
    """Seconds of a run beside its training steps: before and while it trains, and after."""

    before: float
    after: float


def costs_of(experiment: Experiment, device_name: str, start_up: float) -> Costs:
    """Measure a validation and a reconstruction, once each after one to warm up, and count how many there will be."""
    where = torch.device(device_name)
    network = experiment.network().to(where).eval().requires_grad_(False)
    held_out = split(experiment.images())[1]

    def seconds(work: Callable[[], object]) -> float:
        """Return the seconds of one call, whatever comes of it."""

        def tried() -> None:
            """Work, and pass over a refusal."""
            with contextlib.suppress(UserError):  # what is not trained may well return nonsense
                work()

        (taken,) = measuring.take_turns([tried], where, least=1, most=1)
        return taken[0]

    ratio = experiment.ratios[:1]
    validation = len(experiment.ratios) * seconds(
        lambda: validation_psnr(network, held_out, ratio, matrix_seed=experiment.matrix_seed)
    )
    photo = datasets.load("photos", images=["camera"])
    own_seed = network.config.get("matrix_seed", 0)
    a_row = seconds(lambda: evaluate(network.eval(), photo, ratio, own_seed, device_name))
    area = photo[0].pixels.numel()
    rows = sum(len(experiment.ratios) * (0.02 + a_row * image / area) for image in _areas(experiment))
    peak = 4.0 if where.type == "cuda" else 2.0
    return Costs(start_up + 21 * validation + 2.0, rows + peak)


def _areas(experiment: Experiment) -> Iterator[int]:
    """Yield the pixels of every test image at hand."""
    for name in experiment.tests:
        try:
            yield from (image.gray().pixels.numel() for image in datasets.load(name))
        except UserError:
            continue

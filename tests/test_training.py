"""Training: patches, recipes, and runs that can be stopped, killed, continued and dealt out."""

import contextlib
import dataclasses
import math
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
import unittest.mock
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed
from torch.utils._python_dispatch import TorchDispatchMode

from istapp.basics.errors import UserError
from istapp.experiments import campaigns
from istapp.images import datasets
from istapp.images.datasets import Image
from istapp.method.wrapping import as_published
from istapp.methods.gdn import GDN
from istapp.methods.ista_net_plus import ISTANetPlus
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.metrics import log_mean_squared, mean_squared, power_mean_squared, psnr
from istapp.sampling import MixedSampling
from istapp.training import (
    Recipe,
    Result,
    Run,
    first,
    gradients,
    of_header,
    ours,
    released,
    split,
    state,
    train,
    trainer,
    validation_psnr,
)
from istapp.training.draws import Draws
from istapp.training.muon import Muon, orthogonalise
from istapp.training.parallel import Peers
from istapp.training.patches import Patches
from istapp.training.trainer import Trainer

CPU = torch.device("cpu")


def pictures(count: int = 3, side: int = 80) -> list[Image]:
    pixels = datasets.photo("astronaut").gray().pixels
    return [Image(f"p{i}", pixels[90 * i : 90 * i + side, 50 : 50 + side]) for i in range(count)]


def a_run(keep: Path | None = None, recipe: Recipe | None = None, **more: object) -> Run:
    torch.manual_seed(3)
    recipe = recipe or ours(12 * 4 * 33**2, batch=4, blocks=1, warm_up=2 * 4 * 33**2)
    given_ = {"validate_every": 4, "quiet": True, "checkpoint_seconds": 0.0, **more}
    return Run(ISTANetPP(2, 4), pictures(), recipe, (0.1, 0.5), seed=7, keep=keep, **given_)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------- precision


@pytest.mark.parametrize(("able", "expected"), [({"amx_bf16": True}, "bfloat16"), ({"avx2": True}, "float32")])
def test_bfloat16_is_left_to_machines_that_have_it(
    able: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert a_run().precision == expected
    assert a_run(precision="bfloat16").precision == "bfloat16"


def test_a_run_goes_on_in_another_precision(tmp_path: Path) -> None:
    """A state travels from a machine with bfloat16 to one without."""
    train(a_run(tmp_path / "run", precision="bfloat16"), minutes=0)
    resumed = train(a_run(tmp_path / "run", precision="float32"))
    assert resumed.done and resumed.step > 1


# ---------------------------------------------------------------- patches


def test_crops_are_uniform_over_images_positions_and_turns() -> None:
    """A 3 x 3 patch from a 4 x 5 image of distinct pixels: 2 x 3 positions times 8 turns, all equally often."""
    side, count = 3, 48_000
    image = Image("numbers", torch.arange(20, dtype=torch.uint8).view(4, 5))
    drawn = (255 * Patches([image], side, CPU).draw(count, torch.Generator().manual_seed(0))).round().long()
    kinds, counts = drawn.view(count, -1).unique(dim=0, return_counts=True)
    assert len(kinds) == 48
    expected = count / 48
    assert ((counts - expected) ** 2 / expected).sum() < 85  # chi squared, 47 degrees of freedom: p = 0.0006


def test_patches_come_from_images_of_any_size_but_not_from_too_small_ones() -> None:
    sizes = [(5, 9), (7, 4), (4, 4), (3, 9)]
    images = [Image(str(i), torch.full(size, i, dtype=torch.uint8)) for i, size in enumerate(sizes)]
    patches = Patches(images, 4, CPU)
    drawn = (255 * patches.draw(3000, torch.Generator().manual_seed(1))).round()
    assert patches.count == 3 and set(drawn.unique().tolist()) == {0, 1, 2}
    assert (drawn.flatten(1).std(1) == 0).all()  # no patch reaches into the next image
    with pytest.raises(UserError, match="no training image is as large as a patch of 10 x 10"):
        Patches(images, 10, CPU)


@given(st.integers(1, 400))
def test_nothing_is_lost_between_training_and_validation(count: int) -> None:
    images = [Image(str(i), torch.tensor([[i % 256, i // 256]], dtype=torch.uint8)) for i in range(count)]
    training, validation = split(images)
    if count >= 20:
        assert len(validation) == count // 20
        assert sorted(i.name for i in training + validation) == sorted(i.name for i in images)
        assert not {i.hash for i in training} & {i.hash for i in validation}
    else:
        assert len(training) == count and len(validation) == 1


def test_validation_reconstructs_as_the_network_will_be_used() -> None:
    """A network for single blocks that is shown whole images in validation is judged by what it never learned."""
    torch.manual_seed(0)
    network, images = GDN(channels=4, ratio=0.3), pictures(1, side=66)
    sampling, x = network.sampling(0.3), images[0].luma()
    with torch.no_grad():
        methods = (network.eval(), as_published(network))
        whole, alone = (psnr(method(sampling.A(x), sampling)[0], x[0]) for method in methods)
    assert abs(whole - alone) > 1e-3
    assert validation_psnr(network, images, [0.3]) == [pytest.approx(alone, abs=1e-4)]


def test_the_validation_split_meets_no_test_set(data_dir: Path) -> None:
    train400 = datasets.load("Train400")
    validation = split(train400)[1]
    assert len(validation) == 20
    held_out = {image.gray().hash for image in validation}
    for name in ("Set11", "BSD68", "BSD68-full", "photos"):
        assert not held_out & {image.gray().hash for image in datasets.load(name)}


# ---------------------------------------------------------------- recipes


def test_the_released_recipe_is_the_released_one() -> None:
    recipe = released(35e9)
    assert (recipe.patch, recipe.batch, recipe.ratio_per_sample) == (33, 64, False)
    assert (recipe.optimiser, recipe.error, recipe.rate) == ("adamw", "mse", 1e-4)
    assert {recipe.factor_at(pixels) for pixels in (0, 1, 1e6, 35e9)} == {1}
    assert recipe.steps == pytest.approx(500_000, rel=0.01)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_the_rate_rises_stays_and_falls(shape: str) -> None:
    recipe = ours(100e6, decay=0.4, decay_shape=shape)
    seen = [1e6 * n for n in range(101)]
    factors = [recipe.factor_at(p, 60e6 if p >= 60e6 else None) for p in seen]
    assert factors[0] == 0 and set(factors[1:61]) == {1.0}
    assert factors[60:] == sorted(factors[60:], reverse=True) and factors[80] == pytest.approx(0.5, abs=0.01)
    assert factors[-1] == pytest.approx(0 if shape == "linear" else 0.01)


def test_a_field_that_came_later_changes_a_run_only_where_it_is_used() -> None:
    assert "muon_decay" not in ours(1e9).identity and ours(1e9, muon_decay=0.1).identity["muon_decay"] == 0.1


def test_the_first_recipe_is_a_rise_and_half_a_cosine() -> None:
    recipe = first(1000 * 16 * 66**2)
    factors = [recipe.factor_at((n + 0.5) * recipe.pixels_per_step, 0.0) for n in range(recipe.steps)]
    assert recipe.steps == 1000 and factors.index(max(factors)) in range(15, 25)
    assert factors[-1] == pytest.approx(0.01, rel=0.01)


def test_an_old_header_says_what_it_is() -> None:
    """The headers of the first recipe had neither error nor optimiser."""
    old = {
        "name": "ours", "pixels": 700e6, "blocks": 2, "block": 33, "batch": 8, "rate": 1e-3, "warm_up": 0.02,
        "cosine": True, "ratio_per_sample": True, "renew_matrix": 50, "average": 0.9995, "clip": 1.0,
        "weight_decay": 0.0,
    }  # fmt: skip
    assert of_header(old) == first(700e6, batch=8, average=0.9995, renew_matrix=50)
    assert str(of_header(old)) == "AdamW 0.001, mse, 8 patches of 2x2 blocks"
    recipe = ours(3e6, renew_matrix=5)
    assert of_header(dataclasses.asdict(recipe)) == recipe


@pytest.mark.parametrize(("changes", "words"), [
    ({"optimiser": "moun"}, "the optimiser is one of adamw, muon, not 'moun' .did you mean 'muon'"),
    ({"error": "psnr"}, "the error is one of published, mse"),
    ({"decay_shape": "square"}, "the decay is one of linear, cosine"),
    ({"pixels": 1000.0}, "a budget of 1000 pixels is too short for one step, which sees 34,848"),
    ({"pixels": float("nan")}, "too short"),
])  # fmt: skip
def test_an_impossible_recipe_is_one_clear_line(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ours(**{"pixels": 1e6} | changes)


# ---------------------------------------------------------------- error measures


def test_the_logarithm_weighs_every_image_by_its_own_error() -> None:
    """Its gradient is that of the mean squared error with each image divided by its own."""
    torch.manual_seed(0)
    reference = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    scales = torch.tensor([0.01, 0.1, 1.0]).view(3, 1, 1, 1)
    estimate = (reference + scales * torch.randn_like(reference)).requires_grad_()
    (gradient,) = torch.autograd.grad(log_mean_squared(estimate, reference, 1e-5), estimate)
    each = (estimate - reference).square().mean((1, 2, 3), keepdim=True)
    (plain,) = torch.autograd.grad(mean_squared(estimate, reference), estimate)
    torch.testing.assert_close(gradient, plain / (each + 1e-5))


@given(st.floats(0.01, 1.0))
def test_the_powers_of_the_error_end_in_its_logarithm(power: float) -> None:
    torch.manual_seed(1)
    a, b = torch.rand(2, 4, 1, 6, 6, dtype=torch.float64)
    each = (a - b).square().mean((1, 2, 3)) + 1e-5
    torch.testing.assert_close(power_mean_squared(a, b, power), (each**power).mean() / power)
    near = power_mean_squared(a, b, 1e-6) - 1e6
    torch.testing.assert_close(near, log_mean_squared(a, b), atol=1e-4, rtol=0)


# ---------------------------------------------------------------- Muon


@given(st.integers(1, 4), st.integers(2, 12), st.integers(2, 12), st.integers(0, 10**6))
def test_muon_turns_a_matrix_into_its_nearest_isometry(count: int, rows: int, columns: int, seed: int) -> None:
    """Singular vectors stay, singular values come near one: what the polynomial does to them, value by value."""
    random = torch.Generator().manual_seed(seed)
    matrices = torch.randn(count, rows, columns, generator=random, dtype=torch.float64)
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    s = s / (s.square().sum(1, keepdim=True).sqrt() + 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(orthogonalise(matrices), u @ torch.diag_embed(s) @ v)
    assert (orthogonalise(torch.zeros(1, rows, columns)) == 0).all()


def test_muon_steps_all_weights_as_one_alone_would_be_stepped() -> None:
    torch.manual_seed(0)
    together = [torch.nn.Parameter(torch.randn(shape)) for shape in [(4, 4, 3, 3), (8, 2), (4, 4, 3, 3)]]
    alone = [torch.nn.Parameter(weight.detach().clone()) for weight in together]
    optimisers = [Muon(together, 0.1, 0.9), *(Muon([weight], 0.1, 0.9) for weight in alone)]
    for _ in range(3):
        for a, b in zip(together, alone):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    for a, b in zip(together, alone):
        torch.testing.assert_close(a, b)
    weight = torch.nn.Parameter(torch.zeros(8, 2))
    weight.grad = torch.randn(8, 2)
    Muon([weight], 0.1).step()  # tall: the step is longer by the root of rows over columns
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(0.2, rel=0.35)


def test_weights_that_learn_nothing_walk_away_unless_they_decay() -> None:
    """A gradient of noise moves them as far as a true one: by a random walk, or up to a bound with decay."""
    random = torch.Generator().manual_seed(0)
    start = 0.1 * torch.randn(8, 8, 3, 3, generator=random)
    norms = {}
    for decay in (0.0, 1.0):
        weight = torch.nn.Parameter(start.clone())
        muon = Muon([weight], 0.05, weight_decay=decay)
        for _ in range(600):
            weight.grad = torch.randn(weight.shape, generator=random)
            muon.step()
        norms[decay] = float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2))
    largest = 1.2  # singular value of a step, and so of a decaying sum of them
    assert norms[1.0] < largest and norms[0.0] > 3 * norms[1.0]


def test_a_network_says_what_muon_turns_and_what_begins_silent() -> None:
    network = ISTANetPP(2, 4)
    trainer = Trainer(Run(network, pictures(), ours(1e6), (0.1, 0.5), quiet=True))
    turned = {id(p) for p in trainer.optimisers[0].param_groups[0]["params"]}
    assert {n for n, p in network.named_parameters() if id(p) in turned} == {
        f"stages.{k}.block{b}.conv{c}.weight" for k in (0, 1) for b in (1, 2) for c in (1, 2)
    }
    x = torch.rand(1, 1, 66, 66)
    sampling = network.sampling(0.1)
    for r, estimate in network.trace(sampling.A(x), sampling):
        assert torch.equal(r, estimate)  # a silent stage is a gradient step


# ---------------------------------------------------------------- runs


def test_training_improves_every_network() -> None:
    recipe = ours(150 * 4 * 33**2, batch=4, blocks=1, rate=5e-3, average=0.9, warm_up=20 * 4 * 33**2)
    for build, ratios in ((lambda: ISTANetPP(2, 6), (0.1, 0.5)), (lambda: ISTANetPlus(2, 6, 0.3), (0.3,))):
        torch.manual_seed(0)  # before the network is built: one in ten random starts learns nothing in so few steps
        result = train(Run(build(), pictures(), recipe, ratios, quiet=True, validate_every=10))
        means = [sum(v for k, v in row.items() if k.startswith("psnr")) for row in result.curve]
        assert result.done and means[-1] > means[0] and result.curve[-1]["loss"] < result.curve[0]["loss"]


@pytest.mark.parametrize("recipe", [
    ours(12 * 4 * 33**2, batch=4, blocks=1),
    ours(12 * 4 * 66**2, batch=4, blocks=2, renew_matrix=5),
    ours(12 * 4 * 33**2, batch=4, blocks=1, decay_blocks=2, decay=0.5),
    first(12 * 4 * 33**2, batch=4, blocks=1),
    released(12 * 64 * 33**2),
], ids=["ours", "fresh matrices", "large patches at the end", "first", "released"])  # fmt: skip
def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(recipe: Recipe, tmp_path: Path) -> None:
    whole = train(a_run(recipe=recipe))
    calls = 0
    while not (result := train(a_run(tmp_path / "run", recipe), minutes=0)).done:
        calls += 1
    assert calls >= 10 and result.step == whole.step == 12
    assert same(result.weights, whole.weights)
    timeless = [{k: v for k, v in row.items() if k != "minutes"} for row in whole.curve]
    assert [{k: v for k, v in row.items() if k != "minutes"} for row in result.curve] == timeless


def test_each_machine_of_a_run_keeps_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def go_on(device: str, until: int) -> Result:
        monkeypatch.setattr(trainer, "device_name", lambda _: device)
        while (result := train(a_run(tmp_path / "run"), minutes=0)).step < until:
            pass
        return result

    assert [each["device"] for each in go_on("slow", 3).machines] == ["slow"]
    kept = state.peek(tmp_path / "run")
    kept["seconds"] += 3600
    kept["machines"][-1]["minutes"] += 60
    state.store(tmp_path / "run", kept["step"], kept)
    result = go_on("fast", 12)
    slow, fast = result.machines
    assert (slow["device"], slow["steps"], fast["device"], fast["steps"]) == ("slow", 3, "fast", 9)
    assert slow["minutes"] > 60 > fast["minutes"] > 0 and slow["pixels"] + fast["pixels"] == result.pixels
    assert result.minutes == pytest.approx(slow["minutes"] + fast["minutes"])
    assert result.pixels_per_second == pytest.approx(fast["pixels"] / 60 / fast["minutes"])


def test_a_state_from_before_machines_were_told_apart_goes_on(tmp_path: Path) -> None:
    train(a_run(tmp_path / "run"), minutes=0)
    kept = state.peek(tmp_path / "run")
    del kept["machines"]
    state.store(tmp_path / "run", kept["step"], kept)
    unknown, known = train(a_run(tmp_path / "run")).machines
    assert (unknown["device"], unknown["steps"], known["steps"]) == ("unknown", 1, 11)


STEP = 4 * 33**2


def budget(steps: int, **changes: object) -> Recipe:
    return ours(**{"pixels": steps * STEP, "batch": 4, "blocks": 1, "warm_up": 2 * STEP, "decay": 0.25} | changes)


def test_the_speed_that_settles_a_budget_is_that_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What validations take is planned apart, and would count twice."""
    told: list[float] = []

    def slowly(*_: object, **__: object) -> list[float]:
        time.sleep(1)
        return [0.0, 0.0]

    def settle(pixels: int, speed: float) -> float:
        told.append(speed)
        return pixels / 0.7

    monkeypatch.setattr(trainer, "validation_psnr", slowly)
    result = train(a_run(recipe=budget(40), validate_every=8, settle=settle))
    assert len(told) == 1 and min(told[0], result.pixels_per_second) > 9 * STEP  # not 8 steps and a second


def test_a_run_that_is_done_is_extended_as_if_it_had_never_ended(tmp_path: Path) -> None:
    keep = tmp_path / "run"
    short = train(a_run(keep, budget(8)))
    assert short.done and short.step == 8 and state.exists(tmp_path / "run.stable")
    longer = train(a_run(keep, budget(16)))
    assert same(longer.weights, train(a_run(recipe=budget(16))).weights)
    assert longer.step == 16 and longer.pixels == 16 * STEP
    # From the stable state, which saw 12 steps by now, the fall may also take another shape.
    other = budget(16, decay_shape="cosine")
    assert same(train(a_run(keep, other)).weights, train(a_run(recipe=other)).weights)


def test_a_fall_that_was_broken_off_goes_on_or_is_forgotten_for_a_larger_budget(tmp_path: Path) -> None:
    keep = tmp_path / "run"
    while train(a_run(keep, budget(8)), minutes=0).step < 7:  # two steps of the fall are left
        pass
    assert same(train(a_run(keep, budget(8))).weights, train(a_run(recipe=budget(8))).weights)
    while train(a_run(keep, budget(12)), minutes=0).step < 11:
        pass
    assert same(train(a_run(keep, budget(20))).weights, train(a_run(recipe=budget(20))).weights)


def test_a_budget_smaller_than_what_was_seen_is_refused(tmp_path: Path) -> None:
    train(a_run(tmp_path / "run", budget(16)))
    with pytest.raises(UserError, match="has seen .* more than the first 75 % of .* name a budget of at least"):
        train(a_run(tmp_path / "run", budget(4)))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    class Bursting(ISTANetPP):
        steps = 0

        def loss(self, x, sampling, error=mean_squared):
            Bursting.steps += 1
            return super().loss(x, sampling, error) * (math.inf if Bursting.steps == 5 else 1)

    def job() -> Run:
        torch.manual_seed(3)
        return Run(Bursting(2, 4), pictures(), budget(12), (0.1, 0.5), seed=7, keep=tmp_path / "run", quiet=True,
                   checkpoint_seconds=0.0, validate_every=4)  # fmt: skip

    with pytest.raises(UserError, match="step 5: a loss, weight or moment of ista-net-pp is not finite"):
        train(job())
    assert state.restore(tmp_path / "run", job().identity)["step"] == 4
    assert same(train(job()).weights, train(a_run(recipe=budget(12))).weights)  # what follows is as if nothing had been


def test_running_moments_that_are_not_finite_stop_the_run() -> None:
    """A normalised network that blows up keeps finite weights and, in training, a finite loss."""
    run = dataclasses.replace(a_run(recipe=budget(8)), network=GDN(channels=4, ratio=0.1), ratios=(0.1,))
    trainer = Trainer(run)
    run.network.R.blocks[0].norm1.running_var.fill_(torch.inf)
    with pytest.raises(UserError, match="a loss, weight or moment of gdn is not finite any more"):
        trainer.run_for(1)


def test_a_state_holds_no_matrix(tmp_path: Path) -> None:
    run = Run(ISTANetPP(), pictures(), ours(1e6, renew_matrix=1), (0.1,), keep=tmp_path / "run", quiet=True)
    train(run, minutes=0)
    assert sum(path.stat().st_size for path in tmp_path.glob("run.state-*")) < 9.5 * 2**20


def test_a_step_is_drawn_alike_whatever_came_before(tmp_path: Path) -> None:
    """Patches, ratios and matrix follow from seed and step alone."""

    def draws() -> Draws:
        recipe = ours(1e6, batch=3, blocks=1, renew_matrix=4)
        return Draws(Patches(pictures(), 33, CPU), MixedSampling((0.1, 0.5), batch=3), recipe, (0.1, 0.5), seed=5)

    ones, other = draws(), draws()
    for step in (3, 4, 9):
        x = ones.draw(step)
    again = other.draw(9)
    assert torch.equal(x, again) and torch.equal(ones.sampling.phi, other.sampling.phi)
    assert torch.equal(ones.sampling.ratio, other.sampling.ratio)
    phi = other.sampling.phi
    torch.testing.assert_close(phi @ phi.T, torch.eye(len(phi), dtype=torch.float64), atol=1e-12, rtol=0)
    assert not torch.equal(ones.draw(10), x)


def test_low_ratios_can_be_drawn_more_often() -> None:
    draws = Draws(
        Patches(pictures(), 33, CPU), MixedSampling((0.1, 0.4), batch=4000), ours(1e9, batch=4000, low_ratios=1.0),
        (0.1, 0.4), seed=0,
    )  # fmt: skip
    draws.patches = Patches([Image("one", torch.zeros(33, 33, dtype=torch.uint8))], 33, CPU)
    draws.draw(0)
    assert (draws.sampling.ratio < 0.2).float().mean().item() == pytest.approx(0.8, abs=0.03)


SLOWLY = 200


def train_slowly(keep: Path) -> None:
    """What the process to be killed does."""
    torch.set_num_threads(1)
    train(a_run(keep, ours(SLOWLY * 4 * 33**2, batch=4, blocks=1), validate_every=100))


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.verify)])
def test_killed_at_random_moments_and_continued(times: int, tmp_path: Path) -> None:
    keep, chance = tmp_path / "run", random.Random(0)
    processes = multiprocessing.get_context("forkserver")  # imports torch once for all
    processes.set_forkserver_preload(["istapp.training"])
    for _ in range(times):
        before = sorted(tmp_path.glob("run.state-*"))
        process = processes.Process(target=train_slowly, args=(keep,))
        process.start()
        deadline = time.monotonic() + 120
        while process.is_alive() and sorted(tmp_path.glob("run.state-*")) == before and time.monotonic() < deadline:
            time.sleep(0.005)  # until it has taken up the run
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.join()
    recipe = ours(SLOWLY * 4 * 33**2, batch=4, blocks=1)
    result = train(a_run(keep, recipe, validate_every=100, checkpoint_seconds=60))
    assert result.done and result.step == SLOWLY
    assert same(result.weights, train(a_run(None, recipe, validate_every=100)).weights)
    assert len(list(tmp_path.glob("run.state-*"))) == 1  # what the kills left behind is swept up


def test_ctrl_c_stops_after_the_step_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_step, before = Trainer.one_step, signal.getsignal(signal.SIGINT)

    def third_is_interrupted(trainer: Trainer) -> float:
        if trainer.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return one_step(trainer)

    monkeypatch.setattr(Trainer, "one_step", third_is_interrupted)
    result = train(a_run(tmp_path / "run", checkpoint_seconds=1e9))
    assert not result.done and result.step == 3 and state.exists(tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before  # Ctrl-C is what it was
    monkeypatch.undo()
    assert same(train(a_run(tmp_path / "run")).weights, train(a_run()).weights)


def test_a_damaged_or_foreign_state_is_refused(tmp_path: Path) -> None:
    train(a_run(tmp_path / "run"), minutes=0)
    other = a_run(tmp_path / "run", ours(12 * 4 * 33**2, batch=4, blocks=1, rate=5e-4))
    with pytest.raises(UserError, match="belongs to another run .it differs in recipe"):
        train(other)
    (file,) = tmp_path.glob("run.state-*.pt")
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(UserError, match="is damaged"):
        train(a_run(tmp_path / "run"))
    file.write_bytes(b"")
    with pytest.raises(UserError, match="is damaged"):
        train(a_run(tmp_path / "run"))


#: The names that every state has.
STATE = {
    "identity": {}, "network": {}, "average": {}, "optimisers": [], "step": 1, "pixels": 1, "seconds": 0.0,
    "curve": [], "ending": {}, "decay_from": None, "total": 0.0, "counted": 0,
}  # fmt: skip


@pytest.mark.parametrize("change", [
    {"step": "many"}, {"pixels": None}, {"identity": 3}, {"decay_from": "x"}, {"optimisers": []}, {"network": {}},
    {"average": {"a": 1}}, {"machines": [{}]}, {"machines": 3}, {"curve": [1]}, {"total": "x"},
], ids=str)  # fmt: skip
def test_a_state_that_says_nonsense_is_refused(change: dict, tmp_path: Path) -> None:
    train(a_run(tmp_path / "run"), minutes=0)
    whole = state.peek(tmp_path / "run")
    state.store(tmp_path / "run", 1, whole | change)
    with pytest.raises(UserError, match="is damaged .*; remove it to start this run anew"):
        train(a_run(tmp_path / "run"), minutes=0)
    state.store(tmp_path / "run", 1, whole | {"what comes later": 3})
    assert train(a_run(tmp_path / "run"), minutes=0).step == 2


def test_a_large_state_travels_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PIECE", 1000)
    content = STATE | {"identity": {"a": 1}, "x": torch.arange(2000.0)}
    state.store(tmp_path / "run", 3, content)
    pieces = sorted(tmp_path.glob("run.state-*"))
    assert len(pieces) > 5 and all(path.stat().st_size <= 1000 for path in pieces)
    assert torch.equal(state.restore(tmp_path / "run", {"a": 1})["x"], content["x"])
    # A newer state that was cut off while being written is passed over.
    (tmp_path / "run.state-000000009-1of4.pt").write_bytes(b"half")
    assert torch.equal(state.restore(tmp_path / "run", {"a": 1})["x"], content["x"])


def test_a_full_disk_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.store(tmp_path / "run", 1, STATE | {"x": torch.ones(1)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        state.store(tmp_path / "run", 2, STATE | {"x": torch.zeros(1)})
    assert state.restore(tmp_path / "run", {})["x"].item() == 1
    assert len(list(tmp_path.iterdir())) == 1


TWO = """
import sys, torch
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_training import a_run
from istapp.training import train
torch.set_num_threads(1)
result = train(a_run(Path(sys.argv[1]), precision="float32"))
assert result.done
"""


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, str(script), str(tmp_path / "run"), str(Path(__file__).parent)]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300,
                          env=os.environ | {"PYTHONPATH": root})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    run = a_run(precision="float32")
    alone = train(run).weights
    stored = state.restore(tmp_path / "run", run.identity)["average"]
    # The first step size is idle with orthonormal rows (chapter 04): its gradient is rounding, which Adam enlarges,
    # as Muon does with small singular values.
    for name, tensor in alone.items():
        used = slice(1, None) if name.startswith("condition.4") else slice(None)
        torch.testing.assert_close(stored[name][used], tensor[used], atol=5e-5, rtol=1e-3)


# ---------------------------------------------------------------- telling


def test_a_terminal_has_one_line_of_progress_and_a_log_one_for_each_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: a job whose output went to a file told nothing until it was over, which took half an hour and more."""
    train(a_run(tmp_path / "log", quiet=False))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(", ")[0] for line in lines] == [f"log: 0.{part} of 0.1 Mpixel" for part in (0, 0, 1)]
    assert all(re.search(r"\d s left, validation \d+\.\d\d dB$", line) for line in lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    train(a_run(tmp_path / "terminal", quiet=False))
    shown = capsys.readouterr().err
    assert shown.startswith("\r\x1b[Kterminal: 0.0 of 0.1 Mpixel") and shown.endswith("\r\x1b[K") and "\n" not in shown
    train(a_run(tmp_path / "quiet"))
    assert capsys.readouterr() == ("", "")


# ---------------------------------------------------------------- ways to compute a gradient


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A compiler that takes no time and remembers how often it was called."""
    calls: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> object:
        calls.append(len(graph.graph.nodes))
        return graph.forward

    monkeypatch.setattr(gradients, "BACKEND", backend)
    gradients._shared.clear()
    torch._dynamo.reset()
    yield calls
    gradients._shared.clear()
    torch._dynamo.reset()


def test_compiled_stages_compute_the_same_by_one_graph_for_all(counting: list[int]) -> None:
    """80 steps with changing ratios, renewed matrices and validations in between compile one stage, once."""
    recipe = budget(80, batch=2, pixels=80 * 2 * 33**2, renew_matrix=30)
    plain, compiled = (Run(ISTANetPP(3, 2), pictures(), recipe, (0.1, 0.5), quiet=True, mode=mode, validate_every=40,
                           precision="float32") for mode in ("eager", "compiled"))  # fmt: skip
    compiled.network.load_state_dict(plain.network.state_dict())
    results = [train(run) for run in (plain, compiled)]
    assert len(counting) == 1 and results[1].step == 80
    assert abs(results[0].curve[-1]["psnr_50"] - results[1].curve[-1]["psnr_50"]) < 0.05
    assert same(*(result.weights for result in results))


def test_a_recorded_gradient_is_given_every_batch(counting: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The bookkeeping around a CUDA graph, with a stand-in that computes again where a GPU would replay."""
    recorded: list[gradients.Graphed] = []

    class Graph:
        def replay(self) -> None:
            (own,) = recorded
            fixed = [weight.grad for weight in own.network.parameters()]
            own.value.copy_(gradients.Gradient.__call__(own, own.x))
            for memory, weight in zip(fixed, own.network.parameters()):
                memory.copy_(weight.grad)
                weight.grad = memory

    def stream(*_: object) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext(unittest.mock.MagicMock())

    record = gradients.Graphed._record
    monkeypatch.setattr(gradients.Graphed, "_record", lambda self, x: (recorded.append(self), record(self, x)))
    stand_ins = {"CUDAGraph": Graph, "graph": stream, "stream": stream}
    for name, stand_in in (stand_ins | dict.fromkeys(("Stream", "current_stream"), unittest.mock.MagicMock)).items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch.random, "fork_rng", stream)
    recipe = budget(12, renew_matrix=5)
    graphed = train(a_run(recipe=recipe, mode="graph", precision="float32"))
    assert len(recorded) == 1 and recorded[0].graph is not None
    assert same(graphed.weights, train(a_run(recipe=recipe, precision="float32")).weights)


class Waits(TorchDispatchMode):
    """Counts what makes a tensor of numbers of the processor's, or tells the processor one of a tensor's."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: object, _: object, args: tuple = (), kwargs: dict | None = None) -> object:
        if any(name in str(function) for name in ("lift_fresh", "_local_scalar_dense", "nonzero")):
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", sorted({each.method: each.id for each in campaigns.LAPTOP}.values()))
def test_a_graph_can_record_the_loss_of_every_network(name: str) -> None:
    """Nothing passes between processor and GPU in it; that is what CUDA refuses to record."""
    experiment = campaigns.ALL[name]
    network, recipe = experiment.network().train(), experiment.recipe
    sampling = network.operator(experiment.ratios, experiment.matrix_seed, 8)
    loss = network.loss if recipe.measure() is None else partial(network.loss, error=recipe.measure())
    x = torch.rand(8, 1, recipe.patch, recipe.patch)
    loss(x, sampling)  # what is set up once
    with Waits() as waits:
        loss(x, sampling).backward()
    assert waits.found == []


def test_muon_and_the_loss_compile_without_a_break() -> None:
    matrices = torch.randn(3, 8, 72)
    whole = torch.compile(orthogonalise, backend="eager", fullgraph=True)
    torch.testing.assert_close(whole(matrices), orthogonalise(matrices))
    network, sampling = ISTANetPP(2, 4), MixedSampling((0.1, 0.5), batch=4)
    x = torch.rand(4, 1, 33, 33)
    loss = torch.compile(lambda x: network.loss(x, sampling, log_mean_squared), backend="eager", fullgraph=True)
    torch.testing.assert_close(loss(x), network.loss(x, sampling, log_mean_squared))


@pytest.mark.parametrize("fault", [RuntimeError("CUDA out of memory"), ImportError("no compiler")])
def test_a_mode_that_fails_gives_way_to_a_simpler_one(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(gradients.Compiled, "__call__", fail)
    monkeypatch.setattr(gradients.Graphed, "__call__", fail)
    run = a_run(mode="graph")
    assert same(train(run).weights, train(a_run()).weights)
    said = capsys.readouterr().err
    assert "graph gradients fail here, so on with compiled" in said and "on with eager" in said
    with pytest.raises(type(fault)):
        trainer = Trainer(a_run(mode="graph"))
        trainer.strict = True
        trainer.one_step()


def test_matrices_that_are_made_ahead_are_the_same_ones() -> None:
    """As on a GPU, whose idle processor makes the next ones while it computes."""
    recipe = ours(1e6, batch=2, blocks=1, renew_matrix=2)
    alone, ahead = (Draws(Patches(pictures(), 33, CPU), MixedSampling((0.1,), batch=2), recipe, (0.1,), seed=5)
                    for _ in range(2))  # fmt: skip
    ahead._workers = ThreadPoolExecutor(2)
    for step in (0, 1, 2, 3, 4, 7, 30):
        assert torch.equal(alone.draw(step), ahead.draw(step))
        assert torch.equal(alone.sampling.phi, ahead.sampling.phi)
    assert len(ahead._made) == Draws.AHEAD


def test_float16_scales_its_loss(tmp_path: Path) -> None:
    """For GPUs without bfloat16: a run in float16 learns, and its scale is kept with its state."""
    keep = tmp_path / "run"
    train(a_run(keep, precision="float16", validate_every=2), minutes=0)
    assert state.restore(keep, a_run().identity)["scaler"]["scale"] > 1
    result = train(a_run(keep, precision="float16"))
    exact = train(a_run(precision="float32"))
    # Its first steps overflow and are left out, until the scale is found.
    assert result.done and abs(result.curve[-1]["psnr_50"] - exact.curve[-1]["psnr_50"]) < 1


def test_what_overflows_for_one_optimiser_stops_the_step_of_all() -> None:
    """In float16 a gradient may be no number; the clipping would hand that on to every other one."""
    trainer = Trainer(a_run(precision="float16"))
    compute = trainer.compute
    for _ in range(15):  # until the scale has settled
        trainer.one_step()

    def broken(x: torch.Tensor) -> torch.Tensor:
        """Compute as usual, and spoil one number."""
        loss = compute(x)
        trainer.network.get_parameter("stages.0.block1.conv1.weight").grad[0, 0, 0, 0] = math.nan
        return loss

    trainer.compute, before = broken, trainer.scaler.get_scale()
    weights = [p.detach().clone() for p in trainer.network.parameters()]
    trainer.one_step()
    assert trainer.scaler.get_scale() < before
    assert all(torch.equal(p, kept) for p, kept in zip(trainer.network.parameters(), weights, strict=True))


def test_every_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "set_device", said.append)
    monkeypatch.setattr(distributed, "init_process_group", said.append)
    Peers("cuda")
    Peers("cpu")
    assert said == [1, "nccl", "gloo"]

"""Training: patches, recipes, and runs that can be stopped, killed, continued and dealt out."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from istapp import datasets
from istapp.datasets import Image
from istapp.errors import UserError
from istapp.methods.ista_net_plus import ISTANetPlus
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.training import Recipe, Run, ours, released, split, state, train
from istapp.training.patches import Patches
from istapp.training.trainer import Trainer

CPU = torch.device("cpu")


def pictures(count: int = 3, side: int = 80) -> list[Image]:
    pixels = datasets.photo("astronaut").gray().pixels
    return [Image(f"p{i}", pixels[90 * i : 90 * i + side, 50 : 50 + side]) for i in range(count)]


def a_run(keep: Path | None = None, recipe: Recipe | None = None, **more: object) -> Run:
    torch.manual_seed(3)
    recipe = recipe or ours(12 * 4 * 33**2, batch=4, blocks=1)
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
    assert {recipe.rate_at(step) for step in (0, 1, 1000, recipe.steps - 1)} == {1e-4}
    assert recipe.steps == pytest.approx(500_000, rel=0.01)


def test_warm_up_rises_and_the_cosine_falls_to_a_hundredth() -> None:
    recipe = ours(1000 * 16 * 66**2)
    rates = [recipe.rate_at(step) for step in range(recipe.steps)]
    rise = round(0.02 * recipe.steps)
    assert recipe.steps == 1000 and max(rates) == pytest.approx(recipe.rate)
    assert rates[:rise] == sorted(rates[:rise]) and rates[rise:] == sorted(rates[rise:], reverse=True)
    assert rates[-1] == pytest.approx(recipe.rate / 100, rel=0.01)


# ---------------------------------------------------------------- runs


def test_training_improves_every_network() -> None:
    for network, ratios in ((ISTANetPP(2, 6), (0.1, 0.5)), (ISTANetPlus(2, 6, 0.3), (0.3,))):
        torch.manual_seed(0)
        recipe = ours(60 * 4 * 33**2, batch=4, blocks=1, rate=2e-3, average=0.9)
        result = train(Run(network, pictures(), recipe, ratios, quiet=True, validate_every=20))
        means = [sum(v for k, v in row.items() if k.startswith("psnr")) for row in result.curve]
        assert result.done and means[-1] > means[0] and result.curve[-1]["loss"] < result.curve[0]["loss"]


@pytest.mark.parametrize("recipe", [
    ours(12 * 4 * 33**2, batch=4, blocks=1),
    ours(12 * 4 * 66**2, batch=4, blocks=2, renew_matrix=5),
    released(12 * 64 * 33**2),
], ids=["ours", "fresh matrices", "released"])  # fmt: skip
def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(recipe: Recipe, tmp_path: Path) -> None:
    whole = train(a_run(recipe=recipe))
    calls = 0
    while not (result := train(a_run(tmp_path / "run", recipe), minutes=0)).done:
        calls += 1
    assert calls >= 10 and result.step == whole.step == 12
    assert same(result.weights, whole.weights)
    timeless = [{k: v for k, v in row.items() if k != "minutes"} for row in whole.curve]
    assert [{k: v for k, v in row.items() if k != "minutes"} for row in result.curve] == timeless


def train_slowly(keep: Path) -> None:
    """What the process to be killed does."""
    torch.set_num_threads(1)
    train(a_run(keep, ours(400 * 4 * 33**2, batch=4, blocks=1), validate_every=100))


def test_killed_at_ten_random_moments_and_continued(tmp_path: Path) -> None:
    keep, chance = tmp_path / "run", random.Random(0)
    processes = multiprocessing.get_context("forkserver")  # imports torch once for all ten
    processes.set_forkserver_preload(["istapp.training"])
    for _ in range(10):
        before = sorted(tmp_path.glob("run.state-*"))
        process = processes.Process(target=train_slowly, args=(keep,))
        process.start()
        deadline = time.monotonic() + 120
        while process.is_alive() and sorted(tmp_path.glob("run.state-*")) == before and time.monotonic() < deadline:
            time.sleep(0.005)  # until it has taken up the run
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.join()
    recipe = ours(400 * 4 * 33**2, batch=4, blocks=1)
    result = train(a_run(keep, recipe, validate_every=100, checkpoint_seconds=60))
    assert result.done and result.step == 400
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


def test_a_large_state_travels_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PIECE", 1000)
    content = {"identity": {"a": 1}, "x": torch.arange(2000.0)}
    state.store(tmp_path / "run", 3, content)
    pieces = sorted(tmp_path.glob("run.state-*"))
    assert len(pieces) > 5 and all(path.stat().st_size <= 1000 for path in pieces)
    assert torch.equal(state.restore(tmp_path / "run", {"a": 1})["x"], content["x"])
    # A newer state that was cut off while being written is passed over.
    (tmp_path / "run.state-000000009-1of4.pt").write_bytes(b"half")
    assert torch.equal(state.restore(tmp_path / "run", {"a": 1})["x"], content["x"])


def test_a_full_disk_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.store(tmp_path / "run", 1, {"identity": {}, "x": torch.ones(1)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        state.store(tmp_path / "run", 2, {"identity": {}, "x": torch.zeros(1)})
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
    # The first step size is idle with orthonormal rows (chapter 04): its gradient is rounding, which Adam enlarges.
    for name, tensor in alone.items():
        used = slice(1, None) if name.startswith("condition.4") else slice(None)
        torch.testing.assert_close(stored[name][used], tensor[used], atol=1e-5, rtol=1e-4)

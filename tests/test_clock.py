"""A group of runs within a given time, with tiny networks: every way through it, a GPU's graph itself apart."""

import contextlib
import csv
import dataclasses
import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from istapp.__main__ import main
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.basics.paths import write_records
from istapp.basics.provenance import device_name
from istapp.experiments import campaigns, clock, forward_times, plan, queue
from istapp.experiments.campaigns import Experiment
from istapp.experiments.clock import spend
from istapp.experiments.costs import Costs
from istapp.experiments.evaluation import read_rows
from istapp.experiments.plan import Plan
from istapp.experiments.queue import Places
from istapp.images import datasets
from istapp.method import weights
from istapp.methods.ista_net_plus import ISTANetPlus
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.training import Run, calibration, gradients, ours, state
from istapp.training.benchmark import operations_per_pixel
from istapp.training.calibration import Trial, calibrate, fastest
from istapp.training.interrupts import Overdue, deadline
from istapp.training.trainer import Trainer

STEP = 4 * 33**2


def test_what_an_operator_solves_for_once_is_no_part_of_a_step() -> None:
    """The Q of ISTA-Net+ would pass for half its work, and make it the slowest member of a group."""
    network = ISTANetPlus(stages=1, channels=4, ratio=0.5)
    sampling, x = network.operator((0.5,), 0, 1), torch.rand(1, 1, 33, 33)
    assert operations_per_pixel(network, sampling, x) == operations_per_pixel(network, sampling, x)


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No reserves, no large matrix product."""
    monkeypatch.setattr(clock, "RESERVE", 0.5)
    monkeypatch.setattr(calibration, "matrix_peak", lambda *_: 1e12)
    monkeypatch.setattr("istapp.training.benchmark.matrix_peak", lambda *_: 1e12)
    few = datasets.load("photos")[:3]
    monkeypatch.setattr(Experiment, "images", lambda _: few)


def two(pixels: float = 40 * STEP) -> list[Experiment]:
    recipe = ours(pixels, batch=4, blocks=1, warm_up=2 * STEP, renew_matrix=20)
    small = Experiment(
        "ista-net-pp-a", "a test", {"stages": 1, "channels": 2}, recipe, training_set="photos", ratios=(0.1,),
        tests=(), group="pair",
    )  # fmt: skip
    return [small, dataclasses.replace(small, id="ista-net-pp-b", config={"stages": 2, "channels": 2})]


def know(runs: list[Experiment], monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    monkeypatch.setattr(campaigns, "ALL", {run.id: run for run in runs})
    monkeypatch.setattr(plan, "ORDER", ("pair", "other", "pair"))
    monkeypatch.setattr(clock, "LIKE", {"other": "pair"})
    return runs


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    return know(two(), monkeypatch)


@pytest.fixture
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose speed and costs are known, so that they need not be measured, and forward timings neither."""
    trial = Trial("", "float32", "eager", accepted=True, pixels_per_second=1e5, start_up=0.1)
    monkeypatch.setattr(clock, "calibrate", lambda *_: [trial])
    monkeypatch.setattr(clock, "costs_of", lambda *_: Costs(0.5, 0.5))
    monkeypatch.setattr(forward_times, "take", lambda *_: None)


def job(renew: int = 0, **more: object) -> Run:
    torch.manual_seed(0)
    recipe = ours(1e6, batch=2, blocks=1, renew_matrix=renew)
    return Run(ISTANetPP(2, 4), datasets.load("photos")[:3], recipe, (0.1, 0.5), quiet=True, **more)


# ---------------------------------------------------------------- calibration


def test_every_way_of_this_machine_is_tried_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "ways", lambda _: [("float32", "eager"), ("bfloat16", "eager")])
    monkeypatch.setattr(calibration, "RENEW", 15)
    said: list[str] = []
    run = job(renew=50)
    before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    trials = calibrate(run, 120, said.append)
    assert [(t.precision, t.accepted) for t in trials] == [("float32", True), ("bfloat16", True)]
    assert trials[0].difference == 0 and trials[0].cosine == pytest.approx(1) and 0.99 < trials[1].cosine < 1
    assert all(t.pixels_per_second > 0 and 0 < t.optimiser_share < 1 and t.renewal_share > 0 for t in trials)
    assert fastest(trials).pixels_per_second == max(t.pixels_per_second for t in trials)
    assert "cosine" in said[0] and all(torch.equal(before[n], t) for n, t in run.network.state_dict().items())


def wrong_direction(gradient: gradients.Gradient, x: torch.Tensor) -> torch.Tensor:
    loss = gradients.Gradient.__call__(gradient, x)
    for weight in gradient.network.parameters():
        weight.grad = torch.randn_like(weight)
    return loss


def no_number(gradient: gradients.Gradient, x: torch.Tensor) -> torch.Tensor:
    return gradients.Gradient.__call__(gradient, x) * torch.nan


def no_memory(*_: object) -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def no_compiler(*_: object) -> torch.Tensor:
    raise torch._dynamo.exc.BackendCompilerFailed(lambda: None, RuntimeError("no C compiler"), None)


def too_slow(*_: object) -> torch.Tensor:
    raise Overdue


def test_what_fails_is_told_and_the_next_best_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = {
        too_slow: "not done within", wrong_direction: "cosine", no_number: "not finite", no_memory: "out of memory",
        no_compiler: "C compiler",
    }  # fmt: skip
    names = ["eager", *(fault.__name__ for fault in faults)]
    monkeypatch.setattr(calibration, "ways", lambda _: [("float32", name) for name in names])
    monkeypatch.setattr(calibration, "SHARES", dict.fromkeys(names, 0.1))
    for fault in faults:
        own = type("Faulty", (gradients.Gradient,), {"__call__": fault})
        monkeypatch.setitem(gradients.CLASSES, fault.__name__, own)
    said: list[str] = []
    trials = calibrate(job(), 600, said.append)
    assert trials[0].accepted and fastest(trials) is trials[0]
    for trial, line, words in zip(trials[1:], said[1:], faults.values(), strict=True):
        assert not trial.accepted and words in trial.reason and words in line


def test_a_reference_whose_speed_was_not_done_in_time_is_one_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "ways", lambda _: [("float32", "eager"), ("bfloat16", "eager")])
    add_speed, late = calibration._add_speed, iter([too_slow])
    monkeypatch.setattr(calibration, "_add_speed", lambda *given: next(late, add_speed)(*given))
    first, second = calibrate(job(), 600, lambda _: None)
    assert "not done within" in first.reason and first.pixels_per_second > 0
    assert second.accepted and 0.99 < second.cosine < 1


def test_a_deadline_interrupts_what_is_too_slow_and_is_forgotten() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(Overdue), deadline(0.05):
        time.sleep(60)
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    with pytest.raises(Overdue), deadline(0):
        raise AssertionError("no time was left")


def test_a_way_in_which_a_process_died_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "ways", lambda _: [("float32", "eager"), ("float32", "compiled")])
    tried: list[str] = []
    trials = calibrate(job(), 60, lambda _: None, skip=["float32 compiled"], trying=tried.append)
    assert tried == ["float32 eager", ""] and "died" in trials[1].reason and not trials[1].accepted


# ---------------------------------------------------------------- groups


def test_a_group_is_done_in_time_on_equal_pixels(pair: list[Experiment], tmp_path: Path) -> None:
    said: list[str] = []
    began = time.monotonic()
    done = spend(3, places=Places.in_folder(tmp_path), say=said.append)
    assert done == ["ista-net-pp-b", "ista-net-pp-a"]  # the slowest first
    assert time.monotonic() - began < 180
    headers = [weights.header(tmp_path / f"{run.id}.safetensors") for run in pair]
    assert {header["pixels"] for header in headers} == {40 * STEP}  # as stated: the clock would have afforded more
    with (tmp_path / "calibration.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["run"] == "ista-net-pp-b" and rows[0]["accepted"] == "True"  # the slowest member
    with (tmp_path / "times.csv").open() as file:
        assert {(row["way"], row["batch"]) for row in csv.DictReader(file)} >= {("plain", "1"), ("fast path", "16")}
    assert spend(1, places=Places.in_folder(tmp_path), say=said.append) == [] and said[-1] == "every group is done"


def test_a_short_clock_makes_the_budget_and_a_longer_one_continues_it(
    pair: list[Experiment], known_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both members see the same pixels, decayed, fewer than stated; named again, the group goes on from before."""
    know(two(1e9), monkeypatch)
    places = Places.in_folder(tmp_path)

    def until_visited(times: int, minutes: float) -> float:
        """A busy machine may need the command again, or more time; the budget that was settled stays."""
        for attempt in range(6):
            if Plan.of(places).visits.get("pair", 0) < times:
                with contextlib.suppress(UserError):  # the clock is too short
                    spend(minutes * (1 + attempt / 2), places=places, say=lambda _: None)
        kept = Plan.of(places)
        assert kept.visits == {"pair": times} and kept.final == ["pair"]
        headers = [weights.header(places.weights_of(run.id)) for run in pair]
        assert all(abs(header["pixels"] - kept.pixels["pair"]) <= STEP for header in headers)
        return kept.pixels["pair"]

    budget = until_visited(1, 0.15)
    assert 8 * STEP <= budget < 1e8
    assert {state.exists(tmp_path / f"{run.id}.stable") for run in pair} == {True}
    know(two(3 * budget), monkeypatch)
    assert budget < until_visited(2, 0.4) <= 3 * budget


def test_what_such_a_machine_was_found_to_be_fastest_in_is_not_found_out_again(
    pair: list[Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(clock, "costs_of", lambda *_: Costs(0.5, 0.5))
    monkeypatch.setattr(calibration, "ways", lambda _: [("float32", "eager"), ("bfloat16", "eager")])
    machine = {"device": device_name("cpu"), "torch": torch.__version__, "batch": 4}
    told = [
        Trial("ista-net-pp-b", "bfloat16", "eager", True, pixels_per_second=9e5, **machine),
        Trial("ista-net-pp-b", "float32", "eager", True, pixels_per_second=1e5, **machine | {"torch": "another"}),
        Trial("ista-net-pp-a", "float32", "eager", True, pixels_per_second=1e5, **machine),  # another network
    ]
    table = tmp_path / "results" / "calibration.csv"
    table.parent.mkdir()

    def said(name: str) -> list[str]:
        lines: list[str] = []
        with monkeypatch.context() as patch, contextlib.suppress(ZeroDivisionError):
            patch.setattr(clock, "calibrate", lambda *_: 1 // 0)
            spend(2, places=Places.in_folder(tmp_path / name), group="pair", say=lines.append)
        return lines

    write_records(table, told)
    assert said("one way untried")[-1] == "calibrating with ista-net-pp-b"
    write_records(table, [*told, Trial("ista-net-pp-b", "float32", "eager", True, pixels_per_second=2e5, **machine)])
    lines = said("both tried")
    assert any(line.startswith("calibrated before") for line in lines)
    assert "trains with bfloat16 eager, 0.900 Mpixel/s" in lines
    write_records(table, [*told, *(dataclasses.replace(told[0], precision="float32", pixels_per_second=2e5),
                                   dataclasses.replace(told[0], accepted=False))])  # fmt: skip
    assert "trains with float32 eager, 0.200 Mpixel/s" in said("the newest counts")


def test_a_group_that_is_compared_with_another_takes_its_budget(
    pair: list[Experiment], known_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = dataclasses.replace(pair[0], id="ista-net-pp-c", group="other", seed=4)
    know([*pair, third], monkeypatch)
    places = Places.in_folder(tmp_path)
    Plan(pixels={"pair": 24 * STEP}, final=["pair"], path=tmp_path / "plan.json").write()
    assert spend(2, places=places, group="other", say=lambda _: None) == ["ista-net-pp-c"]
    assert weights.header(places.weights_of("ista-net-pp-c"))["pixels"] == 24 * STEP


def test_what_is_shipped_tells_the_budget_and_a_lost_state_is_not_continued(
    pair: list[Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a fresh checkout, which has weights and neither a plan nor states."""
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(paths, "WEIGHTS", shipped)
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    for run, pixels in zip(pair, (16 * STEP, 12 * STEP)):
        header = {"run": run.id, "pixels": pixels, "machines": [{"device": "NVIDIA H200", "pixels": pixels}]}
        weights.save(shipped / f"{run.id}.safetensors", {"a": torch.ones(1)}, header)
    assert plan.seen_by_all("pair") is None
    weights.save(shipped / f"{pair[1].id}.safetensors", {"a": torch.ones(1)}, header | {"pixels": 16 * STEP})
    assert plan.seen_by_all("pair") == 16 * STEP
    with monkeypatch.context() as patch:  # a part of the training, by a processor
        begun = [dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, gpu_batch=8)) for run in pair]
        patch.setattr(campaigns, "ALL", {run.id: run for run in begun})
        assert plan.seen_by_all("pair") == 16 * STEP
        patch.setattr(plan.queue, "is_gpu", lambda _: False)
        assert plan.seen_by_all("pair") is None
    assert Plan.of(Places()).next(Places()) is None
    third = dataclasses.replace(pair[0], id="ista-net-pp-c", group="other", seed=4)
    know([*pair, third], monkeypatch)
    there = Places.in_folder(tmp_path / "there")
    assert spend(2, places=there, group="other", say=lambda _: None) == ["ista-net-pp-c"]
    assert weights.header(there.weights_of("ista-net-pp-c"))["pixels"] == 16 * STEP


@pytest.mark.parametrize("text", [
    "[" * 100_000, "null", "[]", '{"new": 1}', '{"pixels": 3}', '{"pixels": {"pair": "many"}}', '{"final": ["pair"]}',
    '{"pixels": {"pair": NaN}}', '{"visits": {"pair": "x"}}', '{"ways": {"pair": {"mode": "eager"}}}', '{"died": [1]}',
    '{"trying": 3}', '{"path": "/etc"}', "\x00",
])  # fmt: skip
def test_a_damaged_plan_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UserError, match="plan.json is damaged .*; remove it to plan anew"):
        Plan.of(Places.in_folder(tmp_path))


def test_a_clock_too_short_is_one_line(pair: list[Experiment], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "--group", "pair", "--minutes", "0.02", "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "too short for group pair" in err and "are needed" in err and err.count("\n") == 1
    way = {"precision": "float32", "mode": "eager", "pixels_per_second": 1e3, "start_up": 0.0}
    Plan(ways={f"pair on {device_name()}, torch {torch.__version__}": way}, path=tmp_path / "plan.json").write()
    assert main(["train", "--group", "pair", "--minutes", "0.1", "--out", str(tmp_path)]) == 2
    assert "minutes are left and about" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.safetensors"))
    assert main(["train", "--group", "pear", "--minutes", "1", "--out", str(tmp_path)]) == 2
    assert "did you mean 'pair'" in capsys.readouterr().err
    assert main(["train", "--group", "pair", "--out", str(tmp_path)]) == 2


def test_a_loss_that_is_not_finite_ends_the_group_in_one_line(
    pair: list[Experiment], known_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = Trainer.compute

    def bursting(trainer: Trainer, x: torch.Tensor) -> torch.Tensor:
        loss = compute(trainer, x)
        return loss * torch.nan if trainer.step == 9 and trainer.run.keep else loss

    places = Places.in_folder(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="is not finite any more"):
        patch.setattr(Trainer, "compute", bursting)
        spend(2, places=places, say=lambda _: None)
    assert len(spend(2, places=places, say=lambda _: None)) == 2  # what it left can be gone on with


def test_rows_are_taken_on_packed_sets(
    pair: list[Experiment], known_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know([dataclasses.replace(pair[0], tests=("photos",), recipe=two(12 * STEP)[0].recipe)], monkeypatch)
    places = Places.in_folder(tmp_path)
    assert spend(2, places=places, say=lambda _: None) == ["ista-net-pp-a"]
    rows = read_rows(places.rows_of("ista-net-pp-a"))
    assert {row["run"] for row in rows} == {"ista-net-pp-a"} and len(rows) == len(datasets.load("photos"))


def work_to_the_end(folder: Path) -> None:
    """What the process to be killed does."""
    torch.set_num_threads(1)
    runs = two(60 * STEP)
    campaigns.ALL.clear()
    campaigns.ALL.update({run.id: run for run in runs})
    plan.ORDER, clock.RESERVE = ("pair",), 0.5
    few = datasets.load("photos")[:3]
    Experiment.images = lambda _: few
    forward_times.take = lambda *_: None
    spend(5, places=Places.in_folder(folder), say=lambda _: None)


def test_killed_at_random_moments_the_same_command_goes_on(
    known_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(two(60 * STEP), monkeypatch)
    chance = random.Random(1)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["istapp.experiments.clock"])
    for _ in range(3):
        process = processes.Process(target=work_to_the_end, args=(tmp_path,))
        process.start()
        process.join(chance.uniform(1, 5))
        process.kill()
        process.join()
    places = Places.in_folder(tmp_path)
    spend(5, places=places, say=lambda _: None)
    assert {queue.status(run.id, places) for run in two()} == {"done"}
    assert {weights.header(places.weights_of(run.id))["pixels"] for run in two()} == {60 * STEP}


def test_the_fastest_accepted_way_is_taken() -> None:
    trials = [Trial("", "float32", "eager", True, pixels_per_second=1.0),
              Trial("", "bfloat16", "eager", True, pixels_per_second=3.0),
              Trial("", "bfloat16", "graph", False, "no", pixels_per_second=9.0)]  # fmt: skip
    assert fastest(trials).mode == "eager" and fastest(trials).precision == "bfloat16"
    assert fastest([dataclasses.replace(trials[2])]).mode == "graph"  # nothing was accepted: the first, whatever it is

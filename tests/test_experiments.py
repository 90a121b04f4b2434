"""The queue: every run as data, done once, continued anywhere."""

import dataclasses
from pathlib import Path

import pytest
import torch

from istapp import methods
from istapp.__main__ import main
from istapp.basics.errors import UserError
from istapp.experiments import campaigns, queue
from istapp.experiments.campaigns import ALL, CAMPAIGN_1, CAMPAIGN_2, LAPTOP, LIKE, ORDER, Experiment
from istapp.experiments.evaluation import read_rows
from istapp.experiments.queue import Places
from istapp.method import weights
from istapp.training import halved_where_free, ours, state


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """Two experiments of seconds in place of the real ones."""
    recipe = ours(5 * 4 * 33**2, batch=4, blocks=1)
    small = Experiment(
        "ista-net-pp-a", "a test", {"stages": 1, "channels": 2}, recipe, training_set="photos", ratios=(0.1,), tests=()
    )
    both = [small, dataclasses.replace(small, id="ista-net-pp-b", seed=2)]
    monkeypatch.setattr(campaigns, "LAPTOP", both)
    monkeypatch.setattr(campaigns, "CAMPAIGN_1", [])
    monkeypatch.setattr(campaigns, "CAMPAIGN_2", [])
    monkeypatch.setattr(campaigns, "ALL", {e.id: e for e in both})
    return both


def test_every_run_is_named_once_and_builds_its_network() -> None:
    runs = [*CAMPAIGN_1, *CAMPAIGN_2, *LAPTOP]
    assert len(ALL) == len(runs) == len({e.id for e in runs})
    for e in runs:
        with torch.device("meta"):  # no numbers are needed
            config = e.network().config
        assert e.id.startswith(e.method + "-") and config | e.config == config
        assert e.recipe.pixels > 0 and e.minutes > 0 and set(e.training_set.split("+")) <= {"Train400", "T91"}
        assert not {"Train400", "T91"} & set(e.tests)  # training images are no test


def test_the_runs_that_are_compared_see_equal_pixels() -> None:
    """Within a group, and between groups that are compared."""
    groups = {group: queue.members(group) for group in {e.group for e in ALL.values()}}
    for group, own in groups.items():
        assert len({e.recipe.pixels for e in [*own, *groups.get(LIKE.get(group, ""), [])]}) == 1, group
    assert [e.id for e in groups["main"]] == ["ista-net-pp-main"] and len(groups["table4"]) == 4
    assert len(groups["fig4"]) == 22 and len(groups["laptop-ablation"]) == 30


def test_every_group_for_a_gpu_has_a_place_in_the_order_of_worth() -> None:
    assert set(ORDER) == {e.group for e in (*CAMPAIGN_1, *CAMPAIGN_2)} and ORDER[:3] == ("main", "table4", "main")
    assert all(ORDER.index(other) < ORDER.index(group) for group, other in LIKE.items())


def test_the_main_model_comes_first_on_a_gpu_and_the_laptop_on_a_cpu(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(queue.paths, "WEIGHTS", tmp_path)
    places = Places.in_folder(tmp_path)
    assert queue.queue(places, on_gpu=True)[0].id == "ista-net-pp-main"
    assert queue.queue(places, on_gpu=False)[0].id == "ista-net-pp-laptop"


def test_a_method_is_a_name_for_its_next_run(tiny: list[Experiment], tmp_path: Path) -> None:
    places = Places.in_folder(tmp_path)
    assert queue.find("ista-net-pp-b", places).id == "ista-net-pp-b"
    for expected in ("ista-net-pp-a", "ista-net-pp-b"):
        assert queue.find("ista-net-pp", places).id == expected
        queue.run(queue.find("ista-net-pp", places), places=places, quiet=True)
    with pytest.raises(UserError, match="every run of ista-net-pp is done"):
        queue.find("ista-net-pp", places)
    with pytest.raises(UserError, match="no experiment 'ista-net-qq'"):
        queue.find("ista-net-qq", places)


def test_a_run_leaves_weights_curve_and_header(tiny: list[Experiment], tmp_path: Path) -> None:
    places, said = Places.in_folder(tmp_path), []
    assert queue.status("ista-net-pp-a", places) == "waiting"
    assert not queue.run(tiny[0], 0, places=places, say=said.append, quiet=True)
    assert queue.status("ista-net-pp-a", places) == "unfinished" and "goes on from here" in said[-1]
    assert queue.run(tiny[0], places=places, say=said.append, quiet=True)
    assert queue.status("ista-net-pp-a", places) == "done" and not state.exists(tmp_path / "ista-net-pp-a")
    header = weights.header(tmp_path / "ista-net-pp-a.safetensors")
    assert header["steps"] == 5 and header["training_set"] == "photos" and header["run"] == "ista-net-pp-a"
    (machine,) = weights.machines(header)
    assert (
        machine
        == {key: header[key] for key in ("device", "steps", "pixels", "minutes")}
        == weights.machines({key: header[key] for key in header if key != "machines"})[0]
    )
    assert weights.where(header) == f"0 min on {header['device']}"
    assert 0 < header["share_of_peak"] < 1 and header["precision"] in ("float32", "bfloat16")
    assert (tmp_path / "ista-net-pp-a.curve.csv").read_text().startswith("step,pixels,minutes,loss,rate,psnr_10")
    assert methods.get("ista-net-pp", weights=tmp_path / "ista-net-pp-a.safetensors").parameter_count > 0


def test_rows_are_taken_on_the_sets_at_hand(tiny: list[Experiment], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ISTAPP_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    said: list[str] = []
    experiment = dataclasses.replace(tiny[0], tests=("Set11", "photos"))
    assert queue.run(experiment, places=Places.in_folder(tmp_path), say=said.append, quiet=True)
    rows = read_rows(tmp_path / "ista-net-pp-a.csv")
    assert {row["dataset"] for row in rows} == {"photos"} and {row["run"] for row in rows} == {"ista-net-pp-a"}
    assert any("no rows on Set11" in line for line in said)


def test_a_run_that_is_stopped_while_it_is_tested_goes_on_with_the_tests(
    tiny: list[Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull_the_plug(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    places, experiment = Places.in_folder(tmp_path), dataclasses.replace(tiny[0], tests=("photos",))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(queue, "evaluate", pull_the_plug)
        queue.run(experiment, places=places, quiet=True)
    assert queue.status(experiment.id, places) == "unfinished"
    first = weights.header(places.weights_of(experiment.id))
    assert queue.run(experiment, places=places, quiet=True)
    assert queue.status(experiment.id, places) == "done"
    assert weights.header(places.weights_of(experiment.id))["weights_hash"] == first["weights_hash"]
    assert {row["dataset"] for row in read_rows(places.rows_of(experiment.id))} == {"photos"}
    assert len(places.curve_of(experiment.id).read_text().splitlines()) > 1


def test_a_run_that_is_done_is_not_trained_over_its_own_weights(tiny: list[Experiment], tmp_path: Path) -> None:
    places, said = Places.in_folder(tmp_path), []
    assert queue.run(tiny[0], places=places, quiet=True)
    before = places.weights_of(tiny[0].id).stat().st_mtime_ns
    assert queue.run(tiny[0], places=places, say=said.append, quiet=True)
    assert places.weights_of(tiny[0].id).stat().st_mtime_ns == before
    assert "is done" in said[-1] and "--out" in said[-1]


def test_more_pixels_are_promised_to_go_on_only_where_the_state_is_kept(tiny: list[Experiment], tmp_path: Path) -> None:
    """Bug: of weights that ship without their state it said that they would be continued; they are trained anew."""
    places, said = Places.in_folder(tmp_path), []
    assert queue.run(tiny[0], places=places, quiet=True)
    assert queue.run(tiny[0], places=places, say=said.append, quiet=True)
    assert "--pixels continues it" in said[-1]
    state.remove(tmp_path / f"{tiny[0].id}.stable")
    assert queue.run(tiny[0], places=places, say=said.append, quiet=True)
    assert "--pixels trains it anew" in said[-1]


@pytest.mark.parametrize("together", [1, 2])
def test_the_queue_is_worked_off(tiny: list[Experiment], tmp_path: Path, together: int, monkeypatch) -> None:
    if together == 2:  # the processes know only the real experiments: show that a failure is told
        with pytest.raises(UserError, match="these runs failed"):
            queue.work_off(1, places=Places.in_folder(tmp_path), together=2, say=lambda _: None)
        return
    places = Places.in_folder(tmp_path)
    done = queue.work_off(5, places=places, say=lambda _: None)
    assert done == ["ista-net-pp-a", "ista-net-pp-b"]
    assert queue.work_off(5, places=places, say=lambda _: None) == []


def test_a_run_from_the_command_line_stops_in_time(tiny: list[Experiment], tmp_path: Path, capsys) -> None:
    assert main(["train", "ista-net-pp-a", "--minutes", "0", "--out", str(tmp_path)]) == 0
    assert "goes on from here" in capsys.readouterr().out
    assert main(["train", "--queue", "--minutes", "5", "--out", str(tmp_path)]) == 0
    assert "2 experiments done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "exact"),
    [("ista-net-pp", True), ("ista-net-pp", False), ("ista-net-plus", False)],
)
def test_all_but_the_networks_that_the_book_is_about_are_stored_in_half_the_room(
    tiny: list[Experiment], tmp_path: Path, method: str, exact: bool
) -> None:
    """Its rows are those of the rounded weights, so that a reader gets them again."""
    assert {e.id for e in ALL.values() if e.exact} == {"ista-net-pp-main", "ista-net-pp-laptop"}
    config = tiny[0].config | ({"ratio": 0.1} if method == "ista-net-plus" else {})
    run = dataclasses.replace(tiny[0], id=f"{method}-a", method=method, config=config, exact=exact, tests=("photos",))
    places = Places.in_folder(tmp_path)
    assert queue.run(run, places=places, quiet=True)
    path = places.weights_of(run.id)
    header, tensors = weights.load(path)
    assert all(t.dtype == torch.float32 for t in tensors.values())
    assert all(torch.equal(t, t.half().float()) for t in tensors.values()) is not exact
    assert {header["weights_hash"][:16]} == {row["weights"] for row in read_rows(places.rows_of(run.id))}
    size = sum(t.numel() for t in tensors.values()) * (4 if exact else 2)
    assert size < path.stat().st_size < size + 4096


def test_half_precision_is_refused_where_it_costs_decibels(tiny: list[Experiment]) -> None:
    network = tiny[0].network()
    tensors = {name: t.clone() for name, t in network.state_dict().items()}
    images = tiny[0].images()
    assert halved_where_free(network, tensors, images, (0.1,))[next(iter(tensors))].dtype == torch.float16
    assert halved_where_free(network, tensors, images, (0.1,), cost=-1.0) is tensors

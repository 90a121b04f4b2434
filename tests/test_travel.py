"""What travels to a machine with a GPU and back."""

import dataclasses
import errno
import tarfile
from pathlib import Path

import pytest

from istapp.__main__ import main
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.experiments import campaigns, plan, queue, travel
from istapp.experiments.campaigns import Experiment
from istapp.experiments.evaluation import read_rows
from istapp.experiments.plan import Plan
from istapp.experiments.queue import Places
from istapp.method import weights
from istapp.training import ours, state
from istapp.training.parallel import Peers

STEP = 4 * 33**2


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A home of its own with one experiment of seconds."""
    run = Experiment(
        "ista-net-pp-a", "a test", {"stages": 1, "channels": 2}, ours(8 * STEP, batch=4, blocks=1),
        training_set="photos", ratios=(0.1,), tests=("photos",), group="one",
    )  # fmt: skip
    monkeypatch.setattr(campaigns, "ALL", {run.id: run})
    monkeypatch.setattr(plan, "ORDER", ("one",))
    for name in ("RUNS", "WEIGHTS", "RESULTS"):
        monkeypatch.setattr(paths, name, tmp_path / "home" / name.lower())
    return Places()


def journey(home: Places, tmp_path: Path) -> Path:
    """Train in a folder, and return where the pieces lie."""
    folder = tmp_path / "there"
    queue.run(campaigns.ALL["ista-net-pp-a"], places=Places.in_folder(folder), quiet=True)
    Plan(pixels={"one": 8.0 * STEP}, final=["one"], trying={"m": "x"}, path=folder / "plan.json").write()
    (folder / "calibration.csv").write_text("run,mode\nista-net-pp-a,eager\n")
    (folder / "sets.safetensors").write_bytes(b"large")
    travel.out(folder, tmp_path / "pieces", say=lambda _: None)
    return tmp_path / "pieces"


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, hidden ones and those of its folders too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_processor_has_begun_is_packed_for_a_gpu_to_go_on_with(
    home: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of a part of the training are shipped, and the run is still the first in the queue, from its state."""
    begun = dataclasses.replace(
        campaigns.ALL["ista-net-pp-a"],
        recipe=ours(800 * STEP, batch=4, gpu_batch=8, blocks=1), training_set="photos",
    )  # fmt: skip
    monkeypatch.setattr(campaigns, "ALL", {begun.id: begun})
    assert queue.run(begun, places=home, quiet=True, pixels=8 * STEP) and queue.status(begun.id, home) == "done"
    assert Plan.of(home).next(home) == "one"
    travel.pack(tmp_path / "luggage", ["photos"], say=lambda _: None)
    assert [path.name.split(".")[1] for path in (tmp_path / "luggage").glob("*.pt")] == ["stable"]
    there = Places.in_folder(tmp_path / "luggage")
    assert queue.run(begun, places=there, quiet=True, pixels=16 * STEP)
    path = there.weights_of(begun.id)
    header, tensors = weights.load(path)
    assert queue.is_only_begun(begun, there)
    gone_on = {"device": "NVIDIA H100 80GB HBM3", "steps": 8, "pixels": 8 * STEP, "minutes": 0.1}
    weights.save(path, tensors, header | {"machines": [*header["machines"], gone_on]})  # as a GPU would have written it
    assert not queue.is_only_begun(begun, there)


def test_there_and_back(home: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(travel, "PIECE", 20_000)
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    (pieces / "campaign-1of7.tar").write_bytes(b"of an earlier journey")
    journey(home, tmp_path)
    sizes = [path.stat().st_size for path in pieces.iterdir()]
    assert len(sizes) > 1 and max(sizes) <= 20_000
    said: list[str] = []
    for _ in range(2):  # merging twice changes nothing
        travel.merge(pieces, said.append)
        assert weights.load(home.weights_of("ista-net-pp-a"))[0]["run"] == "ista-net-pp-a"
        assert len(read_rows(home.rows_of("ista-net-pp-a"))) == 16
        assert len((home.results / "calibration.csv").read_text().splitlines()) == 2
        assert home.curve_of("ista-net-pp-a").exists() and state.exists(home.runs / "ista-net-pp-a.stable")
        plan = Plan.of(home)
        assert plan.pixels == {"one": 8.0 * STEP} and plan.final == ["one"] and not plan.trying
    assert any("16 of 16 rows are new" in line for line in said) and any("0 of 16" in line for line in said)
    assert not list(home.weights.glob("sets*"))


def test_of_weights_without_room_the_header_is_shipped(
    home: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = journey(home, tmp_path)
    monkeypatch.setattr(travel, "SHIPPED", 1000)
    travel.merge(pieces, (said := []).append)
    path, whole = home.weights_of("ista-net-pp-a"), home.runs / "ista-net-pp-a.safetensors"
    assert not weights.is_whole(path) and weights.header(path) == weights.load(whole)[0]
    assert any("its header alone to weights/" in line for line in said)
    assert queue.status("ista-net-pp-a", home) == "done" and len(read_rows(home.rows_of("ista-net-pp-a"))) == 16


def test_what_goes_in_is_listed_and_limited(
    home: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run = campaigns.ALL["ista-net-pp-a"]
    assert not queue.run(run, 0, quiet=True)  # begun here
    folder = tmp_path / "in"
    assert main(["campaign", "pack", str(folder), "--sets", "photos"]) == 0
    printed = capsys.readouterr().out
    assert "sets.safetensors" in printed and "for group one (photos)" in printed and "with the checkout" in printed
    assert state.exists(folder / run.id)
    monkeypatch.setenv("ISTAPP_DATA", str(folder / "sets.safetensors"))
    assert queue.run(run, places=Places.in_folder(folder), quiet=True)  # and gone on with there
    monkeypatch.setattr(travel, "INWARD", 2**20)
    assert main(["campaign", "pack", str(tmp_path / "large"), "--sets", "photos"]) == 2
    assert "more than may travel" in capsys.readouterr().err
    assert main(["campaign", "out", str(folder)]) == 2 and main(["campaign", "pack", str(folder), "--group", "no"]) == 2


def test_nothing_is_packed_into_the_home_of_unfinished_training(home: Places, tmp_path: Path) -> None:
    assert not queue.run(campaigns.ALL["ista-net-pp-a"], 0, quiet=True)
    before = contents(home.runs)
    (tmp_path / "link").symlink_to(home.runs)
    for folder in (home.runs, home.runs / ".." / "runs", tmp_path / "link"):
        with pytest.raises(UserError, match=r"is where unfinished training lies at home.*name another folder"):
            travel.pack(folder, ["photos"], "one", lambda _: None)
        assert contents(home.runs) == before
    travel.pack(home.runs / "travel", ["photos"], "one", lambda _: None)  # as the help says
    assert state.exists(home.runs / "travel" / "ista-net-pp-a") and before.items() <= contents(home.runs).items()


@pytest.mark.parametrize("at_home", [False, True], ids=["none at home", "another at home"])
def test_training_that_is_not_at_home_is_not_packed_over(home: Places, tmp_path: Path, at_home: bool) -> None:
    run, folder = campaigns.ALL["ista-net-pp-a"], tmp_path / "there"
    assert not queue.run(run, 0, places=Places.in_folder(folder), quiet=True)
    if at_home:
        assert not queue.run(run, 0, quiet=True)  # to the same step, and so of the same name
    before = contents(folder)
    with pytest.raises(UserError, match="holds unfinished training") as refusal:
        travel.pack(folder, ["photos"], "one", lambda _: None)
    told = str(refusal.value)
    assert "campaign out" in told and "campaign merge" in told and "another folder" in told and "\n" not in told
    assert contents(folder) == before
    travel.out(folder, tmp_path / "pieces", lambda _: None)
    travel.merge(tmp_path / "pieces", lambda _: None)
    travel.pack(folder, ["photos"], "one", lambda _: None)  # once it is at home
    assert state.exists(folder / run.id)


def test_a_pack_that_fails_leaves_the_folder_as_it_was(
    home: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    assert not queue.run(campaigns.ALL["ista-net-pp-a"], 0, quiet=True)
    Plan(pixels={"one": 8.0 * STEP}, path=home.runs / "plan.json").write()
    travel.pack(folder, ["photos"], "one", lambda _: None)
    before = contents(folder)
    assert len(before) == 3
    Plan(pixels={"one": 9.0 * STEP}, path=home.runs / "plan.json").write()
    with pytest.raises(UserError, match="no-such-set"):
        travel.pack(folder, ["no-such-set"], "one", lambda _: None)
    assert contents(folder) == before
    monkeypatch.setattr(travel, "INWARD", 2**20)
    with pytest.raises(UserError, match="more than may travel"):
        travel.pack(folder, ["photos"], "one", lambda _: None)
    assert contents(folder) == before and len(list(folder.iterdir())) == 3


def test_the_curve_of_an_unfinished_run_is_not_that_of_the_weights_at_home(home: Places, tmp_path: Path) -> None:
    travel.merge(journey(home, tmp_path), lambda _: None)
    run, again, pieces = campaigns.ALL["ista-net-pp-a"], tmp_path / "again", tmp_path / "more"
    shipped = home.curve_of(run.id).read_bytes()
    assert not queue.run(run, 0, places=Places.in_folder(again), quiet=True)
    travel.out(again, pieces, lambda _: None)
    travel.merge(pieces, (said := []).append)
    name = f"{run.id}.curve.csv"
    assert home.curve_of(run.id).read_bytes() == shipped
    assert (home.runs / name).read_bytes() == (again / name).read_bytes() != shipped
    assert any(line.startswith(f"{name}: to runs/, ") for line in said)


def test_weights_whose_run_went_on_come_without_its_curve(home: Places, tmp_path: Path) -> None:
    """A folder where a finished run is trained further holds the old weights, and the curve of what is unfinished."""
    travel.merge(journey(home, tmp_path), lambda _: None)
    run, there = campaigns.ALL["ista-net-pp-a"], Places.in_folder(tmp_path / "there")
    shipped = home.curve_of(run.id).read_bytes()
    assert not queue.run(run, 0, places=there, quiet=True, pixels=80 * STEP)
    assert there.curve_of(run.id).read_bytes() != shipped
    travel.out(there.runs, tmp_path / "pieces", lambda _: None)
    travel.merge(tmp_path / "pieces", lambda _: None)
    assert home.curve_of(run.id).read_bytes() == shipped
    assert (home.runs / f"{run.id}.curve.csv").read_bytes() == there.curve_of(run.id).read_bytes()


@pytest.mark.parametrize("size", [20_000, 30_000], ids=["as many", "fewer"])
def test_pieces_stay_where_new_ones_cannot_be_written(
    home: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(travel, "PIECE", 20_000)
    pieces, write, written = journey(home, tmp_path), Path.write_bytes, []
    before = contents(pieces)
    monkeypatch.setattr(travel, "PIECE", size)
    (tmp_path / "there" / "calibration.csv").write_text("run,mode\nista-net-pp-a,compiled\n")

    def fill_up(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 2:
            write(path, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", fill_up)
        with pytest.raises((OSError, UserError), match=r"[Nn]o space left"):
            travel.out(tmp_path / "there", pieces, lambda _: None)
    assert contents(pieces) == before and len(list(pieces.iterdir())) == len(before) > 1
    travel.merge(pieces, lambda _: None)
    assert "eager" in (home.results / "calibration.csv").read_text()
    travel.out(tmp_path / "there", pieces, lambda _: None)
    assert all(name.endswith(f"of{len(contents(pieces))}.tar") for name in contents(pieces))
    travel.merge(pieces, lambda _: None)
    assert "compiled" in (home.results / "calibration.csv").read_text()


@pytest.mark.parametrize("content", [b"a text\n", b"a line of a text\n" * 100, b""], ids=["short", "long", "empty"])
def test_of_a_damaged_piece_one_reason_is_told(home: Places, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "campaign-1of1.tar").write_bytes(content)
    with pytest.raises(UserError, match="the pieces in .* are damaged: ") as refusal:
        travel.merge(tmp_path, lambda _: None)
    told = str(refusal.value)
    assert "\n" not in told and "method" not in told and len(told.partition(" are damaged: ")[2]) < 40


def test_nothing_is_merged_of_pieces_that_are_not_whole_or_not_ours(home: Places, tmp_path: Path) -> None:
    pieces = journey(home, tmp_path)
    (piece,) = pieces.iterdir()
    whole = piece.read_bytes()
    piece.rename(pieces / "campaign-1of2.tar")
    with pytest.raises(UserError, match="does not hold every piece"):
        travel.merge(pieces)
    (pieces / "campaign-1of2.tar").rename(piece)
    piece.write_bytes(whole[:3000])
    with pytest.raises(UserError):
        travel.merge(pieces, lambda _: None)
    folder = tmp_path / "there"
    for name, content, words in (
        ("ista-net-pp-a.safetensors", b"no weights", "not a whole safetensors"),
        ("ista-net-pp-a.csv", b"a,b\n1,2\n", "not a file of results"),
        ("plan.json", b"{", "damaged"),
        ("plan.json", b'{"pixels": 3}', "damaged"),
        ("ista-net-pp-a.curve.csv", b"\xff\xff", "cannot read"),
        ("ista-net-pp-a.curve.csv", b"step,pixels\n1,many\n", "no number"),
        ("calibration.csv", b"run,mode\nhalf", "line 2"),
    ):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        travel.out(folder, pieces, lambda _: None)
        with pytest.raises(UserError, match=words):
            travel.merge(pieces, lambda _: None)
        (folder / name).write_bytes(kept)
    (folder / "ista-net-pp-a.state-000000009-1of2.pt").write_bytes(b"half")
    travel.out(folder, pieces, lambda _: None)
    with pytest.raises(UserError, match="is a part of a state, and others are missing"):
        travel.merge(pieces, lambda _: None)
    piece.rename(pieces / f"campaign-1of{10**20}.tar")
    with pytest.raises(UserError, match="does not hold every piece"):
        travel.merge(pieces)
    (pieces / f"campaign-1of{10**20}.tar").rename(piece)
    with tarfile.open(piece, "w") as archive:
        archive.add(__file__, "../escape.py")
    with pytest.raises(UserError, match="no file of a campaign"):
        travel.merge(pieces)
    assert not home.weights.exists() and not home.results.exists()


def test_weights_that_saw_more_stay(home: Places, tmp_path: Path) -> None:
    pieces = journey(home, tmp_path)
    longer = dataclasses.replace(campaigns.ALL["ista-net-pp-a"], tests=())
    assert queue.run(longer, quiet=True, pixels=20 * STEP)
    said: list[str] = []
    travel.merge(pieces, said.append)
    assert weights.header(home.weights_of("ista-net-pp-a"))["pixels"] == 20 * STEP
    assert not home.rows_of("ista-net-pp-a").exists() and any("has seen more pixels" in line for line in said)
    aside = paths.RUNS / "left-out"
    assert weights.header(aside / "ista-net-pp-a.safetensors")["pixels"] == 8 * STEP
    assert read_rows(aside / "ista-net-pp-a.csv")


def test_a_state_at_home_gives_way_to_what_it_became(home: Places, tmp_path: Path) -> None:
    run = campaigns.ALL["ista-net-pp-a"]
    assert not queue.run(run, minutes=0, places=home, quiet=True)
    travel.merge(journey(home, tmp_path), lambda _: None)
    assert queue.status(run.id, home) == "done" and not state.exists(home.runs / run.id)
    assert state.exists(home.runs / f"{run.id}.stable")


def test_a_state_at_home_of_another_run_by_that_name_stays(home: Places, tmp_path: Path) -> None:
    run = campaigns.ALL["ista-net-pp-a"]
    anew = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, muon_rate=0.5))
    assert not queue.run(anew, minutes=0, places=home, quiet=True)
    travel.merge(journey(home, tmp_path), lambda _: None)
    assert state.exists(home.runs / run.id)


def test_a_fall_travels_with_the_state_before_it(home: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = campaigns.ALL["ista-net-pp-a"]
    monkeypatch.setattr(queue, "_finish", lambda *_: None)  # keeps the falling state
    queue.run(run, places=home, quiet=True)
    travel.pack(tmp_path / "bag", ["photos"], say=lambda _: None)
    assert {path.name.split(".")[1] for path in (tmp_path / "bag").glob("*.pt")} == {"stable"}
    Plan(pixels={"one": 8.0 * STEP}, final=["one"], path=home.runs / "plan.json").write()
    travel.pack(tmp_path / "bag", ["photos"], say=lambda _: None)
    assert len(list((tmp_path / "bag").glob("*.pt"))) == 2
    Plan(pixels={"one": 8.0 * STEP}, path=home.runs / "plan.json").write()
    travel.pack(tmp_path / "bag", ["photos"], say=lambda _: None)  # what is not wanted now, and lies at home, goes
    assert {path.name.split(".")[1] for path in (tmp_path / "bag").glob("*.pt")} == {"stable"}


def test_a_budget_that_was_reopened_stays_open(home: Places, tmp_path: Path) -> None:
    home.runs.mkdir(parents=True)
    Plan(pixels={"one": 4e9}, final=["one"], path=home.runs / "plan.json").write()
    folder = tmp_path / "there"
    folder.mkdir()
    Plan(pixels={"one": 2e10}, path=folder / "plan.json").write()
    travel.out(folder, tmp_path / "pieces", lambda _: None)
    travel.merge(tmp_path / "pieces", lambda _: None)
    assert Plan.of(home).final == [] and Plan.of(home).pixels == {"one": 2e10}


def test_a_run_that_is_only_begun_is_asked_to_go_on(home: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its pixels named it would be taken for done, and the queue would ask for it for ever."""
    begun = dataclasses.replace(
        campaigns.ALL["ista-net-pp-a"], recipe=ours(80 * STEP, batch=4, gpu_batch=8, blocks=1), training_set="photos",
    )  # fmt: skip
    for name, runs in {"ALL": {begun.id: begun}, "CAMPAIGN_1": [begun], "CAMPAIGN_2": [], "LAPTOP": []}.items():
        monkeypatch.setattr(campaigns, name, runs)
    queue.run(begun, places=home, quiet=True, pixels=8 * STEP)
    asked: list[float | None] = []
    monkeypatch.setattr(queue, "run", lambda e, *_, pixels=None, **__: asked.append(pixels))
    queue.work_off(1, "cuda", home, say=lambda _: None)
    assert asked == [begun.recipe.pixels]


def test_only_the_first_of_several_processes_writes(home: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peers, "first", property(lambda _: False))
    assert queue.run(campaigns.ALL["ista-net-pp-a"], places=home, quiet=True)
    assert not home.weights_of("ista-net-pp-a").exists() and not home.rows_of("ista-net-pp-a").exists()

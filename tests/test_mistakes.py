"""What a person gets wrong, or a machine refuses: one line, before any work where it can be known, and nothing lost."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import ROOT
from pictures import noise, save

from istapp import methods
from istapp.__main__ import main
from istapp.basics import paths
from istapp.basics.errors import UserError, told
from istapp.experiments import campaigns, evaluation, queue
from istapp.experiments.evaluation import read_rows
from istapp.images.packs import packed
from istapp.method import loading, weights
from istapp.sampling import BlockSampling


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image and a file that is none."""
    save(tmp_path / "a.png", noise(0, (20, 30)))
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_line(capsys: pytest.CaptureFixture, *arguments: str, code: int = 2) -> str:
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert printed.err.startswith("istapp: ") and printed.err.count("\n") == 1 and not printed.out
    return printed.err


COMMANDS = {
    "reconstruct": ("reconstruct", "a.png", "--method", "linear", "--out"),
    "evaluate": ("evaluate", "--dataset", "a.png", "--method", "linear", "--out"),
    "pack": ("datasets", "--pack"),
    "ladder": ("ladder", "--minutes", "1", "--out"),
    "reconstruct a folder": ("reconstruct", ".", "--method", "linear", "--out"),
    "train": ("train", "ista-net-pp-laptop", "--out"),
    "reproduce": ("reproduce", "table1", "--out"),
}
FOLDERS = ("reconstruct a folder", "train", "reproduce")
NEVER = ["/proc/x.png", "/dev/null", "file/x.png", "x" * 300 + ".png", "/dev/null/x.png"]


@pytest.mark.parametrize("name", COMMANDS)
def test_targets_are_checked_before_work(
    name: str, folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for work in ("experiments.reconstruction.reconstruct", "experiments.evaluation.evaluate", "experiments.queue.run",
                 "experiments.ladder.climb", "paper.reproduce.reproduce", "images.datasets.pack"):  # fmt: skip
        monkeypatch.setattr(f"istapp.{work}", lambda *_, **__: pytest.fail("worked first"))
    more = ["photos"] if name == "pack" else []
    before = sorted(folder.rglob("*"))
    for target in NEVER + (["file", "a.png"] if name in FOLDERS else [".", "", "/"]):
        assert target[-40:] in one_line(capsys, *COMMANDS[name], target, *more) or not target
    assert sorted(folder.rglob("*")) == before and (folder / "file").read_text() == "mine"


@pytest.mark.parametrize("target", ["o/x.txt", "x", "x.SAFETENSORS", "x.safetensors.gz"])
def test_a_pack_that_would_not_be_known_by_its_name_is_told_before_work(
    target: str, folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for work in ("pack", "download", "verify"):
        monkeypatch.setattr(f"istapp.images.datasets.{work}", lambda *_: pytest.fail("worked first"))
    said = one_line(capsys, "datasets", "--download", "Set11", "--verify", "photos", "--pack", target, "photos")
    assert f"{target} does not end in .safetensors" in said
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "file"]


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x89PNG\r\n\x1a\n"])
def test_a_pack_takes_the_place_of_a_pack_alone(content: bytes, folder: Path, capsys: pytest.CaptureFixture) -> None:
    target = folder / "x.safetensors"
    target.write_bytes(content)
    assert "x.safetensors is there and is no pack" in one_line(capsys, "datasets", "--pack", str(target), "a.png")
    assert target.read_bytes() == content
    target.unlink()
    for sets in (["a.png"], ["photos", "a.png"]):
        assert main(["datasets", "--pack", str(target), *sets]) == 0
        assert packed(target) == sets


@pytest.mark.parametrize("target", ["x.abc", "x", "x.h5", "x.xbm"])
def test_a_format_that_cannot_be_written_is_told_before_work(
    target: str, folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("istapp.experiments.reconstruction.reconstruct", lambda *_: pytest.fail("worked first"))
    assert "known image format" in one_line(capsys, *COMMANDS["reconstruct"], target)


def test_an_image_is_not_replaced_by_its_reconstruction(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("istapp.experiments.reconstruction.reconstruct", lambda *_: pytest.fail("worked first"))
    before = (folder / "a.png").read_bytes()
    (folder / "deep").mkdir()
    (folder / "link.png").symlink_to("a.png")
    (folder / "hard.png").hardlink_to("a.png")
    for target in ("a.png", "deep/../a.png", str(folder / "a.png"), "link.png", "hard.png"):
        assert f"{target} is the image itself" in one_line(capsys, *COMMANDS["reconstruct"], target)
    through = ("reconstruct", "link.png", *COMMANDS["reconstruct"][2:], "a.png")
    assert "a.png is the image itself" in one_line(capsys, *through)
    assert (folder / "a.png").read_bytes() == before and (folder / "link.png").is_symlink()


def test_a_symbolic_link_stays_one(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "link.png").symlink_to("deep/real.png")
    assert main([*COMMANDS["reconstruct"], "link.png"]) == 0
    assert (folder / "link.png").is_symlink() and PIL.Image.open(folder / "deep" / "real.png").size == (30, 20)
    (folder / "deep" / "real.png").chmod(0o604)
    assert main([*COMMANDS["reconstruct"], "link.png"]) == 0
    assert (folder / "deep" / "real.png").stat().st_mode & 0o777 == 0o604


def test_the_longest_names_can_be_written(folder: Path) -> None:
    for name in ("y" * 251 + ".png", "ä" * 125 + ".png"):
        assert main([*COMMANDS["reconstruct"], name]) == 0 and (folder / name).is_file()
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("name", ["reconstruct", "evaluate", "pack", "reconstruct a folder"])
def test_a_disk_that_is_full_at_last_loses_nothing(
    name: str, folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = {"reconstruct": "b.png", "evaluate": "b.csv", "pack": "b.safetensors"}.get(name, "new")
    more = ["a.png"] if name == "pack" else []
    monkeypatch.setattr(paths.os, "replace", _full)
    said = one_line(capsys, *COMMANDS[name], target, *more)
    assert "no space left" in said and target in said
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["a.png", "file"]


def test_a_training_looks_first_whether_its_own_folders_can_be_written(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("istapp.experiments.queue.run", lambda *_, **__: pytest.fail("worked first"))
    for place in ("RUNS", "WEIGHTS", "RESULTS"):
        monkeypatch.setattr(paths, place, folder / "file" / "below")
        assert "file is not a folder" in one_line(capsys, "train", "ista-net-pp-laptop")
        monkeypatch.setattr(paths, place, folder / "new")
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "file"]


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("command", [("methods", "tv"), ("experiments",)], ids=["few lines", "many lines"])
def test_an_output_that_is_full_or_gone(command: tuple[str, ...]) -> None:
    run = [sys.executable, "-m", "istapp", *command]
    with open("/dev/full", "w") as full:
        done = subprocess.run(run, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr == "istapp: no space left on device\n"


def test_a_reader_that_has_seen_enough() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "istapp", "methods", "tv"], cwd=ROOT, stdout=writing,
                          stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def _raise(error: BaseException) -> Callable:
    def methods(_: object) -> None:
        raise error

    return methods


def test_a_defect_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("istapp.commands.images.methods", _raise(KeyError("colour")))
    line = one_line(capsys, "methods", code=70)
    assert "KeyError: 'colour'" in line and "--debug" in line
    assert main(["methods", "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.csv"), "x.csv: no such file"),
        (PermissionError(errno.EACCES, "Permission denied", b"y"), "permission denied"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
        (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), "is the disk full?"),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("istapp.commands.images.methods", _raise(error))
    assert words in one_line(capsys, "methods") and told(KeyError()) is None


def test_a_picture_of_twelve_bits(folder: Path, capsys: pytest.CaptureFixture) -> None:
    deep = np.linspace(0, 4095, 80).astype(np.uint16).reshape(8, 10)
    save(folder / "deep.png", deep)
    run = ["reconstruct", "deep.png", "--method", "linear", "--ratio", "100", "--out", "out.png"]
    assert main(run) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("istapp: warning: ") and printed.err.count("\n") == 1 and "--bits 12" in printed.err
    assert main([*run, "--bits", "12"]) == 0 and not capsys.readouterr().err
    made = np.asarray(PIL.Image.open(folder / "out.png")).astype(int)
    assert np.abs(made - deep / 4095 * 255).max() < 2


def test_a_folder_of_pictures_of_twelve_bits(folder: Path, capsys: pytest.CaptureFixture) -> None:
    deep = np.linspace(0, 4095, 80).astype(np.uint16).reshape(8, 10)
    save(folder / "val" / "deep.png", deep)
    save(folder / "scaled" / "deep.png", np.rint(deep / 4095 * 255).astype(np.uint8))

    def row(dataset: str, out: str, *more: str) -> tuple[dict[str, str], str, str]:
        run = ["evaluate", "--dataset", dataset, "--method", "linear", "--ratios", "30", "--out", out, *more]
        assert main(run) == 0
        (found,) = read_rows(folder / out)
        return found, *capsys.readouterr()

    dark, _, warned = row("val", "r.csv")
    assert warned.startswith("istapp: warning: ") and "--bits 12" in warned
    light, said, warned = row("val", "r.csv", "--bits", "12")
    assert not warned and "1 row with other pixels" in said  # what was asked for is told from what was not
    assert light["dataset"] == dark["dataset"] == "val" and light["psnr"] != dark["psnr"]
    plain, *_ = row("scaled", "s.csv")
    assert [plain[key] for key in ("pixels", "psnr")] == [light[key] for key in ("pixels", "psnr")]
    _, said, _ = row("val", "r.csv", "--bits", "12")
    assert "again" not in said
    alone, *_ = row("val/deep.png", "one.csv", "--bits", "12")
    assert alone["pixels"] == light["pixels"]


def test_bits_are_of_files_and_of_enough_of_them(folder: Path, capsys: pytest.CaptureFixture) -> None:
    save(folder / "val" / "deep.png", np.full((8, 10), 4095, np.uint16))
    run = ("evaluate", "--method", "linear", "--ratios", "30", "--dataset")
    assert "photos is a registered set or a pack" in one_line(capsys, *run, "photos", "--bits", "12")
    assert "do not fit in 10 bits" in one_line(capsys, *run, "val", "--bits", "10")
    assert "from 8 to 16" in one_line(capsys, *run, "val", "--bits", "7")


def test_unfinished_training_lies_in_one_place_from_everywhere(folder: Path) -> None:
    look = [sys.executable, "-c", "from istapp.basics import paths; print(paths.RUNS)"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("ISTAPP_RUNS", None)
    there = {subprocess.check_output(look, cwd=where, env=environment, text=True) for where in (folder, ROOT)}
    assert there == {f"{ROOT / 'runs'}\n"}
    environment["ISTAPP_RUNS"] = "mine"
    assert subprocess.check_output(look, cwd=folder, env=environment, text=True) == f"{folder.resolve() / 'mine'}\n"


@pytest.mark.parametrize("text", ["\0", "a\0b.png", "\ud800"])
def test_what_no_file_can_be_called(text: str, folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert "no file can be called" in one_line(capsys, "reconstruct", text, "--method", "linear", "--out", "b.png")


def test_a_polite_kill_leaves_nothing(folder: Path) -> None:
    code = (
        "import os, signal, sys\nfrom istapp import __main__ as m\nfrom istapp.basics import paths\n"
        "from istapp.commands import images\n"
        "def half(beside):\n    beside.write_text('half')\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "def methods(_):\n    paths.write_atomically('file', half)\n"
        "images.methods = methods\n"
        "sys.argv = ['istapp', 'methods']\nm.program()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
                          stderr=subprocess.PIPE)  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "istapp: stopped\n")
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "file"] and Path("file").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ("CUDA out of memory. Tried to allocate 2 GiB", True),
        ("DefaultCPUAllocator: can't allocate memory: you tried", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("required rank 4 tensor to use channels_last memory format", False),
    ],
)
def test_only_a_want_of_memory_is_told_as_one(words, known):
    assert (told(RuntimeError(words)) is not None) == known


@pytest.mark.parametrize(
    ("slip", "why"),
    [(lambda: evaluation.evaluate("linear", "photos", [0.1]), "no method but a str: methods.get..linear.. gives one"),
     (lambda: evaluation.evaluate(methods.class_of("linear"), "photos", [0.1]), "no method but a type"),
     (lambda: evaluation.evaluate(methods.get("linear"), "photos", 0.1), r"a list, .*: \[0.1\]"),
     (lambda: evaluation.evaluate(methods.get("linear"), [np.zeros((9, 9))], [0.1]), "holds .*Image.*, not ndarray"),
     (lambda: BlockSampling().A(np.zeros((1, 1, 33, 33))), "tensors, not ndarray: torch.from_numpy"),
     (lambda: BlockSampling(1.0, block=2, phi=1j * np.eye(4)), "Phi is complex"),
     (lambda: loading.required("my-own"), "or train them: istapp.training.train")],
)  # fmt: skip
def test_a_slip_in_python_is_one_line_that_says_what_is_wanted(slip: Callable[[], object], why: str) -> None:
    with pytest.raises(UserError, match=why):
        slip()


def test_weights_that_may_not_be_read_are_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.safetensors"
    weights.save(file, {}, {})

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match="cannot read .*w.safetensors: permission denied"):
        weights.header(file)


def test_a_queue_in_which_nothing_waits_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "LAPTOP", [])
    said: list[str] = []
    assert queue.work_off(1, places=queue.Places.in_folder(tmp_path), say=said.append) == []
    assert len(said) == 1 and "istapp train ID" in said[0]

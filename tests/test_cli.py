"""The command line as a person meets it: what works, and that every mistake is one line and exit code 2."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import istapp
from istapp.__main__ import main, parser
from istapp.basics.errors import UserError
from istapp.commands.arguments import percent
from istapp.experiments.evaluation import read_rows
from istapp.images import datasets

COMMANDS = (
    "datasets", "methods", "reconstruct", "evaluate", "experiments", "train", "campaign", "ladder", "study",
    "benchmark", "reproduce", "ledger", "trace", "claims",
)  # fmt: skip


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small colour picture."""
    pixels = datasets.photo("chelsea").pixels[100:150, 200:270].numpy()
    PIL.Image.fromarray(pixels).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def fails(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """Run the command line, expect a mistake, and return its one line."""
    assert main([str(a) for a in arguments]) == 2
    out, error = capsys.readouterr()
    assert error.startswith("istapp: ") and error.count("\n") == 1 and "Traceback" not in error and not out
    return error


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0 and f"example:  istapp {command}" in capsys.readouterr().out


def test_the_top_help_names_every_command(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    listed = (Path(istapp.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert all(command in out and command in listed for command in COMMANDS)
    (commands,) = (action.choices for action in parser()._actions if action.dest == "command")
    assert tuple(commands) == COMMANDS


@pytest.mark.parametrize(
    ("command", "expected"), [("datasets", "Set11"), ("methods", "ista-net-pp"), ("experiments", "ista-net-pp-laptop")]
)
def test_the_lists(command: str, expected: str, capsys: pytest.CaptureFixture) -> None:
    assert main([command]) == 0
    assert expected in capsys.readouterr().out


def test_a_reconstruction_keeps_colour_and_size(picture: Path, capsys: pytest.CaptureFixture) -> None:
    out = picture.with_name("estimate.png")
    assert main(["reconstruct", str(picture), "--method", "linear", "--ratio", "30", "--out", str(out)]) == 0
    made = PIL.Image.open(out)
    assert made.mode == "RGB" and made.size == PIL.Image.open(picture).size
    assert "PSNR" in capsys.readouterr().out
    error = np.asarray(made, float) - np.asarray(PIL.Image.open(picture), float)
    assert np.sqrt((error**2).mean()) < 30


def test_an_evaluation_prints_means_and_writes_rows(picture: Path, capsys: pytest.CaptureFixture) -> None:
    out = picture.parent / "rows" / "rows.csv"
    arguments = ["evaluate", "--method", "linear", "--dataset", picture.parent, "--ratios", "10,50", "--out", out]
    assert main([*(str(a) for a in arguments), "--run", "mine"]) == 0
    printed = capsys.readouterr().out
    rows = read_rows(out)
    assert [row["ratio"] for row in rows] == ["10", "50"] and {row["image"] for row in rows} == {"cat"}
    assert {row["run"] for row in rows} == {"mine"}
    assert all(f"{float(row['psnr']):.2f}" in printed for row in rows)


@pytest.mark.parametrize("ratio", ["0", "101", "ten", "nan", "-5", "inf", "", "0.1"])
def test_a_ratio_that_is_none(ratio: str, picture: Path, capsys: pytest.CaptureFixture) -> None:
    out = picture.with_name("no.png")
    error = fails(capsys, "reconstruct", picture, "--method", "linear", f"--ratio={ratio}", "--out", out)
    assert "ratio" in error and not out.exists()
    assert ("did you mean 10" in error) == (ratio == "0.1")


def test_percent() -> None:
    assert percent("10") == 0.1 and percent("33.3%") == pytest.approx(0.333)
    with pytest.raises(UserError):
        percent("1e400")


def test_unknown_names_suggest_the_nearest(picture: Path, capsys: pytest.CaptureFixture) -> None:
    out = picture.with_name("no.png")
    error = fails(capsys, "reconstruct", picture, "--method", "fistta", "--out", out)
    assert "did you mean 'fista'" in error and not out.exists()
    error = fails(capsys, "evaluate", "--method", "linear", "--dataset", "Set12")
    assert "did you mean 'Set11'" in error
    assert "did you mean" in fails(capsys, "train", "ista-net-pp-laptp")


@pytest.mark.parametrize("content", [b"", b"hello, I am text", b"\x89PNG\r\n\x1a\n then nothing"])
def test_what_is_no_image(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bad, out = tmp_path / "bad.png", tmp_path / "out.png"
    bad.write_bytes(content)
    assert "bad.png" in fails(capsys, "reconstruct", bad, "--method", "linear", "--out", out)
    assert "bad.png" in fails(capsys, "evaluate", "--method", "linear", "--dataset", tmp_path)
    assert not out.exists()


def test_a_folder_without_images_and_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert "no image" in fails(capsys, "evaluate", "--method", "linear", "--dataset", tmp_path)
    fails(capsys, "reconstruct", tmp_path / "none.png", "--method", "linear", "--out", tmp_path / "out.png")


def test_an_output_that_cannot_be_written(picture: Path, capsys: pytest.CaptureFixture) -> None:
    for out in (
        picture.parent,
        picture / "below-a-file.png",
        Path("/proc/nowhere/out.png"),
        picture.with_name("a.xyz"),
    ):
        assert str(out) in fails(capsys, "reconstruct", picture, "--method", "linear", "--out", out)
    before = picture.read_bytes()
    error = fails(capsys, "evaluate", "--method", "linear", "--dataset", picture.parent, "--out", picture)
    assert "cannot read" in error or "not a file of results" in error
    assert picture.read_bytes() == before


def test_words_that_are_off(capsys: pytest.CaptureFixture) -> None:
    assert "--help" in fails(capsys, "reconstruct")
    assert "--help" in fails(capsys, "nonsense")
    assert "--help" in fails(capsys, "evaluate", "--method", "linear", "--dataset", "photos", "--seed", "x")
    assert "name one experiment" in fails(capsys, "train")
    assert "cpu or cuda" in fails(capsys, "train", "--queue", "--device", "tpu")
    assert "--pack takes" in fails(capsys, "datasets", "--pack", "x.safetensors")
    assert "cpu or cuda" in fails(capsys, "evaluate", "--method", "linear", "--dataset", "photos", "--device", "gpu")


def test_weights_are_asked_for_in_one_line(
    picture: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("istapp.basics.paths.WEIGHTS", picture.parent)
    for name in ("ista-net-pp", "ista-net-plus"):
        error = fails(capsys, "reconstruct", picture, "--method", name, "--out", picture.with_name("no.png"))
        assert "--weights" in error
    error = fails(capsys, "evaluate", "--method", "ista-net-pp", "--dataset", "photos", "--weights", picture)
    assert "safetensors" in error


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("istapp.methods.names", interrupt)
    assert main(["methods"]) == 130 and capsys.readouterr().err == "istapp: stopped\n"


def test_a_method_takes_its_options(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def run(*options: str) -> tuple[object, ...]:
        return ("reconstruct", picture, "--method", "tv", *options, "--out", tmp_path / "a.png")

    assert main([str(a) for a in run("--option", "iterations=3", "--option", "lam=0.01")]) == 0
    capsys.readouterr()
    assert "NAME=VALUE" in fails(capsys, *run("--option", "iterations"))
    assert "tv has no option speed" in fails(capsys, *run("--option", "speed=3"))
    foreign = ("reconstruct", picture, "--method", "linear", "--option", "lam=1", "--out", tmp_path / "a.png")
    assert "linear has no option lam" in fails(capsys, *foreign)

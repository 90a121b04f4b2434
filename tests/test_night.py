"""A night's folder of good and bad files: what is good is done, what is bad is told, and the run can go on."""

import os
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pictures import noise, save

from istapp.__main__ import main
from istapp.experiments import evaluation
from istapp.experiments.evaluation import read_rows

GOOD = ("a", "b", "c d")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good images, one of them twice under another ending, and what else lies in folders."""
    where = tmp_path / "night"
    for number, name in enumerate(GOOD):
        save(where / f"{name}.png", noise(number, (40, 50)))
    save(where / "a.bmp", noise(9, (12, 12)))
    (where / "cut.png").write_bytes((where / "a.png").read_bytes()[:200])
    (where / "empty.jpg").touch()
    (where / "text.png").write_text("not an image")
    (where / "gone.png").symlink_to("nowhere.png")
    (where / "sub.png").mkdir()
    (where / "notes.txt").write_text("left out")
    os.mkfifo(where / "pipe.png")
    (where / os.fsdecode(b"latin-\xe9.png")).write_bytes((where / "b.png").read_bytes())
    return where


BAD = ("cut.png", "empty.jpg", "text.png", "gone.png", "pipe.png")


def test_an_evaluation_goes_past_bad_files(folder: Path, capsys: pytest.CaptureFixture) -> None:
    out = folder.parent / "rows.csv"
    command = ["evaluate", "--method", "linear", "--dataset", str(folder), "--ratios", "10", "--out", str(out)]
    assert main(command) == 3
    printed = capsys.readouterr()
    names = {"a.png", "a.bmp", "b", "c d", r"latin-\xe9"}
    assert {row["image"] for row in read_rows(out)} == names and "5 rows in" in printed.out
    assert all(name in printed.err for name in BAD) and "5 files are bad" in printed.err
    assert "Traceback" not in printed.err
    for name in BAD:
        (folder / name).unlink()
        shutil.copy(folder / "b.png", folder / name)
    assert main(command) == 0
    assert len(read_rows(out)) == 10 and not capsys.readouterr().err


def test_an_evaluation_that_was_broken_off_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out, whole = folder.parent / "rows.csv", folder.parent / "whole.csv"
    command = ["evaluate", "--method", "linear", "--dataset", str(folder), "--ratios", "10", "--out"]
    measure, calls = evaluation._measure, []

    def broken(*arguments: object) -> dict[str, str]:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(evaluation, "_measure", broken)
    assert main([*command, str(out)]) == 130 and len(read_rows(out)) == 2
    assert main([*command, str(out)]) == 3 and len(calls) == 3 + 3
    assert main([*command, str(whole)]) == 3
    without = [[{**row, "seconds": ""} for row in read_rows(file)] for file in (out, whole)]
    assert without[0] == without[1]


def test_a_folder_is_reconstructed_past_bad_files_and_goes_on(folder: Path, capsys: pytest.CaptureFixture) -> None:
    out = folder.parent / "deep" / "out"
    command = ["reconstruct", str(folder), "--method", "linear", "--ratio", "30", "--out", str(out)]
    assert main(command) == 3
    printed = capsys.readouterr()
    assert all(name in printed.err for name in BAD) and "5 images in" in printed.out
    made = {os.fsencode(path.name) for path in out.glob("*.png")}
    assert made == {b"a.png.png", b"a.bmp.png", b"b.png", b"c d.png", b"latin-\xe9.png"}
    assert np.asarray(PIL.Image.open(out / "b.png")).shape == (40, 50)

    before = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    (out / "b.png").write_bytes(b"damaged since")
    save(folder / "c d.png", noise(77, (40, 50)))
    assert main(command) == 3
    changed = {path.name for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed == {"b.png", "c d.png"} and PIL.Image.open(out / "b.png").size == (50, 40)
    assert main([*command[:4], "--ratio", "10", *command[6:]]) == 3  # another ratio: nothing of it is there
    assert all(path.stat().st_mtime_ns != before[path] for path in before)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_every_image_of_a_folder_has_a_file_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A name made of a stem is another image's whole name."""
    names = ("a.bmp", "a.gif", "a.gif.png", "b.png", "b.png.bmp")
    for number, name in enumerate(names):
        save(tmp_path / "in" / name, noise(number, (9 + number, 12)))
    out = tmp_path / "out"
    command = ["reconstruct", str(tmp_path / "in"), "--method", "linear", "--ratio", "30", "--out", str(out)]
    assert main(command) == 0 and "5 images in" in capsys.readouterr().out
    heights = {path.name: PIL.Image.open(path).height for path in out.glob("*.png")}
    # b.png and b.png.bmp do not meet: b.png and b.png.png are what their stems make
    assert heights == {"a.bmp.png": 9, "a.gif.png": 10, "a.gif.png.png": 11, "b.png": 12, "b.png.png": 13}
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert main(command) == 0 and {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_files_that_would_still_meet_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Links that lead where the images are, or several to one file: what is written goes to where they lead."""
    for number, name in enumerate(("a.png", "b.bmp")):
        save(tmp_path / "in" / name, noise(number))
    out = tmp_path / "out"
    out.mkdir()
    command = ["reconstruct", str(tmp_path / "in"), "--method", "linear", "--out", str(out)]
    for names in (("a.png", "b.png"), ("a.png.png", "b.bmp.png")):
        for name in names:
            (out / name).symlink_to("one.png")
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "a.png and b.bmp" in error and error.count("\n") == 1 and not (out / "one.png").exists()
    (out / "b.png").unlink()
    (out / "b.png").symlink_to("../in/a.png")
    before = (tmp_path / "in" / "a.png").read_bytes()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "b.png" in error and "itself" in error and error.count("\n") == 1
    assert (tmp_path / "in" / "a.png").read_bytes() == before and not (out / "one.png").exists()


def test_a_folder_of_bad_files_alone_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.png").write_text("no image")
    folder, out = str(tmp_path / "in"), str(tmp_path / "out")
    for command in (["evaluate", "--dataset", folder], ["reconstruct", folder, "--out", out]):
        assert main([*command, "--method", "linear"]) == 2
        printed = capsys.readouterr()
        assert "a.png" in printed.err and "1 more" in printed.err and printed.err.count("\n") == 1


def test_reconstructions_do_not_go_where_the_images_are(folder: Path, capsys: pytest.CaptureFixture) -> None:
    before = {path.name for path in folder.iterdir()}
    assert main(["reconstruct", str(folder), "--method", "linear", "--out", f"{folder}/../night"]) == 2
    assert "name another" in capsys.readouterr().err and {path.name for path in folder.iterdir()} == before

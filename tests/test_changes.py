"""Recording the ledger: nothing that changed is recorded before a person has seen it and named its file."""

import shutil
import subprocess
from pathlib import Path

import pytest
from test_results import store, whole

from istapp.__main__ import main
from istapp.basics import paths
from istapp.method import weights
from istapp.paper import ledger


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def folder(results_folder: Path) -> Path:
    """A folder of recorded results under version control."""
    git(results_folder, "init")
    git(results_folder, "add", ".")
    git(results_folder, "commit", "-m", "recorded")
    return results_folder


def write(capsys: pytest.CaptureFixture, *accepted: str) -> tuple[int, str, str]:
    """Run `istapp ledger --write` and return its exit code and what it says."""
    code = main(["ledger", "--write", *(["--accept", *accepted] if accepted else [])])
    return code, *capsys.readouterr()


def test_where_nothing_changed_nothing_is_asked(folder, capsys):
    before = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    code, out, error = write(capsys)
    assert (code, error) == (0, "") and "recorded: " in out
    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == before


def test_better_rows_are_told_with_their_cells_and_verdicts_and_must_be_accepted(folder, capsys):
    path = folder / "main.csv"
    path.write_text(path.read_text().replace(",28.4000,", ",28.9000,"))
    before = (folder / "hashes.csv").read_bytes() + (folder / "ledger.csv").read_bytes()
    code, out, error = write(capsys)
    assert code == 2 and error.count("\n") == 1 and "--accept main.csv ledger.csv" in error
    assert "main.csv: changed\n  11 rows before, 11 now: 0 added, 0 gone, 11 with another PSNR" in out
    assert "dB: Set11 boats 10 %: 28.4000 -> 28.9000" in out
    assert "verdict: table1/Set11/10/ista-net-pp: ours 28.4000 -> 28.9000" in out
    assert "verdict replicated -> exceeded" in out
    assert write(capsys, "main.csv")[0] == 2  # its verdicts, too, must be accepted
    assert (folder / "hashes.csv").read_bytes() + (folder / "ledger.csv").read_bytes() == before
    assert write(capsys, str(path), "ledger.csv")[0] == 0
    assert main(["ledger"]) == 0


def test_lost_new_and_changed_files_are_told(folder, capsys):
    (folder / "other.csv").unlink()
    store(folder / "third.csv", whole("20.0000", ratio="10", ssim="", method="tv", run=""))
    (folder / "other.curve.csv").write_text("step,loss\n1,0.5\n2,0.125\n")
    code, out, _ = write(capsys)
    assert code == 2
    assert "other.csv: missing\n  11 rows before, 0 now: 0 added, 11 gone" in out
    assert "third.csv: new\n  0 rows before, 11 now: 11 added" in out
    assert "other.curve.csv: changed\n  1 lines added, 1 gone" in out
    assert "cell: table1/Set11/10/ista-net-pp: laptop 20.0000 -> -" in out
    assert write(capsys, "other.csv", "third.csv", "other.curve.csv", "ledger.csv")[0] == 0


def test_an_edited_entry_alone_must_be_accepted_too(folder, capsys):
    path = folder / "ledger.csv"
    path.write_text(path.read_text().replace(",replicated,trained on", ",exceeded,trained on"))
    code, out, _ = write(capsys)
    assert code == 2 and "ledger.csv: changed\n  verdict: table1/Set11/10/ista-net-pp: verdict exceeded -> repl" in out


def test_without_a_record_every_file_is_new(folder, capsys):
    (folder / "hashes.csv").unlink()
    (folder / "ledger.csv").unlink()
    code, out, _ = write(capsys)
    assert code == 2 and all(f"{name}: new" in out for name in ("main.csv", "other.csv", "other.curve.csv"))
    assert "entries are new" in out and not (folder / "hashes.csv").exists()


def test_rows_whose_recorded_version_nobody_has_are_named_all_the_same(folder, capsys):
    path = folder / "main.csv"
    path.write_text(path.read_text().replace(",28.4000,", ",28.5000,"))
    (folder / "hashes.csv").write_text("file,sha256\nmain.csv,abc\n")
    assert "main.csv: changed\n  no version of it in git has the recorded hash" in write(capsys)[1]


def test_what_cannot_be_accepted_is_refused(folder, capsys):
    assert "neither there nor recorded" in write(capsys, "maim.csv")[2]
    assert main(["ledger", "--accept", "main.csv"]) == 2 and "goes with --write" in capsys.readouterr().err


def test_weights_whose_header_was_made_better_are_told(folder, capsys, monkeypatch):
    shipped = min(paths.WEIGHTS.glob("*-laptop*.safetensors"), key=lambda path: path.stat().st_size)
    (folder / "weights").mkdir()
    monkeypatch.setattr(paths, "WEIGHTS", folder / "weights")
    copied = Path(shutil.copy(shipped, paths.WEIGHTS))
    ledger.write(folder)
    assert main(["ledger"]) == 0
    header, tensors = weights.load(copied)
    weights.save(copied, tensors, header | {"training_set": "T91"})
    assert main(["ledger"]) == 1 and f"{copied.name}: changed since it was recorded" in capsys.readouterr().err
    code, out, _ = write(capsys)
    assert (
        code == 2 and f"{copied.name}: changed\n  weights_hash {header['weights_hash'][:16]}, training_set T91" in out
    )
    assert write(capsys, copied.name)[0] == 0
    weights.leave_header(copied)
    assert "changed\n  a header alone, weights_hash" in write(capsys)[1] and write(capsys, copied.name)[0] == 0


def test_what_differs_from_an_older_ledger_is_told_and_recorded_nowhere(folder, capsys, tmp_path_factory):
    older = tmp_path_factory.mktemp("older") / "ledger.csv"
    shutil.copy(folder / "ledger.csv", older)
    before = (folder / "ledger.csv").read_bytes()
    assert main(["ledger", "--since", str(older)]) == 0
    assert capsys.readouterr().out == "every number and verdict is as it was\n"
    path = folder / "main.csv"
    path.write_text(path.read_text().replace(",28.4000,", ",28.9000,"))
    assert main(["ledger", "--since", str(older)]) == 0
    assert "verdict: table1/Set11/10/ista-net-pp: ours 28.4000 -> 28.9000" in capsys.readouterr().out
    assert (folder / "ledger.csv").read_bytes() == before


@pytest.mark.parametrize("what", ["main.csv", "nowhere.csv", "."])
def test_what_is_no_ledger_is_refused_in_one_line(folder, capsys, what):
    assert main(["ledger", "--since", str(folder / what)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_telling_and_recording_exclude_each_other(folder, capsys):
    assert main(["ledger", "--since", str(folder / "ledger.csv"), "--write"]) == 2
    assert "one of the two" in capsys.readouterr().err

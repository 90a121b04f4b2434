"""`istapp benchmark --methods`: what it measures, and the file of timings."""

import csv
from pathlib import Path

import pytest
import torch

from istapp import methods
from istapp.__main__ import main
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.basics.paths import write_table
from istapp.experiments import method_times
from istapp.experiments.method_times import COLUMNS, benchmark, candidates, measure, read
from istapp.methods import Method
from istapp.sampling import BlockSampling


class Counting(Method):
    """Back-projection that counts its calls."""

    calls = 0

    def __call__(self, y: torch.Tensor, sampling: BlockSampling) -> torch.Tensor:
        self.calls += 1
        return sampling.adjoint(y)


def test_the_first_call_is_thrown_away_and_the_size_is_the_images() -> None:
    method = Counting()
    median, repeats = measure(method, 0.1, size=33)
    assert repeats == method_times.REPEATS and method.calls == repeats + 1 and median >= 0


def test_a_slow_method_is_not_called_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_times, "ENOUGH", 0.0)
    method = Counting()
    assert measure(method, 0.1, size=33)[1] == 1 and method.calls == 2


def test_a_row_says_what_was_measured_where_and_replaces_itself(tmp_path: Path) -> None:
    out, said = tmp_path / "new" / "seconds.csv", []
    for size in (33, 33, 66):
        (row,) = benchmark(["linear"], out=out, size=size, say=said.append)
        assert tuple(row) == COLUMNS and row["size"] == str(size) and float(row["median"]) >= 0
    stored = read(out)
    assert [row["size"] for row in stored] == ["33", "66"] and len(said) == 3
    assert {row["threads"] for row in stored} == {str(torch.get_num_threads())}
    assert {row["clock"] for row in stored} == {"processor" if torch.get_num_threads() == 1 else "wall"}
    assert all(row["machine"] and row["commit"] and row["device"] == "cpu" for row in stored)


def test_every_shipped_main_network_is_measured_as_itself() -> None:
    found = [(run, method.weights) for _, run, method in candidates(["ista-net-pp"])]
    assert found and all(weights == f"{run}.safetensors" for run, weights in found)


def test_methods_that_optimise_for_every_image_run_only_when_named() -> None:
    names = {name for name, _, _ in candidates()}
    assert {"linear", "tv"} <= names
    assert not [name for name in names if methods.class_of(name).kind == "untrained network"]


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "notes.csv"
    out.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="not a file of timings"):
        benchmark(["linear"], out=out, size=33)
    assert out.read_text() == "a,b\n1,2\n"
    row = dict.fromkeys(method_times.COLUMNS, "1") | {"median": "fast"}
    write_table(out, method_times.COLUMNS, [row])
    with pytest.raises(UserError, match="line 2: median is 'fast', which is no number"):
        benchmark(["linear"], out=out, size=33)


def test_without_a_file_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_times, "FILE", tmp_path / "tracked.csv")
    assert benchmark(["linear"], size=33) and not list(tmp_path.iterdir())


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_times, "ENOUGH", 0.0)
    out = tmp_path / "seconds.csv"
    assert main(["benchmark", "--methods", "linear", "--out", str(out)]) == 0
    assert "linear" in capsys.readouterr().out and read(out)[0]["size"] == "256"
    assert main(["benchmark", "--methods", "linaer", "--out", str(out)]) == 2
    assert "did you mean 'linear'" in capsys.readouterr().err


@pytest.mark.skipif(not (paths.RESULTS / "seconds.csv").exists(), reason="no timings were recorded yet")
def test_the_recorded_timings_are_positive_of_known_methods_and_unique() -> None:
    with method_times.FILE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys = [tuple(row[k] for k in method_times._KEY) for row in rows]
    assert rows == read() and len(set(keys)) == len(keys)
    for row in rows:
        assert row["method"] in methods.names() and float(row["median"]) > 0 and int(row["repeats"]) >= 1
        assert row["size"] == "256" and "dirty" not in row["commit"]

"""`istapp trace`: every number of the tables leads back to files, and a path that is broken says where."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from test_results import store, whole

from istapp.__main__ import main
from istapp.basics import paths
from istapp.paper import ledger, results, trace

RUN = "ista-net-pp-laptop"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results with one run's file and its curve, recorded, which the module takes for its own."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    shutil.copy(ROOT / "data" / "results" / f"{RUN}.curve.csv", tmp_path)
    store(tmp_path / f"{RUN}.csv", whole("20.1234", ratio="10", ssim="", run=RUN))
    ledger.write(tmp_path)
    return tmp_path


def traced(capsys: pytest.CaptureFixture, number: str) -> tuple[int, str]:
    code = main(["trace", number])
    return code, capsys.readouterr().out


def test_a_cell_leads_through_every_step_to_its_files(folder, capsys):
    code, out = traced(capsys, "table1/Set11/10/ista-net-pp")
    assert code == 0 and "BROKEN" not in out
    steps = [line.split()[0] for line in out.splitlines()[1:]]
    assert steps == ["file", "rows", "code", "weights", "run", "cell", "verdict", "page"]
    assert f"{RUN}.csv" in out and "lines 2-12" in out and "20.1234 dB, mean of 11 rows, every image" in out
    assert "07_tables_1_and_2.ipynb" in out and "published 28.34 dB" in out


def test_a_value_finds_its_cells_and_a_cell_its_entries(folder, capsys):
    code, out = traced(capsys, f"ista-net-pp/Set11/10/{RUN}//boats")
    assert code == 0 and "mean of 1 row, not every image" in out
    assert "see table1/Set11/10/ista-net-pp" in out
    code, out = traced(capsys, "20.12")
    assert "may be any of these" in out and f"ista-net-pp/Set11/10/{RUN}//house" in out
    assert f"\nista-net-pp/Set11/10/{RUN}/\n" in out and "\ntable1/Set11/10/ista-net-pp\n" in out
    assert "counted in what the module builds" in traced(capsys, "table4/c/parameters")[1]


def test_a_broken_step_is_named(folder, capsys):
    path = folder / f"{RUN}.csv"
    path.write_text(path.read_text().replace("20.1234", "21.1234", 1))
    code, out = traced(capsys, "table1/Set11/10/ista-net-pp")
    assert code == 1 and f"file     BROKEN: data/results/{RUN}.csv" in out
    (folder / f"{RUN}.curve.csv").write_text("step,loss\n")
    assert f"{RUN}.curve.csv not as recorded" in traced(capsys, "table1/Set11/10/ista-net-pp")[1]
    store(path, whole("20.1234", ratio="10", ssim="", run=RUN, weights="0123456789abcdef"))
    assert "the rows name 0123456789abcdef" in traced(capsys, "table1/Set11/10/ista-net-pp")[1]


@pytest.mark.parametrize("number", ["99.99", "table1/Set11/11/ista-net-pp", "ista-net-pp/Set11/20", "a/b/c", "Set11"])
def test_what_is_no_number_is_one_line(number, folder, capsys):
    assert main(["trace", number]) == 2
    out, error = capsys.readouterr()
    assert not out and error.count("\n") == 1 and ("istapp ledger" in error or "no number" in error)


def test_every_shipped_cell_leads_to_files_that_hold():
    found, rows = ledger.entries(), results.load()
    broken = [(entry.id, str(step)) for entry in found for step in trace._of_entry(entry)[1] if not step.holds]
    assert broken == []
    names = list(trace._cells(rows))
    assert len(names) > 200
    for name in names[::25]:
        assert all(step.holds for step in trace._of_cell(name, rows, found)[1]), name


def test_the_page_tells_every_step():
    page = (ROOT / "book" / "how_a_number_gets_here.md").read_text(encoding="utf-8")
    names = {step.name for entry in ledger.entries()[:20] for step in trace._of_entry(entry)[1]}
    names |= {"file", "rows", "code", "weights", "run"}
    assert all(f"**{name}**" in page for name in names)
    for command in re.findall(r"^istapp trace (\S+)", page, re.MULTILINE):
        assert main(["trace", command]) == 0

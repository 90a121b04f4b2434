"""`istapp benchmark`: forward passes and training steps beside the plain ones."""

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from istapp.__main__ import main
from istapp.basics.measuring import middle, take_turns
from istapp.experiments import speed
from istapp.experiments.speed import COMPILED, EXACT, FAST, LAID_OUT, PLAIN, forward, step
from istapp.methods.ista_net_pp import ISTANetPP


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few turns, no compilation, which takes a quarter of a minute, and a machine of 1e9 operations a second."""

    def product() -> None:
        """Stand in for a million operations in a millisecond."""

    def turns(works: list[Callable], device: str) -> list[list[float]]:
        taken = take_turns(works, device, enough=0.0)
        return [[1e-3] if work is product else own for work, own in zip(works, taken)]

    monkeypatch.setattr(speed, "take_turns", turns)
    monkeypatch.setattr("istapp.method.fast.compile_stages", lambda network: None)
    monkeypatch.setattr(speed, "product", lambda *_: (1e6, product))


def test_the_middle_leaves_out_the_odd_ones() -> None:
    assert middle([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1000]) == (6, 2, 10)
    assert middle([5.0]) == (5, 5, 5)


def test_works_take_turns() -> None:
    order: list[str] = []
    taken = take_turns([lambda: order.append("a"), lambda: order.append("b")], "cpu", enough=0.0)
    assert order == ["a", "b"] * 4 and [len(own) for own in taken] == [3, 3]  # the first turn warms up


def test_a_forward_pass_is_told_beside_the_plain_one() -> None:
    rows = forward(ISTANetPP(2, 4).eval(), 0.1, side=60, compiled=True)
    assert [row.way for row in rows] == [PLAIN, LAID_OUT, FAST, COMPILED, EXACT]
    assert {row.pixels for row in rows} == {66**2}
    plain = rows[0]
    assert plain.ratio == 1 and plain.low <= plain.seconds <= plain.high and plain.turns == 3
    # 2 stages of 5 convolutions and 2 products with Phi, a multiplication with an addition each
    convolutions = 2 * 2 * 9 * (2 * 4 + 4 * 16 + 4) * 66**2
    products = 2 * 109 * 66**2 * (1 + 2 * 2)  # x_0, and there and back in every stage
    conditions = 2 * (1 * 32 + 32 * 32 + 32 * 4)
    done = convolutions + products + conditions
    assert plain.share_of_peak * plain.seconds * 1e9 == pytest.approx(done)


def test_a_training_step_tells_the_optimisers_share() -> None:
    rows = step(2, 4, batch=2)
    assert [row.way for row in rows] == [PLAIN, FAST] and rows[0].optimiser_share == ""
    assert 0 < rows[1].optimiser_share < 1 and rows[1].pixels == 2 * 66**2


def test_the_command_writes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "speed.csv"
    sizes = ["--stages", "1", "2", "--channels", "2", "--side", "33", "--batch", "2"]
    assert main(["benchmark", *sizes, "--out", str(out)]) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["what"], row["stages"]) for row in rows} == {(w, k) for w in ("forward", "step") for k in "12"}
    assert all(math.isfinite(float(row["seconds"])) and row["commit"] for row in rows)
    assert "K=2 C=2" in capsys.readouterr().out
    assert main(["benchmark", "--networks", "ista-net-plus", "--side", "33"]) == 0
    assert "ista-net-plus" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x89PNG\r\n\x1a\n", b"what,method\nforward,tv\n"])
def test_another_file_is_refused_before_work(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "measure", lambda *_: pytest.fail("worked first"))
    out = tmp_path / "mine.csv"
    out.write_bytes(content)
    assert main(["benchmark", "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert "mine.csv" in printed.err and printed.err.count("\n") == 1 and not printed.out
    assert out.read_bytes() == content


def test_a_run_that_is_broken_off_keeps_the_table_of_the_last_one(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "speed.csv"
    rows = [row for turn in (1, 2) for row in step(1, 2, batch=turn)]

    def run(some: list[speed.Timing], stopped: bool, code: int) -> list[str]:
        def measure(*_: object) -> Iterator[speed.Timing]:
            yield from some
            if stopped:
                raise KeyboardInterrupt

        monkeypatch.setattr(speed, "measure", measure)
        assert main(["benchmark", "--out", str(out)]) == code
        with out.open() as file:
            return [row["pixels"] for row in csv.DictReader(file)]

    small, large = f"{66**2}", f"{2 * 66**2}"
    assert run(rows[:2], stopped=True, code=130) == [small] * 2  # nothing was there: what is measured is kept
    assert run(rows[:2], stopped=False, code=0) == [small] * 2
    assert run(rows[2:3], stopped=True, code=130) == [small, small, large]
    assert run(rows[2:], stopped=False, code=0) == [large] * 2
    assert run([], stopped=False, code=0) == [large] * 2  # no row, no new table

"""The options of methods: typed, within ranges, explained; and methods of one's own that are damaged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from istapp import methods
from istapp.__main__ import main
from istapp.basics.errors import UserError
from istapp.experiments import evaluation
from istapp.images.datasets import Image
from istapp.methods import Option


def refused(name: str, **options: object) -> str:
    with pytest.raises(UserError) as error:
        methods.get(name, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("tv", "lam", "abc"), ("tv", "lam", "nan"), ("tv", "lam", "inf"), ("tv", "lam", -1), ("tv", "lam", True),
        ("tv", "lam", None.__class__), ("ista", "iterations", "1.5"), ("ista", "iterations", 1.5),
        ("ista", "iterations", "inf"), ("fista", "iterations", 10**30), ("fista", "iterations", "9" * 5000),
        ("fista", "iterations", 0), ("dip", "iterations", "abc"), ("dip", "seed", "0.01"), ("dip", "seed", -1),
        ("dip", "minutes", "nan"), ("dip", "scales", 6), ("bm3d-amp", "damping", "inf"), ("bm3d-amp", "choose", 1),
        ("nlr-csnet", "mu", 0), ("nlr-csnet", "every", 0),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named_with_the_range(name: str, option: str, value: object) -> None:
    line = refused(name, **{option: value})
    assert f"{name}: the option {option} is " in line and methods.get(name)


def test_text_is_read_as_the_command_line_gives_it() -> None:
    method = methods.get("dip", iterations="3", rate="1e-2", minutes="inf")
    assert (method.iterations, method.rate, method.minutes) == (3, 0.01, float("inf"))
    assert methods.get("bm3d-amp", denoiser="dct", choose="last").choose == "last"


def test_an_unknown_option_suggests_the_nearest() -> None:
    assert refused("tv", iteration=3) == (
        "tv has no option iteration (did you mean 'iterations'?); it has lam, iterations"
    )
    assert refused("ista-net-pp", lam=3) == "ista-net-pp has no option lam"


@pytest.mark.parametrize("name", methods.names())
def test_every_option_is_explained_and_has_a_range_that_holds_its_default(
    name: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["methods", name]) == 0
    printed = capsys.readouterr().out
    for option in methods.describe(name).options:
        assert option.name in printed and option.meaning in printed and option.range in printed
        assert option.meaning and option.check(option.default, name) == option.default
        assert option.choices or option.low > float("-inf")


def test_an_option_without_a_range_takes_any_number_of_its_kind() -> None:
    assert Option("strength", 0.5).check("2", "mine") == 2.0 and Option("name", "a").check("b", "mine") == "b"
    with pytest.raises(UserError, match="a whole number, not '2.0'"):
        Option("count", 1).check("2.0", "mine")


GOOD = """
from istapp.methods import Method
class Mine(Method):
    name = "mine"
    def __call__(self, y, sampling):
        return self.strength * sampling.adjoint(y)
METHOD = Mine
def build(weights=None, strength=1.0):
    method = Mine()
    method.strength = strength
    return method
"""


def called(name: str) -> str:
    """Return the source of a good method of that name."""
    return GOOD.replace('"mine"', f'"{name}"')


def test_damaged_methods_of_ones_own_take_only_themselves_away(tmp_path: Path) -> None:
    for name, text in {
        "mine": GOOD, "syntax": "def build(:\n", "missing": "import no_such_library\n", "empty": "",
        "leaves": "import sys\nsys.exit(3)\n", "late": called("late").replace("method = Mine()", "raise KeyError('x')"),
        "tv": GOOD, "_helper": "raise ValueError", "other": GOOD,
    }.items():  # fmt: skip
        (tmp_path / f"{name}.py").write_text(text)
    environment = {**os.environ, "ISTAPP_METHODS": f"{tmp_path}{os.pathsep}{tmp_path / 'nowhere'}"}
    command = [sys.executable, "-m", "istapp", "methods"]
    listed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert listed.returncode == 0 and "Traceback" not in listed.stderr
    lines = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert "any" in lines["mine"] and "any" in lines["tv"] and "-helper" not in lines
    for name, why in {
        "syntax": "SyntaxError in line 1", "missing": "no_such_library", "empty": "needs a class METHOD",
        "leaves": "SystemExit in line 2", "late": "KeyError in line 9", "other": "its class is called 'mine'",
    }.items():  # fmt: skip
        assert why in lines[name] and f"{name}.py" in lines[name]
    assert "tv.py is left out" in listed.stderr and "nowhere, which is no folder" in listed.stderr


def test_a_damaged_method_is_one_line_and_a_good_one_has_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    (tmp_path / "own_good.py").write_text(called("own-good"))
    (tmp_path / "own_syntax.py").write_text("def build(:\n")
    assert main(["methods", "own-syntax"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "SyntaxError" in error
    assert main(["methods", "own-good"]) == 0
    explained = capsys.readouterr().out
    assert "strength" in explained and "a number" in explained


@pytest.mark.parametrize(
    ("line", "why"),
    [("1 / 0", "own_bad.py cannot be used: ZeroDivisionError in line 6"), ("y.numpy()", "returned a ndarray"),
     ("sampling.adjoint(y)[..., :-1]", r"returned \(1, 1, 33, 32\), not a tensor of the shape .* \(1, 1, 33, 33\)"),
     ("torch.zeros(1, 1, 66, 66)", r"returned \(1, 1, 66, 66\)")],
)  # fmt: skip
def test_what_a_method_of_ones_own_does_wrong_is_told_as_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, why: str
) -> None:
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "istapp.methods.own_bad", raising=False)
    text = called("own-bad").replace("self.strength * sampling.adjoint(y)", line)
    (tmp_path / "own_bad.py").write_text("import torch" + text)
    with pytest.raises(UserError, match=why):
        evaluation.evaluate(methods.get("own-bad"), [Image("one", torch.zeros(32, 32, dtype=torch.uint8))], (0.1,))


def test_a_folder_of_methods_that_is_none_is_told_where_a_method_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, "/nowhere/at/all"])
    with pytest.raises(UserError, match="no method 'my-own'.*/nowhere/at/all, which is no folder"):
        methods.get("my-own")

"""Exercises that check themselves: stubs and solutions go together, right answers pass, wrong ones are told why."""

import ast
import importlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from answers import CASES, Answer

from istapp.exercises.answers import Verdict, Wrong, ask, check, close, names, number, require, tensor, truth

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("[01][0-9]_*.ipynb"))
chapters = pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
exercises = pytest.mark.parametrize("exercise", CASES)
#: Words of an exercise that ask for an argument, which code alone is not.
ASKS_WHY = re.compile(r"\b([Ss]how (that|with)|[Pp]rove|[Dd]erive)\b")


def checked(exercise: str, answer: Answer) -> Verdict:
    """What the check of an exercise says to an answer."""
    chapter, number = exercise.split(".")
    module = importlib.import_module(f"istapp.exercises.chapter_{int(chapter):02}")
    return getattr(module, f"check_{chapter}_{number}")(*answer)


def cells(path: Path, kind: str) -> list[str]:
    """The sources of a notebook's cells of one kind."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def by_exercise(path: Path, title: str) -> dict[str, str]:
    """The code cells that begin with "# Exercise 1.3" or "# Solution 1.3", together for each exercise."""
    found: dict[str, str] = {}
    for source in cells(path, "code"):
        if match := re.match(rf"# {title} (\d+\.\d+)", source):
            found[match[1]] = f"{found.get(match[1], '')}\n{source}"
    return found


def named(source: str) -> set[str]:
    """The names that a cell gives to functions, classes and values, outside of them."""
    targets: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            targets.add(node.name)
        elif isinstance(node, ast.Assign):
            targets |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return targets


def calls(source: str) -> Iterator[tuple[str, str]]:
    """Every call of a check in a cell: its name and its arguments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("check_"):
            yield node.func.id, ", ".join(ast.unparse(argument) for argument in node.args)


@chapters
def test_every_chapter_checks_four_exercises(path: Path) -> None:
    stubs = by_exercise(path, "Exercise")
    assert len(stubs) >= 4
    assert {exercise for exercise in CASES if exercise.split(".")[0] == str(int(path.name[:2]))} == stubs.keys()


@chapters
def test_stubs_and_solutions_line_up(path: Path) -> None:
    solutions = by_exercise(path, "Solution")
    for exercise, stub in by_exercise(path, "Exercise").items():
        solution = solutions[exercise]
        assert named(stub) <= named(solution), f"{exercise}: the solution lacks {named(stub) - named(solution)}"
        name = f"check_{exercise.replace('.', '_')}"
        (asked,), (answered,) = list(calls(stub)), list(calls(solution))
        assert asked == answered and asked[0] == name
        last = ast.parse(stub).body[-1]
        assert isinstance(last, ast.Expr) and list(calls(ast.unparse(last))), "a stub ends by showing its check"
        insisted = [node for node in ast.walk(ast.parse(solution)) if isinstance(node, ast.Assert)]
        assert any(list(calls(ast.unparse(node))) for node in insisted), "a solution insists on passing its check"


@chapters
def test_a_stub_comes_between_its_exercise_and_its_solution(path: Path) -> None:
    marks = re.findall(r"^(?:\*\*|# )(Exercise|Solution) (\d+\.\d+)", "\n".join(_sources(path)), re.MULTILINE)
    order = [f"{kind} {exercise}" for kind, exercise in marks]
    for exercise in by_exercise(path, "Exercise"):
        asked = [i for i, mark in enumerate(order) if mark == f"Exercise {exercise}"]
        assert len(asked) == 2 and asked[1] == asked[0] + 1 < order.index(f"Solution {exercise}")


def _sources(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


@chapters
def test_an_exercise_that_asks_why_has_a_written_argument(path: Path) -> None:
    text = "\n".join(cells(path, "markdown"))
    argued = set(re.findall(r"<details><summary>Solution (\d+\.\d+): the argument</summary>\n\n\S", text))
    exercises = re.findall(r"^\*\*Exercise (\d+\.\d+)(.*)", text, re.MULTILINE)
    assert {exercise for exercise, words in exercises if ASKS_WHY.search(words)} <= argued


@chapters
def test_what_is_folded_is_markdown_as_well(path: Path) -> None:
    """Text right behind a tag of HTML is HTML too, and its formulas and code would be shown as they are typed."""
    text = "\n\n".join(cells(path, "markdown"))
    assert re.findall(r"</summary>(?!\n\n).*|.*(?<!\n\n)</details>", text) == []


@chapters
def test_the_solutions_are_not_in_the_stubs(path: Path) -> None:
    for stub in by_exercise(path, "Exercise").values():
        assert "..." in stub


@exercises
def test_a_right_answer_passes_and_wrong_ones_are_told_why(exercise: str) -> None:
    right, *wrong = CASES[exercise]
    praise = checked(exercise, right)
    assert praise and praise.passed is True, praise
    assert len(wrong) >= 2
    nudges = [checked(exercise, answer) for answer in wrong]
    for nudge in nudges:
        assert nudge.passed is False and not nudge, nudge
        assert len(nudge.words.split()) >= 4 and nudge.words != praise.words
        assert "Your answer stopped with" not in nudge.words, nudge
    assert len({nudge.words for nudge in nudges}) >= 2


@exercises
def test_an_empty_answer_is_no_wrong_one(exercise: str) -> None:
    right = CASES[exercise][0]
    for empty in (..., None):
        verdict = checked(exercise, (empty, *right[1:]))
        assert verdict.passed is None and not verdict and "not answered yet" in repr(verdict)


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("4.3", ({2: 2, 4: 4, 7: 7}.__getitem__, 660)),  # "two or more", as the question says
        ("10.4", (lambda s, gain: math.ceil((1.96 * s / gain) ** 2), False)),  # images are counted
    ],
)
def test_other_right_answers_pass(exercise: str, answer: Answer) -> None:
    """What a reader may well write in place of the solution."""
    assert checked(exercise, answer), checked(exercise, answer)


def test_a_check_leaves_the_dice_of_the_chapter_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    checked("1.2", CASES["1.2"][0])
    assert torch.equal(torch.rand(3), expected)


@check("0.1")
def check_0_1(function: object) -> str:
    require(number(ask(function, 2), "the number") == 4, "Two and two are something else.")  # type: ignore[arg-type]
    return "Two and two are four."


def _fails(x: int) -> int:
    raise ValueError(f"no {x} today")


def _waits(x: int) -> int:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "passed", "words"),
    [
        (lambda x: x + 2, True, "Exercise 0.1: right. Two and two are four."),
        (lambda x: x, False, "Exercise 0.1: not yet. Two and two are something else."),
        (lambda x: None, None, "Exercise 0.1: not answered yet. Replace the dots"),
        (lambda x: ..., None, "Exercise 0.1: not answered yet. Replace the dots"),
        (_waits, None, "Exercise 0.1: not answered yet. Replace the dots"),
        (_fails, False, "Exercise 0.1: not yet. Your answer stopped with ValueError: no 2 today"),
        (lambda x: "four", False, "Exercise 0.1: not yet. The number should be a number, and yours is 'four'."),
        (4, False, "Exercise 0.1: not yet. A function is asked for, and yours is 4."),
    ],
)
def test_a_check_answers_in_words(function: object, passed: bool | None, words: str) -> None:
    verdict = check_0_1(function)
    assert verdict.passed is passed and repr(verdict).replace("\n", " ").startswith(words)
    assert all(len(line) <= 79 for line in repr(verdict).splitlines())


def test_an_error_is_told_with_the_readers_own_line(tmp_path: Path) -> None:
    """The last line of theirs, not one of a library, nor one of the check."""
    cell = tmp_path / "cell.py"
    cell.write_text("import torch\n\ndef mine(x):\n    return torch.ones(x) @ torch.ones(3)\n")
    own: dict[str, object] = {}
    exec(compile(cell.read_text(), str(cell), "exec"), own)
    words = check_0_1(own["mine"]).words
    assert words.startswith("Your answer stopped with RuntimeError: ")
    assert words.endswith("(in your line 4: return torch.ones(x) @ torch.ones(3))")
    assert "in your line" not in checked("4.3", (lambda: 4, 660)).words, "a function of no arguments never began"


def test_several_names_are_asked_for_as_such() -> None:
    """A sentence that holds a name is no set of names, and neither is a number."""
    assert names({"soft"}, "it") == {"soft"} == names(["soft", "soft"], "it")
    for answer in ("soft and box", 3):
        with pytest.raises(Wrong, match="It should be a set of names"):
            names(answer, "it")


def test_tensors_are_asked_for_by_shape() -> None:
    assert tensor(torch.ones(2), (2,), "it").dtype == torch.float64
    for answer in (1.0, torch.ones(3), torch.tensor([1.0, float("nan")])):
        with pytest.raises(Wrong, match="It "):
            tensor(answer, (2,), "it")


def test_yes_or_no_is_asked_for_as_true_or_false() -> None:
    for yes in (True, np.bool_(True), torch.tensor(True)):
        assert truth(yes, "it") is True and truth(~yes if yes is not True else False, "it") is False
    for answer in ("yes", 1, np.float64(1)):
        with pytest.raises(Wrong, match="It should be True or False"):
            truth(answer, "it")


def test_closeness_is_relative_and_knows_shapes() -> None:
    assert close(1e6, 1e6 + 0.1) and not close(1.0, 1.1)
    assert not close(torch.ones(2), torch.ones(1, 2))


def test_infinity_is_near_nothing():
    inf = math.inf
    assert not close(inf, 5) and not close(5, -inf) and not close(inf, inf)
    assert close(5, 5 + 1e-7)
    check_2_6 = importlib.import_module("istapp.exercises.chapter_02").check_2_6
    assert check_2_6(lambda *_: inf, lambda *_: inf).passed is False


@pytest.mark.parametrize(("asked", "answer"), [(truth, torch.tensor([True, False])), (number, 10**400)])
def test_an_answer_of_the_wrong_kind_is_told_in_words(asked, answer):
    with pytest.raises(Wrong):
        asked(answer, "it")

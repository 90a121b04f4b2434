"""What every check does alike: notice an empty answer, try the properties one by one, and answer in words."""

import functools
import sysconfig
import textwrap
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Verdict:
    """What a check says: true when the answer is right; shown as words.

    Attributes:
        exercise: its number, such as "1.3".
        passed: whether every property holds; None as long as nothing was answered.
        words: what is right, or which property fails and where to look.
    """

    exercise: str
    passed: bool | None
    words: str

    def __bool__(self) -> bool:
        return self.passed is True

    def __repr__(self) -> str:
        state = {True: "right", False: "not yet", None: "not answered yet"}[self.passed]
        return textwrap.fill(f"Exercise {self.exercise}: {state}. {self.words}", 79)


class Wrong(Exception):
    """A property of the answer does not hold; its text says which, and gives a nudge."""


class Unanswered(Exception):
    """The answer, or a part of it, is still the `...` of the stub."""


def require(holds: bool | Tensor, nudge: str) -> None:
    """Go on if a property holds.

    Raises:
        Wrong: it does not; `nudge` says which, and where to look.
    """
    if not holds:
        raise Wrong(nudge)


def is_empty(answer: Any) -> bool:
    """Tell whether an answer, or an entry of a list, a tuple or a dictionary, is `...` or None."""
    if isinstance(answer, Mapping):
        answer = list(answer.values())
    return answer is None or answer is ... or (isinstance(answer, list | tuple) and any(map(is_empty, answer)))


def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the reader's function.

    Raises:
        Unanswered: it returns nothing, as a stub does.
        Wrong: it is no function.
    """
    if not callable(function):
        raise Wrong(f"A function is asked for, and yours is {shown(function)}.")
    answer = function(*arguments)
    if is_empty(answer):
        raise Unanswered
    return answer


def number(answer: Any, what: str) -> float:
    """Return an answer that should be a number as a float.

    Raises:
        Wrong: it is none.
    """
    try:
        return float(answer)
    except (TypeError, ValueError, OverflowError):
        raise Wrong(f"{_first(what)} should be a number, and yours is {shown(answer)}.") from None


def truth(answer: Any, what: str) -> bool:
    """Return an answer that should be True or False, of Python, numpy or torch.

    Raises:
        Wrong: it is neither.
    """
    if isinstance(answer, bool):
        return answer
    if getattr(answer, "dtype", None) in (torch.bool, bool) and torch.as_tensor(answer).numel() == 1:
        return bool(answer)
    raise Wrong(f"{_first(what)} should be True or False, and yours is {shown(answer)}.")


def names(answer: Any, what: str) -> set[str]:
    """Return an answer that should be several names, or none, as a set.

    Raises:
        Wrong: it is a single text, or no collection.
    """
    if isinstance(answer, str) or not isinstance(answer, Collection):
        raise Wrong(f'{_first(what)} should be a set of names, such as {{"one", "two"}}, and yours is {shown(answer)}.')
    return {str(name) for name in answer}


def tensor(answer: Any, shape: tuple[int, ...] | torch.Size, what: str) -> Tensor:
    """Return an answer that should be a tensor of a given shape, in float64.

    Raises:
        Wrong: it is no tensor, has another shape, or holds numbers that are not finite.
    """
    if not isinstance(answer, Tensor):
        raise Wrong(f"{_first(what)} should be a tensor of shape {tuple(shape)}, and yours is {shown(answer)}.")
    if answer.shape != torch.Size(shape):
        raise Wrong(f"{_first(what)} should have the shape {tuple(shape)}, and yours has {tuple(answer.shape)}.")
    if not answer.isfinite().all():
        raise Wrong(f"{_first(what)} holds numbers that are not finite.")
    return answer.detach().double()


def _first(what: str) -> str:
    return what[0].upper() + what[1:]


def shown(answer: Any) -> str:
    """Return a short text for whatever an answer is."""
    return textwrap.shorten(repr(answer), 60, placeholder=" ...")


def close(one: Any, other: Any, within: float = 1e-6) -> bool:
    """Tell whether two tensors or numbers agree, up to `within` of the larger one's size (or of 1, if that is more)."""
    one, other = (torch.as_tensor(value, dtype=torch.float64) for value in (one, other))
    if one.shape != other.shape or not (one.isfinite().all() and other.isfinite().all()):
        return False
    scale = max(1.0, float(one.abs().max()), float(other.abs().max())) if one.numel() else 1.0
    return bool((one - other).abs().max() <= within * scale) if one.numel() else True


def place(error: Exception) -> str:
    """Return the reader's own line in which an error arose, in brackets; nothing where no line of theirs had begun."""
    ours = (str(Path(__file__).parents[1]), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    lines = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((*ours, "<frozen"))]
    return f" (in your line {lines[-1].lineno}: {lines[-1].line})" if lines and lines[-1].line else ""


def seeded(seed: int = 0) -> torch.Generator:
    """Return the dice of one trial: the same for every reader, and apart from the chapter's own."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return float64 noise of mean 0 and deviation 1."""
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def check(exercise: str) -> Callable[[Callable[..., str]], Callable[..., Verdict]]:
    """Make a check of a function that raises `Wrong` or returns what is right.

    The chapter's random numbers go on as if no check had been called, and an error in the reader's code is an answer
    in words as well.
    """

    def made(function: Callable[..., str]) -> Callable[..., Verdict]:
        """Return the check that a chapter calls, made of one that raises."""

        @functools.wraps(function)
        def checked(*answers: Any, **named: Any) -> Verdict:
            """Return what the check says of an answer."""
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                try:
                    if is_empty(list(answers)):
                        raise Unanswered
                    return Verdict(exercise, True, function(*answers, **named))
                except (Unanswered, NotImplementedError):
                    words = "Replace the dots and run the cell again."
                    return Verdict(exercise, None, words)
                except Wrong as nudge:
                    return Verdict(exercise, False, str(nudge))
                except Exception as error:
                    reason = textwrap.shorten(str(error) or "no message", 300)
                    words = f"Your answer stopped with {type(error).__name__}: {reason}{place(error)}"
                    return Verdict(exercise, False, words)

        return checked

    return made

"""The kinds of argument that the command line takes, each refused in one line where it is none."""

import argparse
import math
import os
from collections.abc import Callable
from typing import NoReturn

from istapp.basics.errors import UserError

#: What adds a command: by its action, whose name it has, what it does in a line, and the arguments of an example.
Adder = Callable[[Callable[[argparse.Namespace], int | None], str, str], argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message} (see `{self.prog} --help`)")


def device(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a device."""
    parser.add_argument("--device", default="cpu", metavar="cpu|cuda")


def percent(text: str) -> float:
    """Return a ratio given in percent, ``10``, as a fraction, 0.1; refuse what is not between 1 and 100."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise UserError(f"a ratio is a number in percent, such as 10, not '{text}'") from None
    if 0 < value < 1:
        raise UserError(f"a ratio is given in percent: did you mean {100 * value:g} instead of {text}?")
    if not 1 <= value <= 100:
        raise UserError(f"a ratio lies between 1 and 100 percent, not {text}")
    return value / 100


def percents(text: str) -> list[float]:
    """Return several ratios, ``10,30,50``, as fractions, each once."""
    return list(dict.fromkeys(percent(part) for part in text.split(",")))


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return the kind of argument that is a whole number from `low` to `high`."""

    def read(text: str) -> int:
        """Return the number, or refuse the text."""
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"a whole number from {low} to {high} is wanted, not '{text[:40]}'")
        return value

    return read


#: The seed of a matrix or a network.
seed = whole(0, 2**63 - 1)


def minutes(text: str) -> float:
    """Return a time in minutes, from 0 on; ``inf`` is as long as it takes."""
    return _number(text, 0, math.inf, "a number of minutes from 0 on")


def pixels(text: str) -> float:
    """Return a budget of pixels, from 1 to 1e15."""
    return _number(text, 1, 1e15, "a number of pixels from 1 to 1e15")


def _number(text: str, low: float, high: float, wanted: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{wanted} is wanted, not '{text[:40]}'")
    return value


def refuse_unspeakable(arguments: list[str]) -> None:
    """Raise UserError for text that no operating system hands over and no file can be called."""
    for text in arguments:
        try:
            unspeakable = b"\0" in os.fsencode(text)
        except UnicodeEncodeError:
            unspeakable = True
        if unspeakable:
            raise UserError(f"an argument holds what no file can be called: {text!r}")

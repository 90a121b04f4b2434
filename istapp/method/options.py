"""The settings of methods that their users may choose: typed, within a range, explained."""

import inspect
import math
from dataclasses import dataclass
from numbers import Integral
from types import ModuleType

from istapp.basics.errors import UserError, nearest


@dataclass(frozen=True)
class Option:
    """A setting of a method that its user may choose: a word of `choices`, or a number like `default`, whole or not.

    Attributes:
        name: as after ``--option``, and as a parameter of the method's class.
        default: what holds where nothing is said; an integer asks for whole numbers.
        meaning: one line for `istapp methods NAME`.
        low: the smallest number allowed.
        high: the largest number allowed.
        choices: the words allowed; empty for a number.
    """

    name: str
    default: float | str
    meaning: str = ""
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """What may be given, as text."""
        if self.choices or isinstance(self.default, str):
            return " or ".join(self.choices) or "text"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        ends = [f"from {self.low:g}"] * (self.low > -math.inf) + [f"up to {self.high:g}"] * (self.high < math.inf)
        return " ".join([kind, *ends])

    def check(self, value: object, method: str) -> float | str:
        """Return a value, or the text of one, as the method takes it.

        Raises:
            UserError: it is outside the range.
        """
        wrong = UserError(f"{method}: the option {self.name} is {self.range}, not {value!r}")
        if self.choices or isinstance(self.default, str):
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise wrong
            return value
        whole = isinstance(self.default, int)
        if isinstance(value, bool) or (whole and not isinstance(value, (str, Integral))):
            raise wrong
        try:
            number = int(value) if whole else float(value)  # type: ignore[call-overload]
        except (TypeError, ValueError, OverflowError):
            raise wrong from None
        if not self.low <= number <= self.high:
            raise wrong
        return number


def options_of(module: ModuleType) -> dict[str, Option]:
    """Return what a method's user may choose: what its class declares, else the parameters of its own ``build``."""
    given = {option.name: option for option in module.METHOD.options}
    build = getattr(module, "build", lambda weights: None)
    for parameter in inspect.signature(build).parameters.values():
        if parameter.name != "weights" and isinstance(parameter.default, (int, float, str)):
            given.setdefault(parameter.name, Option(parameter.name, parameter.default))
    return given


def checked(module: ModuleType, name: str, options: dict[str, object]) -> dict[str, float | str]:
    """Return options, whose values may be text as on the command line, as the method `name` takes them.

    Raises:
        UserError: the method has no such option, or it has a range and the value is outside.
    """
    known = options_of(module)
    for each in options:
        if each not in known:
            has = f"; it has {', '.join(known)}" if known else ""
            raise UserError(f"{name} has no option {each}{nearest(each, known)}{has}")
    return {each: known[each].check(value, name) for each, value in options.items() if value is not None}

"""The kinds of argument that the command line takes, each refused in one line where it is none."""

from istapp.errors import UserError


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

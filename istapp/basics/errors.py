"""The one kind of error that a person can mend: a line that names what was wrong and what to do."""

import os
from collections.abc import Iterable
from difflib import get_close_matches

#: How CUDA, the processor's allocator and others say that memory is short; other errors speak of memory, too.
WANTS = ("out of memory", "allocate memory", "enough memory")


class UserError(ValueError):
    """A mistake in what was asked for, told in one line; the command line prints it and exits with code 2."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice closest to `name`, or an empty string if none is close."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f" (did you mean '{by_lower[close[0]]}'?)" if close else ""


def reason(error: BaseException) -> str:
    """Return in a few words why the operating system or a library refused; the name of the error where it is silent."""
    told = (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip()
    line = told.splitlines()[0] if told else type(error).__name__
    return (line[:1].lower() + line[1:])[:200]


def told(error: BaseException) -> str | None:
    """Return the line for an error of the operating system or of memory; None for one that is nobody's mistake."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        name = error.filename if isinstance(error.filename, (str, os.PathLike)) else ""
        return f"{os.fspath(name)}: {reason(error)}" if name else reason(error)
    words = str(error)
    short = isinstance(error, RuntimeError) and any(each in words for each in WANTS)
    if isinstance(error, MemoryError) or short:
        return "not enough memory for an image or a network of that size; --device, a smaller image or network"
    if isinstance(error, RuntimeError) and ("PytorchStreamWriter" in words or "inline_container" in words):
        return "a file could not be written: is the disk full?"  # what torch.save says of it
    return None


def speakable(text: str) -> str:
    r"""Return a file's name with what is no UTF-8 in it escaped, ``\xff``, so that it can be printed and stored."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

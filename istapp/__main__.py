"""The command line: `istapp` or `python -m istapp`."""

import argparse
import contextlib
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn, TextIO

from istapp.basics.errors import told
from istapp.basics.memory import keep_freed
from istapp.commands import images, results, runs
from istapp.commands.arguments import Parser, refuse_unspeakable


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands; `action` is the function behind the one that was chosen."""
    top = Parser(prog="istapp", description="Image compressive sensing: measurements and operator in, image out.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(action: Callable[[argparse.Namespace], int | None], what: str, example: str) -> argparse.ArgumentParser:
        """Add a subcommand that is called as its action is."""
        added = commands.add_parser(
            action.__name__, help=what, description=what, epilog=f"example:  istapp {action.__name__} {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.add_argument("--debug", action="store_true", help="show where in the code an error arose")
        added.set_defaults(action=action)
        return added

    for part in (images, runs, results):
        part.add(command)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0; 1 where a check failed; 2 after a mistake that a person can mend; 3 where a folder's work is done but for some
    bad files; 70 after a defect of this program, whose traceback ``--debug`` shows; 130 when stopped.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_streams()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            refuse_unspeakable(given)
            options = parser().parse_args(given)
            code = options.action(options) or 0
        _flush()
        return code
    except KeyboardInterrupt:
        _say("stopped")
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        _abandon(sys.stdout)
        return 0
    except Exception as error:
        if "--debug" in given:
            traceback.print_exc()
        _abandon(sys.stdout)
        line = told(error)
        _say(line or f"{type(error).__name__}: {error}; a defect of istapp, which --debug locates: please report it")
        return 70 if line is None else 2


def _prepare_streams() -> None:
    """Let file names that are not UTF-8 be printed, escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no notebook's stream, and not none at all
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Write what was printed now, while an error can still be told."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _abandon(stream: TextIO) -> None:
    """Drop what a stream could not write, or Python would try again and complain as it ends."""
    try:
        _flush()
    except OSError:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(f"istapp: {' '.join(line.split())}", file=sys.stderr)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"warning: {message}")


def program() -> NoReturn:
    """The program `istapp`: `main` in a process of its own, which a polite kill stops as Ctrl-C does."""
    keep_freed()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())


if __name__ == "__main__":
    program()

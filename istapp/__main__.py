"""The command line: `istapp` or `python -m istapp`."""

import argparse
import contextlib
import io
import math
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from istapp import commands
from istapp.basics.errors import UserError, told
from istapp.commands import arguments as kinds


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see `{self.prog} --help`)")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = _Parser(prog="istapp", description="Image compressive sensing: measurements and operator in, image out.")
    all_commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, help_: str, example: str) -> argparse.ArgumentParser:
        added = all_commands.add_parser(
            name, help=help_, description=help_, epilog=f"example:  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.add_argument("--debug", action="store_true", help="show where in the code an error arose")
        return added

    _add_measuring(command)
    _add_runs(command)
    return top


def _add_measuring(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add what works with images and methods."""
    sets = command("datasets", "list, verify, download or pack image sets", "istapp datasets --verify Set11")
    sets.add_argument("--verify", metavar="NAME", nargs="+", help="check every pixel of these sets ('all': at hand)")
    sets.add_argument("--download", metavar="NAME", nargs="+", help="fetch these sets into the cache")
    sets.add_argument("--pack", metavar=("FILE", "NAME"), nargs="+", help="write sets to one file for a bare machine")

    described = command("methods", "list the methods and the weights at hand, or explain one", "istapp methods dip")
    described.add_argument("name", metavar="NAME", nargs="?", help="explain this one and its options")

    one = command(
        "reconstruct", "measure an image, or every image of a folder, and reconstruct it",
        "istapp reconstruct photo.jpg --method fista --ratio 10 --out estimate.png",
    )  # fmt: skip
    one.add_argument("image", metavar="IMAGE_OR_FOLDER", type=Path)
    one.add_argument("--ratio", default="10", metavar="PERCENT", help="CS ratio in percent (default 10)")
    one.add_argument("--out", required=True, metavar="FILE.png", type=Path, help="of a folder: another folder")
    one.add_argument("--bits", type=kinds.whole(8, 16), metavar="N", help="that a 16-bit gray image uses, such as 12")

    many = command(
        "evaluate", "reconstruct a whole set and print the means",
        "istapp evaluate --method fista --dataset photos --ratios 10,30,50 --out rows.csv",
    )  # fmt: skip
    many.add_argument("--dataset", required=True, metavar="NAME_OR_FOLDER")
    many.add_argument("--ratios", default="10,30,50", metavar="PERCENTS", help="in percent (default 10,30,50)")
    many.add_argument("--out", metavar="FILE.csv", type=Path, help="a row per image; resumed if it exists")
    many.add_argument("--run", default="", metavar="NAME", help="what the rows name as their run (default nothing)")
    for each in (one, many):
        each.add_argument("--method", required=True, metavar="NAME", help="see `istapp methods`")
        each.add_argument("--weights", metavar="FILE", type=Path, help=".safetensors, or an official .pkl")
        each.add_argument(
            "--option", metavar="NAME=VALUE", action="append", default=[],
            help="of the method, such as iterations=500; `istapp methods NAME` explains them; may be repeated",
        )  # fmt: skip
        each.add_argument("--matrix", metavar="FILE", type=Path, help="your own: .npy, .safetensors or .mat, m x 1089")
        each.add_argument("--blockwise", action="store_true", help="reconstruct each block alone")
        each.add_argument("--fast", action="store_true", help="in the number format that the device is fast in")
        each.add_argument("--seed", type=kinds.seed, default=0, help="of the sampling matrix (default 0)")
        each.add_argument("--device", default="cpu", metavar="cpu|cuda")


def _add_runs(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add training, what reproduces the paper, and the benchmark."""
    command("experiments", "list the training runs and how far they are", "istapp experiments")

    training = command(
        "train", "train one experiment, or work off the queue",
        "istapp train --queue --minutes 10 --device cuda --out out",
    )  # fmt: skip
    training.add_argument("id", metavar="ID", nargs="?", help="see `istapp experiments`; a method: its next run")
    training.add_argument(
        "--queue", action="store_true",
        help="take the unfinished ones in order of worth; on a GPU with --minutes: the next group, done in that time",
    )  # fmt: skip
    training.add_argument("--group", metavar="NAME", help="this group in --minutes, on equal pixels; see `clock`")
    training.add_argument(
        "--minutes", type=kinds.minutes, default=math.inf, help="stop cleanly in time; run again to go on"
    )  # fmt: skip
    training.add_argument(
        "--pixels", type=kinds.pixels, metavar="N", help="budget, such as 300e6; extends a run that is done"
    )  # fmt: skip
    training.add_argument(
        "--together", type=kinds.whole(1, 64), default=1, metavar="N", help="with --queue: N runs side by side"
    )  # fmt: skip
    training.add_argument("--device", default="cpu", metavar="cpu|cuda")
    training.add_argument("--out", type=Path, metavar="FOLDER", help="keep state, weights and rows there")

    journey = command(
        "campaign", "pack what a bare GPU machine needs, bring back what came of it, or merge it",
        "istapp campaign pack runs/travel",
    )  # fmt: skip
    journey.add_argument("what", choices=("pack", "out", "merge"), help="in, out, and home again; see `travel`")
    journey.add_argument("folder", type=Path, metavar="FOLDER", help="to fill, to read, or of the pieces")
    journey.add_argument("to", type=Path, nargs="?", metavar="TO", help="with out: where the pieces go")
    journey.add_argument("--sets", nargs="+", default=[], metavar="NAME", help="with pack: these and no others")
    journey.add_argument("--group", metavar="NAME", help="with pack: for this group, not the next one")

    rungs = command("ladder", "list, or train, what every part of the recipe is worth", "istapp ladder --minutes 60")
    rungs.add_argument("--minutes", type=kinds.minutes, default=0.0, help="train what is missing (default: only list)")
    rungs.add_argument("--device", default="cpu", metavar="cpu|cuda")
    rungs.add_argument("--out", type=Path, metavar="FILE.csv", help="default data/results/ladder.csv")

    again = command(
        "reproduce", "take what a table or figure lacks, after saying what and how long",
        "istapp reproduce table1 --minutes 30",
    )  # fmt: skip
    again.add_argument("name", metavar="NAME", help="table1 ... table4, fig4 ... fig7, or all")
    again.add_argument("--profile", default="laptop", metavar="laptop|paper", help="paper also trains what is missing")
    again.add_argument("--device", default="cpu", metavar="cpu|cuda")
    again.add_argument("--minutes", type=kinds.minutes, default=math.inf, help="stop cleanly in time (0: only tell)")
    again.add_argument("--out", type=Path, metavar="FOLDER", help="keep state, weights and rows there")
    again.add_argument("--again", action="store_true", help="retake the rows that other code made")

    book = command("ledger", "print the ledger and check that it follows from the rows", "istapp ledger")
    book.add_argument("--write", action="store_true", help="record it anew, after telling what that changes")
    book.add_argument("--accept", metavar="FILE", nargs="+", default=[], help="with --write: what may have changed")

    path = command(
        "trace", "print how a number got here: file, rows, weights, run, cell, verdict, page",
        "istapp trace table1/Set11/10/ista-net-pp",
    )  # fmt: skip
    path.add_argument(
        "number", metavar="NUMBER", help="an id of the ledger, a value such as 25.97, or METHOD/SET/PERCENT"
    )

    bench = command(
        "benchmark", "measure reconstructions and training steps beside the plain way",
        "istapp benchmark --stages 9 20 --channels 32 --side 256 512 --out speed.csv",
    )  # fmt: skip
    bench.add_argument("--training", action="store_true", help="training steps only")
    bench.add_argument("--methods", nargs="*", metavar="NAME", help="Table 1's time column instead (default: all)")
    bench.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="shipped networks of these methods")
    bench.add_argument("--out", type=Path, metavar="FILE.csv", help="keep the rows there (default: only print them)")
    bench.add_argument("--device", default="cpu", metavar="cpu|cuda")
    bench.add_argument("--stages", type=kinds.whole(1, 100), nargs="+", default=[9], metavar="K")
    bench.add_argument("--channels", type=kinds.whole(1, 512), nargs="+", default=[16], metavar="C")
    bench.add_argument("--side", type=kinds.whole(1, 4096), nargs="+", default=[256], help="of the image, in pixels")
    bench.add_argument("--batch", type=kinds.whole(1, 4096), default=8, help="of a training step (default 8)")


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
            kinds.refuse_unspeakable(given)
            options = parser().parse_args(given)
            code = _COMMANDS[options.command](options) or 0
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
    """The program `istapp`: `main`, which a polite kill stops as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())


_NAMES = (
    "datasets", "methods", "reconstruct", "evaluate",
    "experiments", "train", "campaign", "ladder", "reproduce", "benchmark", "ledger", "trace",
)  # fmt: skip
_COMMANDS = {name: getattr(commands, name) for name in _NAMES}

if __name__ == "__main__":
    program()

"""The command line: `istapp` or `python -m istapp`."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from istapp import commands
from istapp.errors import UserError


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see `{self.prog} --help`)")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = _Parser(prog="istapp", description="Image compressive sensing: measurements and operator in, image out.")
    all_commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, help_: str, example: str) -> argparse.ArgumentParser:
        return all_commands.add_parser(
            name, help=help_, description=help_, epilog=f"example:  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    _add_measuring(command)
    _add_runs(command)
    return top


def _add_measuring(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add what works with images and methods."""
    sets = command("datasets", "list, verify, download or pack image sets", "istapp datasets --verify Set11")
    sets.add_argument("--verify", metavar="NAME", nargs="+", help="check every pixel of these sets ('all': at hand)")
    sets.add_argument("--download", metavar="NAME", nargs="+", help="fetch these sets into the cache")
    sets.add_argument("--pack", metavar=("FILE", "NAME"), nargs="+", help="write sets to one file for a bare machine")

    command("methods", "list the methods and the weights at hand", "istapp methods")

    one = command(
        "reconstruct", "measure an image and reconstruct it",
        "istapp reconstruct photo.jpg --method fista --ratio 10 --out estimate.png",
    )  # fmt: skip
    one.add_argument("image", metavar="IMAGE", type=Path)
    one.add_argument("--ratio", default="10", metavar="PERCENT", help="CS ratio in percent (default 10)")
    one.add_argument("--out", required=True, metavar="FILE.png", type=Path)

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
            help="of the method, such as iterations=500 (dip) or lam=0.01 (tv); may be repeated",
        )  # fmt: skip
        each.add_argument("--blockwise", action="store_true", help="reconstruct each block alone")
        each.add_argument("--seed", type=int, default=0, help="of the sampling matrix (default 0)")
        each.add_argument("--device", default="cpu", metavar="cpu|cuda")


def _add_runs(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add training, what reproduces the paper, and the benchmark."""
    command("experiments", "list the training runs and how far they are", "istapp experiments")

    training = command(
        "train", "train one experiment, or work off the queue",
        "istapp train --queue --minutes 10 --device cuda --out out",
    )  # fmt: skip
    training.add_argument("id", metavar="ID", nargs="?", help="see `istapp experiments`; a method: its next run")
    training.add_argument("--queue", action="store_true", help="take the unfinished ones in order of worth")
    training.add_argument("--minutes", type=float, default=math.inf, help="stop cleanly in time; run again to go on")
    training.add_argument("--pixels", type=float, metavar="N", help="budget, such as 300e6; extends a run that is done")
    training.add_argument("--together", type=int, default=1, metavar="N", help="with --queue: N runs side by side")
    training.add_argument("--device", default="cpu", metavar="cpu|cuda")
    training.add_argument("--out", type=Path, metavar="FOLDER", help="keep state, weights and rows there")

    rungs = command("ladder", "list, or train, what every part of the recipe is worth", "istapp ladder --minutes 60")
    rungs.add_argument("--minutes", type=float, default=0.0, help="train what is missing (default: only list)")
    rungs.add_argument("--device", default="cpu", metavar="cpu|cuda")
    rungs.add_argument("--out", type=Path, metavar="FILE.csv", help="default data/results/ladder.csv")

    again = command(
        "reproduce", "take what a table or figure lacks, after saying what and how long",
        "istapp reproduce table1 --minutes 30",
    )  # fmt: skip
    again.add_argument("name", metavar="NAME", help="table1 ... table4, fig4 ... fig7, or all")
    again.add_argument("--profile", default="laptop", metavar="laptop|paper", help="paper also trains what is missing")
    again.add_argument("--device", default="cpu", metavar="cpu|cuda")
    again.add_argument("--minutes", type=float, default=math.inf, help="stop cleanly in time (0: only tell)")
    again.add_argument("--out", type=Path, metavar="FOLDER", help="keep state, weights and rows there")
    again.add_argument("--again", action="store_true", help="retake the rows of other commits")

    book = command("ledger", "print the ledger and check that it follows from the rows", "istapp ledger")
    book.add_argument("--write", action="store_true", help="record it anew")

    bench = command("benchmark", "measure speed on this machine", "istapp benchmark --training")
    bench.add_argument("--training", action="store_true", help="pixels per second: our loop against the plain one")
    bench.add_argument("--methods", nargs="*", metavar="NAME", help="seconds for 256 x 256 pixels (default: all)")
    bench.add_argument("--out", type=Path, metavar="FILE.csv", help="with --methods (default data/results/seconds.csv)")
    bench.add_argument("--device", default="cpu", metavar="cpu|cuda")
    bench.add_argument("--stages", type=int, default=9)
    bench.add_argument("--channels", type=int, default=16)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 where a check failed, 2 after a mistake one can mend."""
    try:
        options = parser().parse_args(arguments)
        return _COMMANDS[options.command](options) or 0
    except UserError as error:
        print(f"istapp: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("istapp: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


_NAMES = (
    "datasets", "methods", "reconstruct", "evaluate",
    "experiments", "train", "ladder", "reproduce", "benchmark", "ledger",
)  # fmt: skip
_COMMANDS = {name: getattr(commands, name) for name in _NAMES}

if __name__ == "__main__":
    sys.exit(main())

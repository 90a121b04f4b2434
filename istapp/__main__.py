"""The command line: `istapp` or `python -m istapp`."""

import argparse
import ast
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from istapp.errors import UserError

if TYPE_CHECKING:
    from istapp.methods import Method


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


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see `{self.prog} --help`)")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = _Parser(prog="istapp", description="Image compressive sensing: measurements and operator in, image out.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, help_: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
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


def _datasets(options: argparse.Namespace) -> None:
    from istapp import datasets

    for name in options.download or ():
        print(f"{name}: complete in {datasets.download(name)}")
    for name in options.verify or ():
        at_hand = [s.name for s in datasets.status() if not s.state.startswith("missing")]
        for each in at_hand if name == "all" else [name]:
            print(f"{each}: every pixel as registered, {datasets.verify(each)[:12]}")
    if options.pack:
        if len(options.pack) < 2:
            raise UserError("--pack takes a file and at least one set: istapp datasets --pack train.safetensors T91")
        file, *sets = options.pack
        datasets.pack(file, sets)
        print(f"{file}: {', '.join(sets)}; use it with ISTAPP_DATA={file}")
    if not (options.download or options.verify or options.pack):
        for s in datasets.status():
            print(f"{s.name:18} {s.images:>4} images  {s.size:24} {s.state}\n{'':18} {s.role}; {s.terms}")


def _methods(options: argparse.Namespace) -> None:
    from istapp import methods

    print(f"{'method':14} {'kind':10} {'parameters':>10}  {'ratios':16} weights")
    for name in methods.names():
        d = methods.describe(name)
        ratios = "any" if d.ratios is None else ", ".join(f"{100 * r:g}" for r in d.ratios) + " %"
        print(f"{name:14} {d.kind:10} {d.parameters or '-':>10}  {ratios:16} {d.weights or '-'}")


def _method(options: argparse.Namespace) -> "Method":
    from istapp import methods

    given = _method_options(options.option)
    try:
        method = methods.get(options.method, weights=options.weights, **given)
    except TypeError:  # a builder without such a parameter
        raise UserError(f"{options.method} has no option {', '.join(given)}") from None
    return methods.blockwise(method) if options.blockwise else method


def _method_options(given: Sequence[str]) -> dict[str, object]:
    """Return options such as ``iterations=500`` with numbers as numbers.

    Raises:
        UserError: no equals sign.
    """
    found: dict[str, object] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise UserError(f"--option takes NAME=VALUE, such as iterations=500, not '{each}'")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def _reconstruct(options: argparse.Namespace) -> None:
    from istapp.datasets import read_image
    from istapp.evaluation import device, reconstruct
    from istapp.images import luma, write_image
    from istapp.metrics import psnr

    ratio, where = percent(options.ratio), device(options.device)
    image, method = read_image(options.image), _method(options)
    sampling = method.sampling(ratio, options.seed)
    _refuse_unwritable(options.out)
    planes = image.rgb() if image.colour else image.luma()
    estimate, seconds = reconstruct(method.to(where), planes.to(where), sampling)
    write_image(options.out, estimate)
    value = psnr(luma(estimate.cpu()), image.luma())
    print(f"{options.out}: {method.name} at {100 * ratio:g} %, PSNR {value:.2f} dB, {seconds:.1f} s")


def _refuse_unwritable(path: Path) -> None:
    """Raise UserError before any work if a file cannot be written there."""
    import os

    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")
    folder = next((p for p in (path.parent, *path.parent.parents) if p.exists()), Path("."))
    if not folder.is_dir() or not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UserError(f"cannot write {path}: {folder} is not a folder that may be written")


def _evaluate(options: argparse.Namespace) -> None:
    from istapp.evaluation import evaluate, summary

    ratios, method = percents(options.ratios), _method(options)
    if options.out:
        _refuse_unwritable(options.out)
    rows = evaluate(
        method, options.dataset, ratios, options.seed, options.device, out=options.out, run=options.run, progress=_line
    )  # fmt: skip
    _line("")
    print(summary(rows))
    if options.out:
        print(f"{len(rows)} rows in {options.out}")


def _line(text: str) -> None:
    """Show one line of progress in place, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r{text:78}", end="" if text else "\r", file=sys.stderr, flush=True)


def _experiments(options: argparse.Namespace) -> None:
    from istapp import experiments

    places = experiments.Places()
    print(f"{'experiment':34} {'state':10} {'minutes':>7}  {'pixels':>7}  purpose")
    for e in experiments.ALL.values():
        pixels, state = f"{e.recipe.pixels / 1e9:.2f}G", experiments.status(e.id, places)
        print(f"{e.id:34} {state:10} {e.minutes:7.1f}  {pixels:>7}  {e.purpose}")


def _train(options: argparse.Namespace) -> None:
    from istapp import experiments
    from istapp.evaluation import device

    device(options.device)
    if bool(options.id) == options.queue:
        raise UserError("name one experiment, or --queue: istapp train ID, istapp train --queue --minutes 10")
    places = experiments.Places.in_folder(options.out)
    start = time.monotonic()
    if options.queue:
        done = experiments.work_off(options.minutes, options.device, places, options.together)
        print(f"{len(done)} experiments done in {(time.monotonic() - start) / 60:.1f} min: {', '.join(done) or 'none'}")
    else:
        chosen = experiments.find(options.id, places, options.device == "cuda")
        experiments.run(chosen, options.minutes, options.device, places, say=print, pixels=options.pixels)


def _ladder(options: argparse.Namespace) -> None:
    from istapp import ladder
    from istapp.evaluation import device

    device(options.device)
    if options.minutes:
        ladder.climb(options.minutes, options.out, print, options.device)
    rows = {(row["rung"], row["seed"]): row["mean"] for row in ladder.read(options.out)}
    for rung in ladder.rungs():
        means = [rows[rung.name, str(seed)] for seed in (1, 2, 3) if (rung.name, str(seed)) in rows]
        print(f"{rung.group:14} {rung.name:42} {'  '.join(means) or '-':26} {rung.recipe}")


def _reproduce(options: argparse.Namespace) -> None:
    from istapp.reproduce import reproduce

    reproduce(
        options.name, options.profile, options.device, options.minutes, options.out, options.again, progress=_line
    )  # fmt: skip


def _ledger(options: argparse.Namespace) -> int:
    from istapp import ledger

    found = ledger.write() if options.write else ledger.entries()
    print(ledger.summary(found))
    faults = ledger.faults(found)
    for fault in faults:
        print(f"istapp ledger: {fault}", file=sys.stderr)
    if faults:
        print("istapp ledger: once the rows are right, `istapp ledger --write` records them", file=sys.stderr)
    return 1 if faults else 0


def _benchmark(options: argparse.Namespace) -> None:
    from istapp.evaluation import device
    from istapp.training.benchmark import training_speed

    device(options.device)
    if options.methods is not None:
        from istapp.benchmarks import benchmark

        benchmark(options.methods, options.device, options.out)
    elif not options.training:
        raise UserError("say what to measure: istapp benchmark --training, or --methods")
    if not options.training:
        return
    for line in training_speed(options.device, options.stages, options.channels):
        print(line, flush=True)


_COMMANDS = {
    "datasets": _datasets, "methods": _methods, "reconstruct": _reconstruct, "evaluate": _evaluate,
    "experiments": _experiments, "train": _train, "ladder": _ladder, "reproduce": _reproduce, "benchmark": _benchmark,
    "ledger": _ledger,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())

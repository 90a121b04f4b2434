"""The commands that train networks, choose what has to be chosen, and measure times."""

import argparse
import math
import os
import time
from dataclasses import fields
from pathlib import Path

from istapp.basics.errors import UserError
from istapp.basics.paths import read_table, refuse_unwritable, write_records
from istapp.commands.arguments import Adder, device, minutes, pixels, whole

MINUTES = "stop cleanly in time; run again to go on"


def add(command: Adder) -> None:
    """Add the commands of this file to the command line."""
    command(experiments, "list the training runs and how far they are", "")
    _train_arguments(command(
        train, "train one experiment, or work off the queue", "--queue --minutes 10 --device cuda --out out"
    ))  # fmt: skip
    journey = command(
        campaign, "pack what a bare GPU machine needs, bring back what came of it, or merge it", "pack runs/travel"
    )
    journey.add_argument("what", choices=("pack", "out", "merge"), help="what goes in, what comes out, and home again")
    journey.add_argument("folder", type=Path, metavar="FOLDER", help="to fill, to read, or of the pieces")
    journey.add_argument("to", type=Path, nargs="?", metavar="TO", help="with out: where the pieces go")
    journey.add_argument("--sets", nargs="+", default=[], metavar="NAME", help="with pack: these and no others")
    journey.add_argument("--group", metavar="NAME", help="with pack: for this group, not the next one")
    rungs = command(ladder, "list, or train, what every part of the recipe is worth", "--minutes 60")
    rungs.add_argument("--minutes", type=minutes, default=0.0, help="train what is missing (default: only list)")
    rungs.add_argument("--out", type=Path, metavar="FILE.csv", help="default data/results/ladder.csv")
    rungs.add_argument("--group", default="", metavar="NAME", help="only these rungs (default: all)")
    device(rungs)
    aside = command(study, "take the rows of a study beside the tables, or go on with it", "priors")
    aside.add_argument("name", choices=tuple(STUDIES), help="; ".join(f"{k}: {v}" for k, v in STUDIES.items()))
    _benchmark_arguments(command(
        benchmark, "measure reconstructions and training steps beside the plain way",
        "--stages 9 20 --channels 32 --side 256 512 --out speed.csv",
    ))  # fmt: skip


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", nargs="?", help="see `istapp experiments`; a method: its next run")
    parser.add_argument(
        "--queue", action="store_true",
        help="take the unfinished ones in order of worth; on a GPU with --minutes: the next group, done in that time",
    )  # fmt: skip
    parser.add_argument("--group", metavar="NAME", help="this group in --minutes, every run on equally many pixels")
    parser.add_argument("--minutes", type=minutes, default=math.inf, help=MINUTES)
    parser.add_argument(
        "--pixels", type=pixels, metavar="N", help="budget, such as 300e6; extends a run that is done"
    )  # fmt: skip
    parser.add_argument(
        "--together", type=whole(1, 64), default=1, metavar="N", help="with --queue: N runs side by side"
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep state, weights and rows there")
    device(parser)


def _benchmark_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--training", action="store_true", help="training steps only")
    parser.add_argument("--methods", nargs="*", metavar="NAME", help="Table 1's time column instead (default: all)")
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="shipped networks of these methods")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="keep the rows there (default: only print them)")
    parser.add_argument("--stages", type=whole(1, 100), nargs="+", default=[9], metavar="K", help="default 9")
    parser.add_argument("--channels", type=whole(1, 512), nargs="+", default=[16], metavar="C", help="default 16")
    parser.add_argument("--side", type=whole(1, 4096), nargs="+", default=[256], help="of the image (default 256)")
    parser.add_argument("--batch", type=whole(1, 4096), default=8, help="of a training step (default 8)")
    device(parser)


def experiments(options: argparse.Namespace) -> None:
    """List the training runs."""
    from istapp.experiments import campaigns, queue
    from istapp.paper import results

    places = queue.Places()
    print(f"{'experiment':34} {'group':16} {'state':10} {'minutes':>7}  {'pixels':>7}  purpose")
    for e in campaigns.ALL.values():
        pixels = f"{e.recipe.pixels / 1e9:.2f}G"
        state = "begun" if queue.is_only_begun(e, places) else queue.status(e.id, places)
        share = results.trained(e.id) if state == "done" and results.edition(e.id) == "part" else None
        state = f"{share:.0%} done" if share else state
        group = e.group if e.group != e.id else ""
        print(f"{e.id:34} {group:16} {state:10} {e.minutes:7.1f}  {pixels:>7}  {e.purpose}")


def train(options: argparse.Namespace) -> None:
    """Train one run, a group, or the queue."""
    from istapp.experiments import queue
    from istapp.experiments.evaluation import device

    device(options.device)
    if [bool(options.id), options.queue, bool(options.group)].count(True) != 1:
        raise UserError("name one experiment, or --queue: istapp train ID, istapp train --queue --minutes 10")
    places = queue.Places.in_folder(options.out)
    for folder in {places.runs, places.weights, places.results}:
        refuse_unwritable(folder, folder=True)
    start = time.monotonic()
    timed = options.queue and options.device == "cuda" and math.isfinite(options.minutes) and options.together == 1
    if options.group or timed:
        if not math.isfinite(options.minutes):
            raise UserError("a group is planned for a time: add --minutes 10, or what there is")
        from istapp.experiments import clock

        sets = options.out and options.out / "sets.safetensors"
        if sets and sets.exists() and not os.environ.get("ISTAPP_DATA"):
            os.environ["ISTAPP_DATA"] = str(sets)
        done = clock.spend(options.minutes, options.device, places, options.group)
    elif options.queue:
        done = queue.work_off(options.minutes, options.device, places, options.together)
    else:
        chosen = queue.find(options.id, places, options.device == "cuda")
        queue.run(chosen, options.minutes, options.device, places, say=print, pixels=options.pixels)
        return
    print(f"{len(done)} experiments done in {(time.monotonic() - start) / 60:.1f} min: {', '.join(done) or 'none'}")


def campaign(options: argparse.Namespace) -> None:
    """Pack, bring out or merge."""
    from istapp.experiments import travel

    if (options.what == "out") != (options.to is not None):
        raise UserError("istapp campaign pack FOLDER, istapp campaign out FOLDER TO, istapp campaign merge FOLDER")
    if options.what == "pack":
        refuse_unwritable(options.folder, folder=True)
        travel.pack(options.folder, options.sets, options.group)
    elif options.what == "out":
        refuse_unwritable(options.to, folder=True)
        travel.out(options.folder, options.to)
    else:
        travel.merge(options.folder)


def ladder(options: argparse.Namespace) -> None:
    """List the rungs, or climb them."""
    from istapp.experiments import ladder
    from istapp.experiments.evaluation import device

    device(options.device)
    if options.out:
        refuse_unwritable(options.out)
    ladder.refuse_unknown(options.group)
    if options.minutes:
        ladder.climb(options.minutes, options.out, print, options.device, options.group)
    rows = {(row["rung"], row["seed"]): row["mean"] for row in ladder.read(options.out)}
    for rung in ladder.rungs():
        if options.group not in ("", rung.group):
            continue
        means = [rows[rung.name, str(seed)] for seed in (1, 2, 3) if (rung.name, str(seed)) in rows]
        print(f"{rung.group:14} {rung.name:42} {'  '.join(means) or '-':26} {rung.recipe}")


#: What `istapp study` does, and what of Train400 or Set11 it needs.
STUDIES = {
    "priors": "weights of ISTA, FISTA and TV on training images",
    "damping": "that of message passing, there too",
    "untrained": "DIP and NLR-CSNet on a crop",
    "second-moment": "of the blocks of Train400, for the linear estimate",
    "gap": "to the authors' weights, on pieces and on training images; asks for ISTAPP_OFFICIAL",
}


def study(options: argparse.Namespace) -> None:
    """Take the rows, or the numbers, that no table asks for and something else rests on."""
    from istapp.experiments import gap, tuning, untrained

    if options.name == "second-moment":
        tuning.store_second_moment()
    elif options.name == "untrained":
        for name in untrained.NAMES:
            untrained.run(name)
    else:
        {"priors": tuning.tune, "damping": tuning.tune_amp, "gap": gap.study}[options.name]()


def benchmark(options: argparse.Namespace) -> None:
    """Measure times, of all methods or of networks and their training."""
    from istapp.experiments.evaluation import device

    device(options.device)
    if options.out:
        refuse_unwritable(options.out)
    if options.methods is not None:
        from istapp.experiments.method_times import benchmark

        benchmark(options.methods, options.device, options.out)
        return
    from istapp.experiments import speed

    if options.out:  # whatever else lies there is refused, and stays
        read_table(options.out, [field.name for field in fields(speed.Timing)], "a table of this benchmark")
    sizes, rows = [(k, c) for k in options.stages for c in options.channels], []
    found = speed.measure(sizes, options.side, options.networks, options.device, options.batch, options.training)
    for row in found:
        print(speed.line(row), flush=True)
        rows.append(row)
        if options.out:  # behind those of an earlier run, which go when all of this one are there
            write_records(options.out, [row], add=True)
    if options.out and rows:
        write_records(options.out, rows)

"""What each subcommand of the command line does; `istapp.__main__` has their arguments and their errors."""

import argparse
import math
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from istapp.basics.errors import UserError
from istapp.basics.paths import refuse_unwritable
from istapp.basics.progress import line
from istapp.commands.arguments import percent, percents

if TYPE_CHECKING:
    from istapp.methods import Description, Method


def datasets(options: argparse.Namespace) -> None:
    from istapp.images import datasets

    for name in options.download or ():
        print(f"{name}: complete in {datasets.download(name)}")
    for name in options.verify or ():
        at_hand = [s.name for s in datasets.status() if not s.state.startswith("missing")]
        for each in at_hand if name == "all" else [name]:
            print(f"{each}: every pixel as registered, {datasets.verify(each)[:12]}")
    if options.pack:
        refuse_unwritable(options.pack[0])
        if len(options.pack) < 2:
            raise UserError("--pack takes a file and at least one set: istapp datasets --pack train.safetensors T91")
        file, *sets = options.pack
        datasets.pack(file, sets)
        print(f"{file}: {', '.join(sets)}; use it with ISTAPP_DATA={file}")
    if not (options.download or options.verify or options.pack):
        for s in datasets.status():
            print(f"{s.name:18} {s.images:>4} images  {s.size:24} {s.state}\n{'':18} {s.role}; {s.terms}")


def methods(options: argparse.Namespace) -> None:
    """List the methods, or explain one."""
    from istapp import methods

    if options.name:
        print(_explained(methods.describe(options.name)))
        return
    print(f"{'method':14} {'kind':10} {'parameters':>10}  {'ratios':16} weights")
    for name in methods.names():
        try:
            d = methods.describe(name)
        except UserError as error:  # one damaged file does not take the others away
            print(f"{name:14} {' '.join(str(error).split())}")
            continue
        print(f"{name:14} {d.kind:10} {d.parameters or '-':>10}  {_ratios(d):16} {d.weights or '-'}")
    for fault in methods.faults():
        print(f"istapp methods: {fault}", file=sys.stderr)


def _ratios(description: "Description") -> str:
    ratios = description.ratios
    return "any" if ratios is None else ", ".join(f"{100 * r:g}" for r in ratios) + " %"


def _explained(d: "Description") -> str:
    """Return what a person wants to know of one method before running it."""
    size = f"{d.parameters:,} parameters" if d.parameters else "no trained parameters"
    lines = [f"{d.name}: {d.kind}, {size}, ratios: {_ratios(d)}", *textwrap.wrap(d.summary, 100)]
    lines += [f"weights: {d.weights}"] * bool(d.weights)
    lines.append("options, each as --option NAME=VALUE:" if d.options else "It has no options.")
    for option in d.options:
        lines.append(f"  {option.name:12} {option.meaning} ({option.range}; default {option.default})".rstrip())
    return "\n".join(lines)


def _method(options: argparse.Namespace) -> "Method":
    from istapp import methods

    pairs = [each.partition("=") for each in options.option]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise UserError(f"--option takes NAME=VALUE, such as iterations=500, not '{name}{equals}'")
    chosen = {name: value for name, _, value in pairs}
    method = methods.get(options.method, options.weights, **chosen)
    if options.matrix:
        from istapp.method.matrices import given

        method = given(method, options.matrix)
    method = methods.blockwise(method) if options.blockwise else method
    if not options.fast:
        return method
    from istapp.method.fast import fast

    return fast(method, options.device, many="dataset" in options or options.image.is_dir())


def reconstruct(options: argparse.Namespace) -> int:
    """Reconstruct an image file, or a folder of them."""
    ratio, folder = percent(options.ratio), options.image.is_dir()  # what needs no library first: they take seconds
    if not options.image.exists():
        raise UserError(f"cannot read {options.image}: no such file or directory")
    refuse_unwritable(options.out, folder=folder)

    from istapp.experiments.evaluation import device
    from istapp.experiments.reconstruction import Job, reconstruct_folder
    from istapp.images.datasets import read_image
    from istapp.images.image import refuse_image_target, write_image

    where = device(options.device)
    if folder:
        method = _method(options)
        job = Job(method.to(where), method.sampling(ratio, options.seed), where, options.bits)
        done, bad = reconstruct_folder(job, options.image, options.out)
        print(f"{done} images in {options.out}")
        return _report(bad, done)
    image = read_image(options.image, options.bits)
    refuse_image_target(options.out, image.colour)
    method = _method(options)
    job = Job(method.to(where), method.sampling(ratio, options.seed), where, options.bits)
    estimate, value, seconds = job.run(image)
    write_image(options.out, estimate)
    print(f"{options.out}: {method.name} at {100 * ratio:g} %, PSNR {value:.2f} dB, {seconds:.1f} s")
    return 0


def _report(bad: Sequence[str], done: int) -> int:
    """Tell which files were bad, and return the exit code: 3 where others were good.

    Raises:
        UserError: none was.
    """
    if bad and not done:
        raise UserError(f"{bad[0]}{f', and {len(bad) - 1} more like it' if len(bad) > 1 else ''}")
    for each in bad:
        print(f"istapp: {' '.join(each.split())}", file=sys.stderr)
    if bad:
        print(f"istapp: {len(bad)} files are bad and were left out; the same command goes on", file=sys.stderr)
    return 3 if bad else 0


def evaluate(options: argparse.Namespace) -> int:
    """Evaluate a method on a set."""
    ratios = percents(options.ratios)
    if options.out:
        refuse_unwritable(options.out)

    from istapp.experiments.evaluation import evaluate, summary

    method, bad = _method(options), []
    rows = evaluate(
        method, options.dataset, ratios, options.seed, options.device, out=options.out, run=options.run,
        progress=line, say=print, bad=bad,
    )  # fmt: skip
    line("")
    if rows:
        print(summary(rows))
    if rows and options.out:
        print(f"{len(rows)} rows in {options.out}")
    return _report(bad, len(rows))


def experiments(options: argparse.Namespace) -> None:
    from istapp.experiments import campaigns, queue

    places = queue.Places()
    print(f"{'experiment':34} {'group':16} {'state':10} {'minutes':>7}  {'pixels':>7}  purpose")
    for e in campaigns.ALL.values():
        pixels, state = f"{e.recipe.pixels / 1e9:.2f}G", queue.status(e.id, places)
        group = e.group if e.group != e.id else ""
        print(f"{e.id:34} {group:16} {state:10} {e.minutes:7.1f}  {pixels:>7}  {e.purpose}")


def train(options: argparse.Namespace) -> None:
    from istapp.experiments import queue
    from istapp.experiments.evaluation import device

    device(options.device)
    if [bool(options.id), options.queue, bool(options.group)].count(True) != 1:
        raise UserError("name one experiment, or --queue: istapp train ID, istapp train --queue --minutes 10")
    if options.out:
        refuse_unwritable(options.out, folder=True)
    places = queue.Places.in_folder(options.out)
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
        print(f"{len(done)} experiments done in {(time.monotonic() - start) / 60:.1f} min: {', '.join(done) or 'none'}")
    elif options.queue:
        done = queue.work_off(options.minutes, options.device, places, options.together)
        print(f"{len(done)} experiments done in {(time.monotonic() - start) / 60:.1f} min: {', '.join(done) or 'none'}")
    else:
        chosen = queue.find(options.id, places, options.device == "cuda")
        queue.run(chosen, options.minutes, options.device, places, say=print, pixels=options.pixels)


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
    from istapp.experiments import ladder
    from istapp.experiments.evaluation import device

    device(options.device)
    if options.out:
        refuse_unwritable(options.out)
    if options.minutes:
        ladder.climb(options.minutes, options.out, print, options.device)
    rows = {(row["rung"], row["seed"]): row["mean"] for row in ladder.read(options.out)}
    for rung in ladder.rungs():
        means = [rows[rung.name, str(seed)] for seed in (1, 2, 3) if (rung.name, str(seed)) in rows]
        print(f"{rung.group:14} {rung.name:42} {'  '.join(means) or '-':26} {rung.recipe}")


def reproduce(options: argparse.Namespace) -> None:
    from istapp.paper.reproduce import reproduce

    if options.out:
        refuse_unwritable(options.out, folder=True)
    reproduce(
        options.name, options.profile, options.device, options.minutes, options.out, options.again, progress=line
    )  # fmt: skip


def ledger(options: argparse.Namespace) -> int:
    from istapp.paper import changes, ledger

    if options.accept and not options.write:
        raise UserError("--accept goes with --write: istapp ledger --write --accept FILE")
    found = ledger.entries()
    if options.write:
        if pending := changes.pending(found):
            print(changes.told(pending))
        changes.record(found, options.accept)
        print(f"recorded: {len(found)} numbers, {len(ledger.hashes())} files")
        return 0
    print(ledger.summary(found))
    faults = ledger.faults(found)
    for fault in faults:
        print(f"istapp ledger: {fault}", file=sys.stderr)
    if faults:
        print("istapp ledger: `istapp ledger --write` tells what changed, and how to record it", file=sys.stderr)
    return 1 if faults else 0


def trace(options: argparse.Namespace) -> int:
    from istapp.paper.trace import trace

    lines, holds = trace(options.number)
    print("\n".join(lines))
    return 0 if holds else 1


def benchmark(options: argparse.Namespace) -> None:
    from istapp.experiments.evaluation import device

    device(options.device)
    if options.out:
        refuse_unwritable(options.out)
    if options.methods is not None:
        from istapp.experiments.method_times import benchmark

        benchmark(options.methods, options.device, options.out)
        return
    from istapp.experiments import speed

    sizes, rows = [(k, c) for k in options.stages for c in options.channels], []
    found = speed.measure(sizes, options.side, options.networks, options.device, options.batch, options.training)
    for row in found:
        print(speed.line(row), flush=True)
        rows.append(row)
        if options.out:
            speed.write(options.out, rows)

"""The commands that work with images and methods."""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from istapp.basics.errors import UserError
from istapp.basics.paths import refuse_unwritable
from istapp.basics.progress import line
from istapp.commands.arguments import Adder, device, percent, percents, seed, whole

if TYPE_CHECKING:
    from istapp.methods import Description, Method


def add(command: Adder) -> None:
    """Add the commands of this file to the command line."""
    _datasets_arguments(command(datasets, "list, verify, download, pack or register image sets", "--verify Set11"))
    described = command(methods, "list the methods and the weights at hand, or explain one", "dip")
    described.add_argument("name", metavar="NAME", nargs="?", help="explain this one and its options")
    one = command(
        reconstruct, "measure an image, or every image of a folder, and reconstruct it",
        "photo.jpg --method fista --ratio 10 --out estimate.png",
    )  # fmt: skip
    one.add_argument("image", metavar="IMAGE_OR_FOLDER", type=Path)
    one.add_argument("--ratio", default="10", metavar="PERCENT", help="CS ratio in percent (default 10)")
    one.add_argument("--out", required=True, metavar="FILE.png", type=Path, help="of a folder: another folder")
    one.add_argument("--bits", type=whole(8, 16), metavar="N", help="that a 16-bit gray image uses, such as 12")
    many = command(
        evaluate, "reconstruct a whole set and print the means",
        "--method fista --dataset photos --ratios 10,30,50 --out rows.csv",
    )  # fmt: skip
    many.add_argument("--dataset", required=True, metavar="NAME_OR_FOLDER")
    many.add_argument("--ratios", default="10,30,50", metavar="PERCENTS", help="in percent (default 10,30,50)")
    many.add_argument("--out", metavar="FILE.csv", type=Path, help="a row per image; resumed if it exists")
    many.add_argument("--bits", type=whole(8, 16), metavar="N", help="that a folder's 16-bit gray images use")
    many.add_argument("--run", default="", metavar="NAME", help="what the rows name as their run (default nothing)")
    for each in (one, many):
        _method_arguments(each)


def _datasets_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--verify", metavar="NAME", nargs="+", help="check every pixel of these sets ('all': at hand)")
    parser.add_argument("--download", metavar="NAME", nargs="+", help="fetch these sets into the cache")
    parser.add_argument("--pack", metavar=("FILE", "NAME"), nargs="+", help="write sets to one file for a bare machine")
    parser.add_argument("--register", metavar="NAME", nargs="+", help="record anew what the pixels of these sets are")


def _method_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", required=True, metavar="NAME", help="see `istapp methods`")
    parser.add_argument("--weights", metavar="FILE", type=Path, help=".safetensors, or an official .pkl")
    parser.add_argument(
        "--option", metavar="NAME=VALUE", action="append", default=[],
        help="of the method, such as iterations=500; `istapp methods NAME` explains them; may be repeated",
    )  # fmt: skip
    parser.add_argument("--matrix", metavar="FILE", type=Path, help="your own: .npy, .safetensors or .mat, m x 1089")
    path = parser.add_mutually_exclusive_group()
    path.add_argument("--blockwise", action="store_true", help="reconstruct each block alone")
    path.add_argument("--whole-image", action="store_true", help="see across blocks, where published for each alone")
    parser.add_argument("--fast", action="store_true", help="in the number format that the device is fast in")
    parser.add_argument("--seed", type=seed, default=0, help="of the sampling matrix (default 0)")
    device(parser)


def datasets(options: argparse.Namespace) -> None:
    """List the image sets, or do what is asked with them."""
    from istapp.images import datasets
    from istapp.images.packs import refuse_pack_target

    if options.pack:
        refuse_pack_target(options.pack[0])
        if len(options.pack) < 2:
            raise UserError("--pack takes a file and at least one set: istapp datasets --pack train.safetensors T91")
    for name in options.download or ():
        print(f"{name}: complete in {datasets.download(name)}")
    for name in options.verify or ():
        at_hand = [s.name for s in datasets.status() if not s.state.startswith("missing")]
        for each in at_hand if name == "all" else [name]:
            print(f"{each}: every pixel as registered, {datasets.verify(each)[:12]}")
    if options.pack:
        file, *sets = options.pack
        datasets.pack(file, sets)
        print(f"{file}: {', '.join(sets)}; use it with ISTAPP_DATA={file}")
    if options.register:
        datasets.register(options.register)
    if not (options.download or options.verify or options.pack or options.register):
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
    method = methods.whole_image(method) if options.whole_image else method
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
    if not folder and options.out.exists() and options.out.samefile(options.image):
        raise UserError(f"{options.out} is the image itself; name another file for the reconstruction")

    from istapp.experiments.evaluation import device
    from istapp.experiments.reconstruction import Job, reconstruct_folder
    from istapp.images.datasets import read_image
    from istapp.images.image import refuse_image_target, write_image

    where = device(options.device)
    image = None if folder else read_image(options.image, options.bits)
    if image:
        refuse_image_target(options.out, image.colour)
    method = _method(options)
    job = Job(method.to(where), method.sampling(ratio, options.seed), where, options.bits)
    if image is None:
        done, bad = reconstruct_folder(job, options.image, options.out)
        print(f"{done} images in {options.out}")
        return _report(bad, done)
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

    from istapp.experiments.evaluation import evaluate, label_of, summary
    from istapp.images.datasets import load

    method, bad, dataset = _method(options), [], options.dataset
    if options.bits:  # which a row tells by its pixels
        dataset = load(dataset, bad=bad, bits=options.bits)
    rows = evaluate(
        method, dataset, ratios, options.seed, options.device, out=options.out, run=options.run,
        label=label_of(options.dataset), progress=line, say=print, bad=bad,
    )  # fmt: skip
    line("")
    if rows:
        print(summary(rows))
    if rows and options.out:
        print(f"{len(rows)} rows in {options.out}")
    return _report(bad, len(rows))

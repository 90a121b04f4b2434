"""What travels to a machine with a GPU and back: one folder in, pieces of a few MiB out.

    istapp campaign pack FOLDER        image sets, plan and states of the next group, for `istapp train --out FOLDER`
    istapp campaign out FOLDER TO      what came of it, in pieces
    istapp campaign merge FROM         weights, their curves and rows into data/, states and plan into runs/

A machine may take in little and give back less: `INWARD` and `PIECE` are the limits. Nothing that comes back is
believed unchecked: weights must fit their header's hash, rows must be rows, states must be whole.
"""

import filecmp
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from istapp.basics.errors import UserError, reason
from istapp.basics.paths import read_table, write_atomically, write_table
from istapp.basics.provenance import checkout, commit
from istapp.experiments import campaigns, queue
from istapp.experiments.forward_times import ForwardTime
from istapp.experiments.plan import Plan
from istapp.experiments.queue import Places
from istapp.experiments.rows import IDENTITY, name_of, put, read_rows
from istapp.images import datasets
from istapp.method import weights
from istapp.training import state
from istapp.training.calibration import Trial

#: Bytes that may go in, the checkout included, and that a piece may have on its way out.
INWARD, PIECE = 60 * 2**20, 15 * 2**20

#: Bytes of weights that are shipped, all together; of what comes home beyond that only the header is.
SHIPPED = 32 * 2**20

#: The file of image sets in the folder, and the name of a piece.
SETS, NAME = "sets.safetensors", re.compile(r"campaign-(\d+)of(\d+)\.tar")

#: Tables that grow by rows of many machines, and their columns.
TABLES = {"calibration.csv": tuple(Trial.__annotations__), "times.csv": tuple(ForwardTime.__annotations__)}

Say = Callable[[str], None]


def pack(folder: Path, sets: Sequence[str] = (), group: str | None = None, say: Say = print) -> None:
    """Put into a folder all that a bare machine with this checkout needs to work on a group, the next one by default.

    The image sets are those named, else those that the group trains and is tested on, as far as they are at hand. What
    lies there of an earlier journey, plan and copies of states at home, gives way once all that is new is complete.

    Raises:
        UserError: the folder is that of unfinished training at home, or holds a state that is not at home; a training
            set is not at hand, or it is more than may travel. The folder is then as it was.
    """
    home = Places()
    _refuse_to_lose(folder, home)
    plan = Plan.of(home)
    name = group or plan.next(home)
    if name is None or not queue.members(name):
        raise UserError(f"there is no group '{name}' to pack for" if name else "every group is done")
    own = queue.members(name)
    wanted = list(sets) or _sets_of(own, say)
    states = [path for run in own for path in _newest_state(home.runs / run.id, name in plan.final)]
    planned = [plan.path] if plan.path and plan.path.exists() else []
    folder.mkdir(parents=True, exist_ok=True)
    old = [*folder.glob("*.state-*.pt"), *folder.glob("plan.json")]
    with tempfile.TemporaryDirectory(prefix=".pack-", dir=folder) as beside:
        datasets.pack(Path(beside, SETS), wanted)
        for path in [*planned, *states]:
            shutil.copy2(path, beside)
        new = {path.name: path for path in Path(beside).iterdir()}
        others = {path.name: path for path in folder.iterdir() if path not in (*old, Path(beside))}
        _tell_size(others | new, f"in {folder} for group {name} ({', '.join(wanted)})", say)
        for path in new.values():
            os.replace(path, folder / path.name)
    for path in old:
        if path.name not in new:
            path.unlink(missing_ok=True)


def _refuse_to_lose(folder: Path, home: Places) -> None:
    """Refuse a folder in which packing would remove what is nowhere else.

    Raises:
        UserError: it is that of unfinished training at home, or holds a state that is no copy of one there.
    """
    known = folder.exists() and home.runs.exists() and folder.samefile(home.runs)  # whichever way it is spelled
    if known or folder.resolve() == home.runs.resolve():
        raise UserError(
            f"{folder} is where unfinished training lies at home; name another folder, such as {home.runs / 'travel'}"
        )
    for path in sorted(folder.glob("*.state-*.pt")):
        kept = home.runs / path.name
        if not (kept.is_file() and filecmp.cmp(path, kept, shallow=False)):
            raise UserError(
                f"{folder} holds unfinished training that is not at home ({path.name}): bring it home with `istapp "
                f"campaign out {folder} PIECES` and `istapp campaign merge PIECES`, or name another folder"
            )


def _tell_size(content: Mapping[str, Path], what: str, say: Say) -> None:
    """Say how large a folder's files are, by name and together.

    Raises:
        UserError: with the checkout they are more than may travel.
    """
    size, code = _bytes(content.values()), _bytes(checkout())
    for name, path in sorted(content.items()):
        say(f"{path.stat().st_size / 2**20:7.2f} MiB  {name}")
    say(f"{size / 2**20:7.2f} MiB {what}")
    say(
        f"{(size + code) / 2**20:7.2f} MiB with the checkout, of {INWARD / 2**20:.0f}; there, where git does not know "
        f"this commit: ISTAPP_COMMIT={commit()}"
    )
    if size + code > INWARD:
        raise UserError(f"{(size + code) / 2**20:.1f} MiB are more than may travel; name fewer sets with --sets")


def _sets_of(own: Sequence[campaigns.Experiment], say: Say) -> list[str]:
    """Return the sets that a group learns from, and of the small ones that it is tested on those at hand."""
    training = dict.fromkeys(name for run in own for name in run.training_set.split("+"))
    tests = dict.fromkeys(name for run in own for name in run.tests if name in ("Set11", "BSD68"))
    found = list(training)
    for name in tests:
        try:
            datasets.load(name)
            found.append(name)
        except UserError as error:
            say(f"without {name}: {error}")
    return found


def _newest_state(prefix: Path, final: bool) -> list[Path]:
    """Return the files that a run goes on from: a rate that falls goes on to a `final` budget, else from before it."""
    newest, stable = state.files(prefix), state.files(prefix.with_name(f"{prefix.name}.stable"))
    kept = state.peek(prefix)
    if kept is None or kept["decay_from"] is None or not stable:
        return newest or stable
    return [*newest, *stable] if final else stable


def _bytes(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def out(folder: Path, to: Path, say: Say = print) -> None:
    """Write what came of a folder's work (weights, curves, rows, states, plan) to pieces in the folder `to`.

    Raises:
        UserError: there is nothing, or the pieces cannot be written; those of an earlier state of the work then stay.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        names = [path for path in sorted(folder.glob("*")) if path.is_file() and _kind(path.name)]
        for path in names:
            archive.add(path, path.name)
    if not names:
        raise UserError(f"{folder} holds nothing that could be brought back")
    data = content.getvalue()
    try:
        pieces = _write_pieces(data, to)
    except OSError as error:
        raise UserError(f"cannot write the pieces to {to}: {reason(error)}; whatever was there still is") from None
    for path in to.glob("campaign-*.tar"):
        if path.name not in pieces:  # of an earlier state of the work
            path.unlink()
    say(f"{len(names)} files, {len(data) / 2**20:.2f} MiB, in {len(pieces)} piece{'s' * (len(pieces) > 1)} in {to}")


def _write_pieces(data: bytes, to: Path) -> list[str]:
    """Write an archive in pieces, and only when all are whole give them their names, which are returned.

    Raises:
        OSError: they cannot be written.
    """
    count = -(-len(data) // PIECE)
    names = [f"campaign-{i + 1}of{count}.tar" for i in range(count)]
    to.mkdir(parents=True, exist_ok=True)
    # In a folder of their own: as many as before have the same names, and old and new ones mixed are no archive.
    with tempfile.TemporaryDirectory(prefix=".campaign-", dir=to) as beside:
        for i, name in enumerate(names):
            Path(beside, name).write_bytes(data[i * PIECE : (i + 1) * PIECE])
        for name in names:
            os.replace(Path(beside, name), to / name)
    return names


def _kind(name: str) -> str:
    """Return what a file is by its name, empty for what does not travel."""
    if name == "plan.json":
        return "plan"
    if name in TABLES:
        return "table"
    stem = re.sub(r"(\.stable)?\.state-\d+-\d+of\d+\.pt$", "", name)
    if stem != name:
        return "state" if stem in campaigns.ALL else ""
    for suffix, kind in ((".safetensors", "weights"), (".curve.csv", "curve"), (".csv", "rows")):
        if name.endswith(suffix):
            return kind if name.removesuffix(suffix) in campaigns.ALL else ""
    return ""


def merge(source: Path, say: Say = print) -> None:
    """Bring pieces home: weights, their curves and rows into data/, states and plan into runs/.

    Weights that have seen more pixels than those that come stay, with their curve and rows; what came is kept beside
    the states, in ``left-out``, for whoever decides by more than pixels. Where there is no room to ship weights
    (`SHIPPED`), they come to the states too, and their header is shipped. The curve of an unfinished run, which has no
    weights yet or has gone on from them, comes to its state.

    Raises:
        UserError: a piece is missing, or a file is not what its name says; then nothing is merged.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _unpack(source, folder)
        _check(folder)
        home, refused = Places(), set()
        order = ("weights", "rows", "curve", "table", "state", "plan")
        for path in sorted(folder.iterdir(), key=lambda path: order.index(_kind(path.name))):
            kind, run = _kind(path.name), re.sub(r"(\.curve)?\.(csv|safetensors)$", "", path.name)
            if kind == "weights" and _is_more(home.weights_of(run), path):
                refused.add(run)
            if run in refused:
                aside = home.runs / "left-out" / path.name
                write_atomically(aside, lambda beside, path=path: shutil.copyfile(path, beside))
                say(f"{path.name}: to {aside.parent.name}/, since {home.weights_of(run).name} has seen more pixels")
                continue
            say(f"{path.name}: {_MERGE[kind](path, home)}")


def _unpack(source: Path, folder: Path) -> None:
    pieces = {path: NAME.fullmatch(path.name) for path in source.glob("campaign-*.tar")}
    counts = {int(match[2]) for match in pieces.values() if match}
    found = sorted((int(match[1]), path) for path, match in pieces.items() if match)
    if counts != {len(found)} or [i for i, _ in found] != list(range(1, len(found) + 1)):
        raise UserError(f"{source} does not hold every piece of one archive, campaign-1ofN.tar and on")
    data = io.BytesIO(b"".join(path.read_bytes() for _, path in found))
    try:
        with tarfile.open(fileobj=data, mode="r:") as archive:  # else it tells of every compression that it tried
            for member in archive:
                if not (member.isfile() and _kind(member.name)):
                    raise UserError(f"{source} holds '{member.name}', which is no file of a campaign")
                archive.extract(member, folder, filter="data")
    except tarfile.TarError as error:
        raise UserError(f"the pieces in {source} are damaged: {error}") from None


def _check(folder: Path) -> None:
    """Raise UserError for a file that is not what its name says."""
    for path in sorted(folder.iterdir()):
        kind = _kind(path.name)
        if kind == "weights":
            weights.load(path)
        elif kind == "rows":
            run = path.name.removesuffix(".csv")
            if wrong := [row["run"] for row in read_rows(path) if row["run"] != run]:
                raise UserError(f"{path.name} holds rows of the run '{wrong[0]}'")
        elif kind == "curve":
            read_table(path, ("pixels",), numbers=("pixels",))
        elif kind == "table":
            read_table(path, TABLES[path.name])
        elif kind == "state":
            if not state.peek(folder / re.sub(r"\.state-.*", "", path.name)):
                raise UserError(f"{path.name} is a part of a state, and others are missing")
        elif kind == "plan":
            Plan.of(Places.in_folder(folder))


def _is_more(old: Path, new: Path) -> bool:
    return old.exists() and weights.header(old).get("pixels", 0) > weights.header(new).get("pixels", 0)


def _take_weights(path: Path, home: Places) -> str:
    target = home.weights_of(path.stem)
    if target.exists() and weights.header(target).get("weights_hash") != weights.header(path).get("weights_hash"):
        home.rows_of(path.stem).unlink(missing_ok=True)  # rows of the weights that go
    write_atomically(target, lambda beside: shutil.copyfile(path, beside))
    said = f"to {target.parent.name}/"
    if _bytes(target.parent.glob("*.safetensors")) > SHIPPED:
        write_atomically(home.runs / path.name, lambda beside: shutil.copyfile(path, beside))
        weights.leave_header(target)
        said = f"to {home.runs.name}/, its header alone {said}: more than {SHIPPED / 2**20:.0f} MiB are not shipped"
    begun = home.runs / path.stem
    with suppress(UserError):  # a damaged one is told by whoever wants to go on from it
        kept = state.peek(begun)
        header = weights.header(path)
        if kept and _is_same_run(kept["identity"], header) and kept["pixels"] <= header.get("pixels", 0):
            state.remove(begun)  # the run went further elsewhere; this would make it unfinished again
    return said


def _is_same_run(identity: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    """Tell whether a state is of the run that made weights: by network, seeds, images and recipe, not by its name.

    Left out of the recipe is what a device or a budget changes; what is zero may be missing.
    """
    free = {"name", "pixels", "decay", "decay_shape", "decay_blocks", "batch", "warm_up"}
    own, other = ({key: value for key, value in recipe.items() if value and key not in free}
                  for recipe in (identity["recipe"], header.get("recipe", {})))  # fmt: skip
    same = all(identity[key] == header.get(key) for key in ("method", "seed", "matrix_seed"))
    same = same and header.get("config", {}).items() <= identity["config"].items()  # a header names no defaults
    return same and identity["images"] == header.get("training_hash") and own == other


def _take_rows(path: Path, home: Places) -> str:
    target, rows = home.results / path.name, read_rows(path)
    known = {(*name_of(row), *(row[c] for c in IDENTITY)) for row in read_rows(target)} if target.exists() else set()
    new = [row for row in rows if (*name_of(row), *(row[c] for c in IDENTITY)) not in known]
    for row in new:
        put(target, row)
    return f"{len(new)} of {len(rows)} rows are new"


def _take_curve(path: Path, home: Places) -> str:
    """Take a curve to the results where its weights came too; those that lie there have a curve of their own."""
    of_weights = _is_curve_of(Places.in_folder(path.parent).weights_of(path.name.removesuffix(".curve.csv")), path)
    target = home.results if of_weights else home.runs
    write_atomically(target / path.name, lambda beside: shutil.copyfile(path, beside))
    return f"to {target.name}/" + ("" if of_weights else ", since no weights came that it leads to")


def _is_curve_of(path: Path, curve: Path) -> bool:
    """Tell whether a curve ends where weights are: one that goes on is of a run that was continued from them."""
    last = read_table(curve, ("pixels",), numbers=("pixels",))[-1:]
    return path.exists() and bool(last) and float(last[0]["pixels"]) == weights.header(path).get("pixels")


def _take_table(path: Path, home: Places) -> str:
    target, columns = home.results / path.name, TABLES[path.name]
    old = read_table(target, columns)
    new = [row for row in read_table(path, columns) if row not in old]
    write_table(target, columns, [*old, *new])
    return f"{len(new)} rows are new"


def _take_state(path: Path, home: Places) -> str:
    write_atomically(home.runs / path.name, lambda beside: shutil.copyfile(path, beside))
    return f"to {home.runs.name}/"


def _take_plan(path: Path, home: Places) -> str:
    """Add what the journey planned to what was known; the journey is the later one."""
    old, new = Plan.of(home), Plan.of(Places.in_folder(path.parent))
    for name in ("pixels", "final", "visits", "ways", "died"):
        mine, value = getattr(old, name), getattr(new, name)
        setattr(old, name, list(dict.fromkeys([*mine, *value])) if isinstance(mine, list) else {**mine, **value})
    old.final = [group for group in old.final if group in new.final or group not in new.pixels]
    old.trying = {}
    old.write()
    return f"to {home.runs.name}/"


_MERGE: dict[str, Callable[[Path, Places], str]] = {
    "weights": _take_weights, "rows": _take_rows, "curve": _take_curve, "table": _take_table, "state": _take_state,
    "plan": _take_plan,
}  # fmt: skip

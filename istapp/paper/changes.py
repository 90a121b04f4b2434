"""What recording the ledger anew would change: files, rows in them, cells and verdicts, for a person to accept or not.

    istapp ledger --write                        shows the changes, and records nothing while there are any
    istapp ledger --write --accept tv.csv ...    records them, once every file that changed is named

A file's rows as they were recorded come from git, where a version has the recorded hash. Where none has, the file is
still named, and its cells and verdicts are told from the stored ledger.
"""

import csv
import hashlib
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.basics.paths import read_text
from istapp.experiments import rows
from istapp.method import weights
from istapp.paper import ledger
from istapp.paper.judgement import Entry

#: So many rows or cells of one kind are told one by one; the rest is counted.
TOLD = 12


@dataclass(frozen=True)
class Change:
    """A file that is not as it was recorded.

    Attributes:
        file: its name in the folder of results.
        what: ``changed``, ``missing`` or ``new``.
        details: lines on rows, cells and verdicts.
    """

    file: str
    what: str
    details: tuple[str, ...]


def pending(found: Sequence[Entry], folder: Path | None = None) -> list[Change]:
    """Return what a new record of the entries `found` would change in `folder`, by default `data/results`."""
    folder = folder or paths.RESULTS
    recorded, changes = ledger.recorded(folder), []
    for name, what in ledger.differing(folder).items():
        path = (paths.WEIGHTS if name.endswith(".safetensors") else folder) / name
        changes.append(Change(name, what, tuple(_content_changed(path, recorded.get(name)))))
    cells = _cells_changed(found, folder / ledger.LEDGER)
    return changes + ([Change(ledger.LEDGER, "changed", tuple(cells))] if cells else [])


def record(found: Sequence[Entry], accepted: Collection[str] = (), folder: Path | None = None) -> list[Change]:
    """Record the entries and the hashes if every file that changed is among `accepted`, and return the changes.

    Raises:
        UserError: a file that changed is not accepted, or an accepted one does not exist; nothing is written then.
    """
    folder = folder or paths.RESULTS
    changes = pending(found, folder)
    names = {Path(name).name for name in accepted}
    known = (
        {change.file for change in changes}
        | {path.name for path in folder.glob("*.csv")}
        | ledger.hashes(folder).keys()
    )
    if names - known:
        raise UserError(f"--accept names {', '.join(sorted(names - known))}, which is neither there nor recorded")
    open_ = [change.file for change in changes if change.file not in names]
    if open_:
        raise UserError(
            f"nothing is recorded while {len(open_)} of the files that changed are not accepted; if what is told above "
            f"is right: istapp ledger --write --accept {' '.join(change.file for change in changes)}"
        )
    ledger.write(folder)
    return changes


def since(found: Sequence[Entry], older: Path) -> list[str]:
    """Return lines on how the entries `found` differ from a ledger that was stored before, verdicts first.

    Raises:
        UserError: `older` is no ledger.
    """
    if not read_text(older).startswith("id,"):
        raise UserError(f"{older} is no ledger; name a ledger.csv as `istapp ledger --write` makes it")
    return _cells_changed(found, older)


def told(changes: Sequence[Change]) -> str:
    """Return changes as text."""
    return "\n".join(line for c in changes for line in (f"{c.file}: {c.what}", *(f"  {line}" for line in c.details)))


def _content_changed(path: Path, recorded: str | None) -> Iterator[str]:
    """Say what is in a file that was not in it when it was recorded, row by row if it holds rows of results."""
    if path.suffix == ".safetensors":
        yield from _weights_changed(path)
        return
    now = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    before = "" if recorded is None else _version(path, recorded)
    if before is None:
        yield "no version of it in git has the recorded hash, so what changed in it cannot be told"
    elif rows.is_header((before or now).partition("\n")[0]):
        yield from _rows_changed(*(rows.parse(text, path) if text else [] for text in (before, now)))
    else:
        was, is_ = (Counter(text.splitlines()) for text in (before, now))
        yield f"{(is_ - was).total()} lines added, {(was - is_).total()} gone"


def _weights_changed(path: Path) -> Iterator[str]:
    """Say what a file of weights is now."""
    if path.is_file():
        header, whole = weights.checked(path)
        told = ("weights_hash", "training_set", "steps", "seed", "commit")
        said = [f"{name} {str(header[name])[:16]}" for name in told if name in header]
        yield ", ".join(said if whole else ["a header alone", *said])


def _rows_changed(before: list[rows.Row], now: list[rows.Row]) -> Iterator[str]:
    old, new = _by_name(before), _by_name(now)
    both = [name for name in old if name in new]
    other = [name for name in both if old[name]["psnr"] != new[name]["psnr"]]
    made = sum(any(old[name][column] != new[name][column] for column in rows.IDENTITY) for name in both)
    gone, added = [n for n in old if n not in new], [n for n in new if n not in old]
    yield (
        f"{len(old)} rows before, {len(new)} now: {len(added)} added, {len(gone)} gone, "
        f"{len(other)} with another PSNR, {made} of other pixels, weights or code"
    )
    yield from _some("gone", [_called(old[name]) for name in gone])
    other.sort(key=lambda name: -abs(float(new[name]["psnr"]) - float(old[name]["psnr"])))
    yield from _some("dB", [f"{_called(new[n])}: {old[n]['psnr']} -> {new[n]['psnr']}" for n in other])


def _by_name(own: list[rows.Row]) -> dict[tuple, rows.Row]:
    """Return rows by name, and by number where several bear the same."""
    seen: Counter[tuple[str, ...]] = Counter()
    found = {}
    for row in own:
        name = rows.name_of(row)
        found[(*name, seen[name])] = row
        seen[name] += 1
    return found


def _called(row: rows.Row) -> str:
    extra = " ".join(filter(None, [row["variant"], f"matrix {row['seed']}" if row["seed"] not in ("", "0") else ""]))
    return f"{row['dataset']} {row['image']} {row['ratio']} %" + (f" ({extra})" if extra else "")


def _some(what: str, lines: Sequence[str]) -> Iterator[str]:
    yield from (f"  {what}: {line}" for line in lines[:TOLD])
    if len(lines) > TOLD:
        yield f"  {what}: ... and {len(lines) - TOLD} more"


def _version(path: Path, recorded: str) -> str | None:
    """Return the text of the version of a file that has a hash, as far as git has it."""
    commits = _git(path.parent, "log", "--format=%H", "--max-count=50", "--", path.name) or b""
    for commit in commits.decode().split():
        content = _git(path.parent, "show", f"{commit}:./{path.name}")
        if content is not None and hashlib.sha256(content).hexdigest() == recorded:
            return content.decode("utf-8", "replace")
    return None


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout if run.returncode == 0 else None


def _cells_changed(found: Sequence[Entry], path: Path) -> list[str]:
    """Say which entries differ from those that are stored in a file, verdicts first."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    stored = {row.get("id") or "": row for row in csv.DictReader(lines)}
    now = {entry.id: ledger.as_row(entry) for entry in found}
    told = [f"{len(now.keys() - stored.keys())} entries are new"] if now.keys() - stored.keys() else []
    gone = [f"gone: {id_}" for id_ in stored if id_ not in now]
    judged, cells, others = [], [], []
    for id_ in now.keys() & stored.keys():
        differ = [name for name in ledger.BINDING if stored[id_].get(name) != now[id_][name]]
        changed = [f"{name} {stored[id_].get(name) or '-'} -> {now[id_][name] or '-'}" for name in differ]
        kind = judged if "verdict" in differ else cells if set(differ) & set(ledger.NUMBERS) else others
        kind += [f"{id_}: {'; '.join(changed)}"] if differ else []
    for what, own in (("verdict", judged), ("cell", cells), ("beside", others)):
        told += [line.strip() for line in _some(what, sorted(own))]
    return gone + told

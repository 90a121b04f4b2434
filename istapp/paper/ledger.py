"""The ledger: every number of the paper with its verdict, stored beside the rows that it follows from.

    istapp ledger                          print it; exit code 1 if it does not follow from the rows, or a file changed
    istapp ledger --write --accept FILE    record it anew, with the changes in these files (`istapp.paper.changes`)

``ledger.csv`` holds the entries, ``hashes.csv`` the SHA-256 of every other file beside them (rows, curves, tunings,
timings) and of the shipped weights. Both hold no dates: recording twice changes nothing.
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from textwrap import fill

from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.basics.provenance import file_hash
from istapp.experiments import method_times
from istapp.experiments.identity import short
from istapp.method import weights
from istapp.paper import results, verdicts
from istapp.paper.entries import Timings, all_entries
from istapp.paper.judgement import Entry, grouped
from istapp.paper.results import Row

COLUMNS = (
    "id", "where", "what", "kind", "unit", "published", "ours", "part", "laptop", "released", "difference", "spread",
    "verdict", "note", "command", "run", "provenance",
)  # fmt: skip
#: Columns that a stored row must share with the rows' own; commands may change.
BINDING = tuple(name for name in COLUMNS if name not in ("note", "command"))
_DIGITS = {"dB": 4, "s": 4, "million": 6, "numbers": 0, "": 4}
LEDGER, HASHES = "ledger.csv", "hashes.csv"
_HASHED = ("file", "sha256")
#: The README quotes the `headline` between these marks.
README, MARKS = paths.DATA.parent / "README.md", ("<!-- the tally -->\n", "\n<!-- as istapp ledger prints it -->")
#: Columns of numbers.
NUMBERS = ("published", "ours", "part", "laptop", "released", "difference", "spread")


def judge(rows: Iterable[Row], timings: Timings = ()) -> list[Entry]:
    """Compute every entry from rows and timings: tables first, then the text.

    Raises:
        UserError: a number in an entry is NaN or infinite.
    """
    found = all_entries(grouped(rows), timings)
    for entry in found:
        for name in NUMBERS:
            value = getattr(entry, name)
            if value is not None and not math.isfinite(value):
                raise UserError(f"{entry.id}: {name} is {value}, which no ledger takes; a row or a timing is damaged")
    return found


def entries(folder: Path | None = None) -> list[Entry]:
    """Compute every entry from the rows in `folder`, by default `data/results`."""
    return judge(results.load(folder), method_times.read((folder or paths.RESULTS) / method_times.FILE.name))


def as_row(entry: Entry) -> dict[str, str]:
    """Return an entry as `ledger.csv` has it: text, numbers with as many digits as their unit deserves."""
    digits = _DIGITS[entry.unit]
    return {name: _text(getattr(entry, name), digits) for name in COLUMNS}


def _text(value: object, digits: int) -> str:
    # Adding zero turns -0.0 into 0.0, so that the same difference is the same text.
    if isinstance(value, (int, float)):
        return f"{round(value, digits) + 0.0:.{digits}f}"
    return "" if value is None else str(value)


def hashes(folder: Path | None = None) -> dict[str, str]:
    """Return the SHA-256 of every file of rows, curves, tunings, timings in `folder`, and of the weights, by name."""
    files = [path for path in (folder or paths.RESULTS).glob("*.csv") if path.name not in (LEDGER, HASHES)]
    return {path.name: file_hash(path) for path in sorted([*files, *paths.WEIGHTS.glob("*.safetensors")])}


def recorded(folder: Path | None = None) -> dict[str, str]:
    """Return the SHA-256 that is recorded of every file, by name; none where nothing was recorded yet.

    Raises:
        UserError: the record has other columns.
    """
    path = (folder or paths.RESULTS) / HASHES
    return {row["file"]: row["sha256"] for row in stored(path, _HASHED)} if path.exists() else {}


def differing(folder: Path | None = None) -> dict[str, str]:
    """Return the files that are not as they were recorded, by name: ``missing``, ``new`` or ``changed``."""
    known, there = recorded(folder), hashes(folder)
    names = sorted(name for name in known.keys() | there.keys() if known.get(name) != there.get(name))
    return {name: "missing" if name not in there else "new" if name not in known else "changed" for name in names}


def write(folder: Path | None = None) -> list[Entry]:
    """Record the entries and the hashes in `folder`, by default `data/results`, and return the entries.

    What was recorded is replaced without a question; `changes.record` asks.
    """
    folder = folder or paths.RESULTS
    found = entries(folder)
    paths.write_table(folder / LEDGER, COLUMNS, map(as_row, found))
    own = [{"file": name, "sha256": digest} for name, digest in hashes(folder).items()]
    paths.write_table(folder / HASHES, _HASHED, own)
    if folder == paths.DATA / "results" and README.is_file():
        page = quoting(README.read_text(encoding="utf-8"), found)
        paths.write_atomically(README, lambda beside: beside.write_text(page, encoding="utf-8"))
    return found


def quoting(page: str, found: Iterable[Entry]) -> str:
    """Return a page whose lines between the marks are the headline; one without marks stays as it is."""
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    return before + begin + fill(headline(found), 120) + end + after if end else page


def stored(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a stored file.

    Raises:
        UserError: it is not there or has other columns.
    """
    if not path.is_file():
        raise UserError(f"there is no {path.name} in {path.parent}; record it with `istapp ledger --write`")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != columns:
                raise UserError(
                    f"{path} has other columns than {','.join(columns)}; record it with `istapp ledger --write`"
                )
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    cut = next((line for line, row in enumerate(rows, 2) if None in row or None in row.values()), None)
    if cut:
        raise UserError(f"{path}, line {cut} has too few or too many columns: the file was cut off or edited")
    return rows


def faults(found: list[Entry], folder: Path | None = None) -> list[str]:
    """Say what in `folder` no longer holds.

    Files are held against their hashes, rows against the weights that are shipped under their run's name, stored
    entries against `found`.

    Raises:
        UserError: nothing is stored.
    """
    folder = folder or paths.RESULTS
    page = README.read_text(encoding="utf-8") if folder == paths.DATA / "results" and README.is_file() else ""
    stale = [] if quoting(page, found) == page else [f"{README.name}: quotes another tally"]
    return [*_changed_files(folder), *_other_weights(folder), *_changed_entries(found, folder), *stale]


def _changed_files(folder: Path) -> list[str]:
    stored(folder / HASHES, _HASHED)  # refused where nothing is recorded
    words = {"missing": "recorded, but missing", "new": "not recorded", "changed": "changed since it was recorded"}
    return [f"{name}: {words[what]}" for name, what in differing(folder).items()]


def _other_weights(folder: Path) -> list[str]:
    first: dict[tuple[str, str], Row] = {}
    for row in results.load(folder):
        if row["run"] and row["weights"]:
            first.setdefault((row["run"], row["weights"]), row)
    said = []
    for (run, told), row in first.items():
        path = paths.weights_of(run)
        if path.is_file() and (own := short(weights.header(path).get("weights_hash", ""))) != told:
            said.append(f"{row['file']}, line {row['line']}: made with the weights {told}, but {path.name} holds {own}")
    return said


def _changed_entries(found: list[Entry], folder: Path) -> list[str]:
    now = {entry.id: as_row(entry) for entry in found}
    said, seen = [], set()
    for row in stored(folder / LEDGER, COLUMNS):
        if row["id"] in seen or row["id"] not in now:
            said.append(
                f"{LEDGER}, {row['id']}: {'stands twice' if row['id'] in seen else 'the paper has no such number'}"
            )
            continue
        seen.add(row["id"])
        wrong = [name for name in BINDING if row[name] != now[row["id"]][name]]
        if wrong:
            first = "verdict" if "verdict" in wrong else wrong[0]
            said.append(f"{LEDGER}, {row['id']}: {first} is '{row[first]}', but the rows say '{now[row['id']][first]}'")
    return said + [f"{LEDGER}, {id_}: is missing" for id_ in now if id_ not in seen]


def tally(found: Iterable[Entry]) -> dict[str, int]:
    """Count the verdicts, those of the released weights first; a number with two verdicts counts under both."""
    counted = Counter(verdict for entry in found for verdict in entry.verdicts)
    return {verdict: counted[verdict] for verdict in verdicts.VERDICTS}


def headline(found: Iterable[Entry]) -> str:
    """Return the state of things in four sentences: the PSNR cells of the tables first, then every other number."""
    found = list(found)
    own, rest = ([e for e in found if (e.kind == "cell") == wanted] for wanted in (True, False))
    cells, others = tally(own), tally(rest)
    decided = {verdicts.REPLICATED, verdicts.EXCEEDED}
    part = sum(e.part is not None and e.ours is None and not decided & set(e.verdicts) for e in own)

    def but(number: int, what: str = "not", verbs: tuple[str, str] = ("is", "are")) -> str:
        """Say in brackets how many are not."""
        return f"({number} {verbs[number != 1]} {what})"

    small = f"{cells[verdicts.LAPTOP]} only a smaller network; these decide nothing. "
    beside = f"Beside {small}" if not part else (
        f"Beside {part} other{'s' * (part != 1)} stands such a run after a part of its training, beside {small}"
    )  # fmt: skip
    return (
        f"Of {len(own)} PSNR cells in the paper's tables, {cells[verdicts.REPRODUCED]} are reproduced by the authors' "
        f"released weights in our evaluation {but(cells[verdicts.NOT_REPRODUCED])}, and {cells[verdicts.REPLICATED]} "
        f"are replicated and {cells[verdicts.EXCEEDED]} exceeded by our own runs at the paper's size "
        f"{but(cells[verdicts.NOT_REPLICATED])}. {beside}"
        f"{cells[verdicts.NOT_RUN]} cells are not run yet, and {cells[verdicts.NOT_MEASURABLE]} cannot be measured. "
        f"Of the {len(rest)} other numbers, {others[verdicts.ADDS_UP]} add up "
        f"{but(others[verdicts.DOES_NOT_ADD_UP], verbs=('does', 'do'))} and "
        f"{others[verdicts.COUNTED]} are counted {but(others[verdicts.COUNTED_OTHERWISE], 'counted otherwise')}."
    )


def summary(found: list[Entry]) -> str:
    """Return the ledger as text: judged numbers line by line, the others gathered with their reason or command."""
    lines: list[str] = []
    gathered = (*verdicts.OPEN, verdicts.NOT_MEASURABLE)
    for here in dict.fromkeys(map(place, found)):
        own = [entry for entry in found if place(entry) == here]
        lines += ["", here, *(_line(entry) for entry in own if entry.verdict not in gathered)]
        for verdict in gathered:
            waiting = [entry for entry in own if entry.verdict == verdict]
            for what in dict.fromkeys(entry.what for entry in waiting):
                lines.append(_gathered(verdict, [entry for entry in waiting if entry.what == what]))
    counted = ", ".join(f"{number} {verdict}" for verdict, number in tally(found).items() if number)
    return "\n".join([*lines[1:], "", f"{len(found)} numbers: {counted}", headline(found)])


def place(entry: Entry) -> str:
    """Return where an entry stands, without its column: ``Table 1, Set11``."""
    return re.sub(r" (\d+ %|Avg\.)$", "", entry.where)


def _line(entry: Entry) -> str:
    whole = entry.unit == "numbers" or float(entry.published).is_integer()
    digits = 2 if entry.unit in ("dB", "million") else 0 if whole else 2
    shown = [entry.published, next((v for v in (entry.ours, entry.part, entry.released) if v is not None), None)]
    published, ours = ("" if value is None else f"{value:,.{digits}f}" for value in shown)
    note = f"  ({entry.note})" if entry.note else ""
    what = entry.what + entry.where.removeprefix(place(entry))
    return f"  {what:44} {published:>9} {ours:>9} {entry.unit:8} {entry.verdict}{note}"


#: The columns of measured numbers, as people call them.
CALLED = {"ours": "ours", "part": "part of its training", "laptop": "laptop edition", "released": "released weights"}


def _gathered(verdict: str, same: list[Entry]) -> str:
    """One line for a row of a table, with the columns that wait and what stands beside in them."""
    columns = ",".join(filter(None, (entry.where.removeprefix(place(entry)) for entry in same)))
    beside = ""
    for name, label in CALLED.items():
        values = [value for entry in same if (value := getattr(entry, name)) is not None]
        beside += f" ({label} {', '.join(f'{value:.2f}' for value in values)})" if values else ""
    todo = "; ".join(dict.fromkeys(entry.command or entry.note for entry in same))
    return f"  {same[0].what}{columns}: {verdict}{beside}\n      {todo}"

"""How a number got here: from a cell of a table back through verdict, run, weights and rows to the hashes of files.

    istapp trace table1/Set11/10/ista-net-pp     a number of the ledger, by its id
    istapp trace 25.97                           whatever is that number: cells, rows, entries
    istapp trace ista-net-pp/photos/30           a method on a set at a ratio; after it /RUN/VARIANT/IMAGE

Every step is checked where it is told, and said to be broken where it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from istapp.basics import paths
from istapp.basics.errors import UserError, nearest
from istapp.basics.provenance import file_hash
from istapp.experiments.identity import short
from istapp.images import registry
from istapp.method import weights
from istapp.paper import ledger, results
from istapp.paper.judgement import Entry
from istapp.paper.results import Cell, Row

#: The chapter that shows a number, by how its id begins; the ledger's own chapter shows them all.
PAGES = {
    "table1": "07_tables_1_and_2", "table2": "07_tables_1_and_2", "text/gain": "07_tables_1_and_2",
    "text/stages": "08_stages_and_channels", "table3": "09_training_sets", "text/training": "09_training_sets",
    "text/house": "09_training_sets", "text/plants": "09_training_sets", "table4": "10_ablation",
    "text/dus": "10_ablation", "text/cbs": "10_ablation",
}  # fmt: skip
#: So many numbers are traced at once; of more, the ids are listed.
AT_ONCE = 4


@dataclass(frozen=True)
class Step:
    """A step of a path: what it is, what is there, and whether it holds."""

    name: str
    text: str
    holds: bool = True

    def __str__(self) -> str:
        """Return the step as a line."""
        return f"    {self.name:8} {'' if self.holds else 'BROKEN: '}{self.text}"


def trace(number: str) -> tuple[list[str], bool]:
    """Return the lines that tell where a number comes from, and whether every step of its path holds.

    Raises:
        UserError: no number is called so, and none has that value.
    """
    found, rows = ledger.entries(), results.load()
    by_id = {entry.id: entry for entry in found}
    if number in by_id:
        return _told([_of_entry(by_id[number])])
    if number.count("/") >= 2 and not number.startswith(("table", "text/", "arithmetic/")):
        return _told([_of_cell(number, rows, found)])
    wanted = number.replace("−", "-").removeprefix("+").removesuffix("dB").strip()
    entries = [entry for entry in found if any(_shown(getattr(entry, n), wanted) for n in ledger.NUMBERS)]
    cells = [name for name, own in _cells(rows).items() if _shown(results.mean(own), wanted)]
    cells += [
        f"{_name(row)}/{row['image']}" for row in rows if row["seed"] in ("", "0") and _shown(row["psnr"], wanted)
    ]
    names = [*(entry.id for entry in entries), *cells]
    if not names:
        raise UserError(f"no number of the tables is '{number}'{nearest(number, by_id)}; `istapp ledger` prints them")
    if len(names) > AT_ONCE:
        return [f"{number} may be any of these {len(names)}; trace one of them:", *names], True
    return _told([*map(_of_entry, entries), *(_of_cell(name, rows, found) for name in cells)])


def _shown(value: float | None, text: str) -> bool:
    """Tell whether a value is shown as this text, with as many digits as the text has."""
    digits = len(text.partition(".")[2])
    return value is not None and digits > 0 and f"{value:.{digits}f}" == text


def _told(paths_: Sequence[tuple[str, list[Step]]]) -> tuple[list[str], bool]:
    lines = [line for title, steps in paths_ for line in (title, *map(str, steps))]
    return lines, all(step.holds for _, steps in paths_ for step in steps)


def _name(row: Row) -> str:
    return f"{row['method']}/{row['dataset']}/{row['ratio']:g}/{row['run']}/{row['variant']}"


def _cells(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of every cell: the first sampling matrix, all images."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(_name(row), []).append(row)
    return {name: results.first_matrix(own) for name, own in found.items()}


def _of_entry(entry: Entry) -> tuple[str, list[Step]]:
    """Return the path of a number of the ledger."""
    title = f"{entry.id}: {entry.where}, {entry.what}, published {entry.published:g} {entry.unit}".rstrip()
    steps = [step for name, own in entry.sources for step in _of_measured(ledger.CALLED[name], own)]
    if not entry.sources:
        how = {"count": "counted in what the module builds", "sum": "computed from the paper's own numbers"}
        ours = "" if entry.ours is None else f"{entry.ours:g}, "
        steps.append(Step("cell", ours + how.get(entry.kind, "no rows")))
    steps.append(_verdict(entry))
    return title, [*steps, _page([entry.id])]


def _page(ids: Iterable[str]) -> Step:
    """Tell the chapters that show entries of the ledger."""
    chapters = [page for id_ in ids for start, page in PAGES.items() if id_.startswith(start)]
    return Step("page", ", ".join(f"notebooks/{page}.ipynb" for page in dict.fromkeys([*chapters, "12_ledger"])))


def _verdict(entry: Entry) -> Step:
    """Tell the verdict, and whether the stored ledger has the same."""
    path = paths.RESULTS / ledger.LEDGER
    stored = {row["id"]: row for row in ledger.stored(path, ledger.COLUMNS)} if path.is_file() else {}
    ours = "" if entry.ours is None else f"{entry.ours:.4f} against {entry.published:g}: "
    more = "; ".join(filter(None, [entry.note, entry.command]))
    text = f"{ours}{entry.verdict}" + (f" ({more})" if more else "")
    same = stored.get(entry.id, {}).get("verdict") == entry.verdict
    return Step("verdict", text + ("" if same else f"; {path.name} has another"), same)


def _of_cell(name: str, rows: Sequence[Row], found: Sequence[Entry]) -> tuple[str, list[Step]]:
    """Return the path of a cell METHOD/SET/PERCENT[/RUN[/VARIANT[/IMAGE]]]; without a run, of the one that tables show.

    Raises:
        UserError: there are no such rows.
    """
    method, dataset, percent, *more = name.split("/", 5)
    run, variant, image = (more + [None, None, None])[:3]
    try:
        ratio = float(percent) / 100
    except ValueError:
        raise UserError(f"a cell is METHOD/SET/PERCENT, and '{percent}' is no number") from None
    cell = results.cell(rows, method, dataset, ratio, run, variant)
    own = [row for row in cell.rows if image in (None, "", row["image"])] if cell else []
    if not own or cell is None:
        raise UserError(f"there are no rows of {name}; `istapp ledger` prints the numbers that there are")
    value, whole = sum(row["psnr"] for row in own) / len(own), cell.whole and len(own) == len(cell.rows)
    measured = replace(cell, psnr=value, spread=cell.spread if whole else None, whole=whole, rows=tuple(own))
    places = {(row["file"], row["line"]) for row in own}
    ids = [e.id for e in found if any(places <= {(r["file"], r["line"]) for r in m.rows} for _, m in e.sources)]
    last = [Step("verdict", f"see {', '.join(ids)}"), _page(ids)] if ids else [
        Step("verdict", "none: the paper prints no such number, and the ledger does not need it"),
        Step("page", f"chapters that show rows of {cell.run or method}"),
    ]  # fmt: skip
    return f"{_name(own[0])}{f'/{image}' if image else ''}: {value:.4f} dB", [*_of_measured("ours", measured), *last]


def _of_measured(label: str, measured: Cell) -> list[Step]:
    """Return the steps from files to a cell."""
    steps = [
        step for name in dict.fromkeys(row["file"] for row in measured.rows) for step in _file(name, measured.rows)
    ]
    for run in dict.fromkeys(row["run"] for row in measured.rows):
        steps += _run(run, [row for row in measured.rows if row["run"] == run])
    whole = "every image" if measured.whole else "not every image of the set"
    spread = "" if measured.spread is None else f", spread {measured.spread:.4f} dB"
    return [
        *steps,
        Step("cell", f"{label}: {measured.psnr:.4f} dB, mean of {_many(len(measured.rows), 'row')}, {whole}{spread}"),
    ]


def _file(name: str, rows: Sequence[Row]) -> Iterator[Step]:
    """The file that rows stand in, against its recorded hash; the rows, against the registered pixels."""
    digest, known = file_hash(paths.RESULTS / name), ledger.recorded().get(name)
    state = "as hashes.csv records it" if digest == known else "not as hashes.csv records it"
    yield Step("file", f"data/results/{name}, SHA-256 {short(digest)}, {state}", digest == known)
    own = [row for row in rows if row["file"] == name]
    lines = _spans(row["line"] for row in own)
    expected = [short(registry.pixels(row["dataset"], row["image"])) for row in own]
    told = sum(bool(row["pixels"]) for row in own)
    same = sum(bool(row["pixels"]) and row["pixels"] == pixels for row, pixels in zip(own, expected))
    text = f"line{'s' * (len(own) > 1)} {lines}; {same} of {len(own)} with the pixels that data/registry.csv has"
    yield Step("rows", text + (f", {len(own) - told} do not tell" if told < len(own) else ""))
    origins = sorted({f"commit {row['provenance'].partition(' ')[0]}, key {row['code'] or 'not told'}" for row in own})
    yield Step("code", "; ".join(origins))


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _spans(numbers: Iterable[int]) -> str:
    """Return numbers as text, neighbours joined: ``2-12, 24``."""
    spans: list[list[int]] = []
    for n in sorted(numbers):
        if spans and n == spans[-1][1] + 1:
            spans[-1][1] = n
        else:
            spans.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _run(run: str, rows: Sequence[Row]) -> Iterator[Step]:
    """The weights that made rows, against their own hash and the rows'; the training that made the weights."""
    if not run:
        yield Step("weights", "none: a method without training")
        return
    path = paths.weights_of(run)
    if not path.is_file():
        yield Step("weights", f"{run}: not shipped")
        return
    try:
        header, whole = weights.checked(path)
    except UserError as error:
        yield Step("weights", str(error).replace(str(paths.DATA.parent) + "/", ""), holds=False)
        return
    own, told = short(header["weights_hash"]), {row["weights"] for row in rows} - {""}
    said = (
        "the rows name the same" if told == {own} else f"the rows name {', '.join(told)}" if told else "not in the rows"
    )
    known = ledger.recorded().get(path.name) == file_hash(path)
    recorded = "" if known else "; its file is not as hashes.csv records it"
    found = "as its header says" if whole else "by its header, which is all that is shipped"
    text = f"data/weights/{path.name}, tensors {own} {found}, {said}{recorded}"
    yield Step("weights", text, told <= {own} and known)
    curve = f"{run}.curve.csv"
    digest = file_hash(paths.RESULTS / curve) if (paths.RESULTS / curve).is_file() else ""
    state = "as recorded" if digest and digest == ledger.recorded().get(curve) else "not as recorded"
    yield Step(
        "run", f"{run}: {header['steps']} steps on {header['training_set']} ({short(header['training_hash'])}), seed "
        f"{header['seed']}, {weights.where(header)}, commit {header['commit']}; "
        f"{curve} {state}", state == "as recorded",
    )  # fmt: skip

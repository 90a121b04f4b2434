"""The small line under a figure or table: which stored rows, weights and seeds it was made of, or that it is live.

Nobody writes that line, and no cell asks for it. What reads rows, weights and matrices says so to Python's audit hooks
(`istapp.paper.results`, `istapp.method.weights`, `istapp.sampling`); what is said belongs to the cell that runs. When a
cell has shown a figure, `Notebook` follows its names back to the cells that made them, and what those have read is what
the figure was made of. A name that stands for something else than meant can make the line say too much, not too little.
"""

import ast
import dis
import html
import os
import re
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.method import weights

#: So many names of each kind are said at once; the others unfold.
SAID = 3

#: What of `istapp.paper` is a printed number.
PRINTED = re.compile(r"published|remeasured|TABLE\d|[A-Z_]*GAINS?|CONVERGED|PLANT_SHARE")
_SEEDS = {"manual_seed", "default_rng"}
_FIGURES = {"Figure", "Slider"}
_TABLES = {"Table", "DataFrame", "Styler"}


@dataclass
class Read:
    """What cells have read.

    Attributes:
        rows: (file, run, commit, seed of the sampling matrix) of stored rows.
        files: other files of `data/results`.
        weights: files of weights.
        seeds: seeds of matrices drawn here, and of whatever else was drawn or trained here.
        printed: whether numbers are among it that the paper prints.
    """

    rows: set[tuple[str, str, str, str]] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    weights: set[Path] = field(default_factory=set)
    seeds: set[str] = field(default_factory=set)
    printed: bool = False

    def add(self, other: "Read") -> None:
        """Take in what another has read."""
        self.rows |= other.rows
        self.files |= other.files
        self.weights |= other.weights
        self.seeds |= other.seeds
        self.printed |= other.printed


@dataclass
class Cell:
    """A cell that was run: the names that it imports, binds, changes and needs, and what it has read."""

    imports: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    needs: set[str] = field(default_factory=set)
    read: Read = field(default_factory=Read)


def understood(source: str) -> Cell:
    """Return what can be seen of a cell without running it; an empty one where it is no Python."""
    try:
        tree = ast.parse(source)
        cell = _names(compile(source, "cell", "exec"))
    except SyntaxError:
        return Cell()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            cell.changes |= _base(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):  # found.append(...), of which no value
            cell.changes |= _base(node.value.func) if isinstance(node.value.func, ast.Attribute) else set()
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "paper":
            cell.read.printed |= bool(PRINTED.fullmatch(node.attr))
        elif isinstance(node, ast.Call):
            cell.read.seeds |= _seeds(node)
    return cell


def _names(code: types.CodeType) -> Cell:
    """Return the names that compiled code imports and binds, and those that it needs before it binds them itself."""
    cell, importing = Cell(), False
    for step in dis.get_instructions(code):
        if step.opname == "STORE_NAME":
            (cell.imports if importing else cell.binds).add(step.argval)
        elif step.opname in ("LOAD_NAME", "LOAD_GLOBAL") and step.argval not in cell.binds | cell.imports:
            cell.needs.add(step.argval)
        importing = step.opname.startswith("IMPORT_") or importing and step.opname == "STORE_ATTR"
    for inner in code.co_consts:  # functions, classes and, before Python 3.12, comprehensions
        if isinstance(inner, types.CodeType):
            cell.needs |= _names(inner).needs - cell.binds - cell.imports
    return cell


def _base(node: ast.expr) -> set[str]:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def _seeds(call: ast.Call) -> set[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = [word.value for word in call.keywords if word.arg == "seed"] + (call.args[:1] if name in _SEEDS else [])
    return {str(value.value) for value in given if isinstance(value, ast.Constant) and isinstance(value.value, int)}


class Notebook:
    """The cells of a kernel so far, and what each has read."""

    def __init__(self) -> None:
        """Begin with no cell."""
        self.cells: list[Cell] = []
        self._imported: set[str] = set()
        self._looking = False

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note what the running cell reads, from Python's audit events."""
        if not self.cells or self._looking:
            return
        read = self.cells[-1].read
        if event == "istapp.rows":
            read.rows |= {
                (r["file"], r["run"], r["provenance"].partition(" ")[0], r["seed"]) for r in arguments[0] if "file" in r
            }
        elif event == "istapp.matrix":
            read.seeds.add(str(arguments[0]))
        elif event == "istapp.weights":
            read.weights.add(Path(arguments[0]))
        elif event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = Path(os.fspath(arguments[0]))
            if path.parent == paths.RESULTS and not self._of_rows():
                read.files.add(path.name)

    def _of_rows(self) -> bool:
        """Whether a file of results is opened for its rows, which count one by one when they are used."""
        frame = sys._getframe(2)
        while frame:
            if frame.f_globals.get("__name__") in {"istapp.paper.results", "istapp.paper.ledger"}:
                return True
            frame = frame.f_back
        return False

    def begin(self, source: str) -> None:
        """Take `source` as the cell that now runs."""
        self.cells.append(understood(source))
        self._imported |= self.cells[-1].imports

    def behind(self) -> Read:
        """Return all that was read by the last cell and by those that made the names which it needs."""
        found = Read()
        for at in self.sources():
            found.add(self.cells[at].read)
        return found

    def sources(self) -> set[int]:
        """Return the places of the last cell, and of all before it without which it would not have its names."""
        done: set[int] = set()
        todo = [len(self.cells) - 1]
        while todo:
            at = todo.pop()
            if at not in done:
                done.add(at)
                for name in self.cells[at].needs - self._imported:
                    todo += [*self._makers(name, at)] or [*self._makers(name, len(self.cells))]  # functions look later
        return done

    def _makers(self, name: str, before: int) -> Iterable[int]:
        """Return the cells before a cell that made what it finds under a name: bound it last, and changed it since."""
        for at in range(before - 1, -1, -1):
            cell = self.cells[at]
            if name in cell.binds | cell.changes:
                yield at
            if name in cell.binds and name not in cell.needs:
                return

    def line(self, read: Read, profile: str) -> str:
        """Return in words what was read, as HTML; the profile is that of the page, empty where it has none."""
        self._looking = True  # a header is looked at, which is no reading of the cell's
        try:
            return sentence(read, profile)
        finally:
            self._looking = False


def sentence(read: Read, profile: str) -> str:
    """Return in words where numbers come from, as HTML; more than `SAID` names of a kind are counted, and unfold."""
    runs = sorted({run for _, run, _, _ in read.rows if run})
    shipped = {paths.weights_of(run) for run in runs}
    seeds = sorted(read.seeds | {seed for *_, seed in read.rows if seed}, key=lambda seed: (len(seed), seed))
    stored = sorted({file for file, *_ in read.rows} | read.files)
    kinds = {
        ("stored rows", "files"): stored,
        ("commit", "commits"): sorted({commit for _, _, commit, _ in read.rows if commit}),
        ("weights", "networks"): [_weights(path) for path in sorted(read.weights | {*filter(Path.is_file, shipped)})],
        ("seed", "seeds"): seeds,
    }
    parts, unfolded = [] if stored else ["computed on this page"], []
    parts += ["numbers that the paper prints"] if read.printed else []
    for (kind, many), names in kinds.items():
        if len(names) > SAID:
            parts.append(f"{len(names)} {many}" if many.startswith(kind) else f"{kind} of {len(names)} {many}")
            unfolded.append(f"{kind}: {', '.join(names)}")
        elif names:
            parts.append(f"{kind} {', '.join(names)}")
    text = html.escape("; ".join([*parts, *([f"profile {profile}"] if profile else [])]))
    shown = f"{text[:1].upper()}{text[1:]}."
    if not unfolded:
        return f'<p class="origin" style="{_STYLE}">{shown}</p>'
    inside = "<br>".join(map(html.escape, unfolded))
    return f'<details class="origin" style="{_STYLE}"><summary>{shown}</summary>{inside}</details>'


_STYLE = "font-size: 0.75em; line-height: 1.35; margin: 0.2rem 0 0.8rem; opacity: 0.8; overflow-wrap: anywhere"


def _weights(path: Path) -> str:
    """Return the name of a file of weights, its hash and its training seed, as far as its header has them."""
    try:
        header = weights.header(path)
    except UserError:
        return path.stem
    about = [str(header["weights_hash"])[:8]] if header.get("weights_hash") else []
    about += [f"training seed {header['seed']}"] if header.get("seed") is not None else []
    return f"{path.stem} ({', '.join(about)})" if about else path.stem


def install() -> None:
    """Let every figure of this kernel, and every table of stored rows or weights, be followed by its line, once."""
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    if shell is None or getattr(shell, "istapp_origin", None):
        return
    from IPython.display import display

    notebook = shell.istapp_origin = Notebook()
    shown: list[str] = []
    formatted = shell.display_formatter.format

    def noting(thing: Any, *arguments: Any, **options: Any) -> Any:
        """Note what kind of thing is shown, and show it."""
        shown.append(type(thing).__name__)
        return formatted(thing, *arguments, **options)

    def after(_: Any) -> None:
        """Show the line below a cell's figures and tables."""
        figure, table = bool(_FIGURES & {*shown}), bool(_TABLES & {*shown})
        shown.clear()
        read = notebook.behind() if figure or table else Read()
        if figure or read.rows or read.files or read.weights:
            line = notebook.line(read, str(shell.user_ns.get("profile", "")))
            plain = html.unescape(re.sub("<[^>]+>", " ", line)).strip()
            # By its mark the build finds the line and moves it under the caption.
            display({"text/html": line, "text/plain": plain}, raw=True, metadata={"istapp": "origin"})
            shown.clear()

    shell.display_formatter.format = noting
    sys.addaudithook(notebook.hear)
    shell.events.register("pre_run_cell", lambda info: notebook.begin(shell.transform_cell(info.raw_cell)))
    shell.events.register("post_run_cell", after)
    for source in shell.user_ns.get("In", [])[1:]:  # the cells before this one, which read nothing unless they import
        notebook.begin(source)

"""Reading what was measured: from the rows in `data/results` to means, spreads and paired differences.

A number of the book is the mean of rows, one per image, and everything said about it follows from them. Rows belong to
one of three editions, and none stands in for another silently: ``paper`` for a network of the paper's size after its
whole training and for what needs none, ``part`` for one of that size that has seen a part of its training, ``laptop``
for the smaller networks that a laptop trains.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from istapp import methods
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.experiments.campaigns import ALL, main_runs
from istapp.experiments.identity import short
from istapp.experiments.rows import NAME, is_header, read_rows
from istapp.images import registry
from istapp.method import weights

Row = dict[str, Any]

#: To which of these a run belongs, see `edition`.
EDITIONS = ("paper", "part", "laptop")

#: The run of rows that the authors' released weights made. They are no experiment of ours and fill no cell.
RELEASED = "released-weights"


def files(folder: Path | None = None) -> list[Path]:
    """Return the files of result rows in `folder`, by default `data/results`, sorted.

    Files of curves, tunings and timings, and the ledger, are none.
    """
    found = []
    for path in sorted((folder or paths.RESULTS).glob("*.csv")):
        with path.open(encoding="utf-8", errors="replace") as file:
            if is_header(file.readline()) and not path.stem.startswith("tuning"):
                found.append(path)
    return found


def load(folder: Path | None = None) -> list[Row]:
    """Return every row in `folder`, by default `data/results`: ratio (percent), psnr (dB), ssim, seconds as numbers.

    A row that a network's weights made outside a run gets the run of these weights. `file` and `line` say where a row
    stands, the header being line 1.

    Raises:
        UserError: a file is damaged, a row stands twice, or is one that no table may take: see `faulty`.
    """
    rows = [_numbers(row) | {"file": path.name, "line": line}
            for path in files(folder) for line, row in enumerate(read_rows(path), 2)]  # fmt: skip
    seen: dict[tuple[str, ...], Row] = {}
    for row in rows:
        where = f"{row['file']}, line {row['line']}"
        if fault := faulty(row):
            raise UserError(f"{where}: {fault}; delete that line and take the row again")
        first = seen.setdefault((*(str(row[column]) for column in NAME), row["pixels"]), row)
        if first is not row:
            raise UserError(f"{where}: stands in {first['file']}, line {first['line']} as well; delete one of the two")
    return rows


def faulty(row: Row) -> str:
    """Say why a row may enter no table: it is infinite, or of other pixels than the registered image that it names."""
    if not math.isfinite(row["psnr"]):
        return "its PSNR is infinite, and so would be every mean that it enters"
    registered = registry.pixels(row["dataset"], row["image"])
    if registered and row["pixels"] and row["pixels"] != short(registered):
        return f"it was made of other pixels than those of {row['image']} in {row['dataset']}"
    return ""


def _numbers(row: dict[str, str]) -> Row:
    numeric = {key: float(row[key]) if row[key] else None for key in ("ratio", "psnr", "ssim", "seconds")}
    return {**row, **numeric, "run": run_of(row)}


def run_of(row: dict[str, str]) -> str:
    """Return the run of a row as text, else whose weights made it, so that no small network passes for the paper's."""
    if row["run"]:
        return row["run"]
    words = row["provenance"].replace(",", " ").split()
    runs = [word.removesuffix(".safetensors") for word in words if word.endswith(".safetensors")]
    percent = float(row["ratio"])
    own = [run for run in runs if run in ALL and any(abs(100 * r - percent) < 1e-6 for r in ALL[run].ratios)]
    return (own or runs or [""])[0]


def trained(run: str) -> float | None:
    """Return which share of its campaign's pixels a run has seen, at most 1; None where nobody can tell.

    The header of its weights says how many pixels, or where these are not shipped the last line of its curve.

    Raises:
        UserError: the one or the other is damaged.
    """
    budget, shipped = ALL[run].recipe.pixels, paths.weights_of(run)
    if shipped.is_file():
        seen = weights.header(shipped).get("pixels", 0)
    else:
        curve = paths.read_table(paths.RESULTS / f"{run}.curve.csv", ["pixels"], numbers=["pixels"])
        seen = float(curve[-1]["pixels"]) if curve else None
    return None if seen is None else min(seen / budget, 1.0)


def edition(run: str) -> str:
    """Return ``laptop`` for a run of the laptop edition, ``paper`` or ``part`` for one of the paper's size.

    Which of the two follows from the pixels that it was trained on, see `trained`: what nobody can tell is no whole
    training. What needs no training (`run` is empty) is ``paper``, and so are the authors' weights.
    """
    if run not in ALL:
        return "paper"
    if ALL[run].edition == "laptop":
        return "laptop"
    recipe = ALL[run].recipe
    return "paper" if recipe.is_whole((trained(run) or 0) * recipe.pixels) else "part"


def share(run: str) -> str:
    """Return in words how much of its training a run of the paper's size has seen; nothing where that is all."""
    if edition(run) != "part":
        return ""
    seen = trained(run)
    return f"1/{1 / seen:.0f} of its training" if seen else "an unknown part of its training"


def select(rows: Iterable[Row], **equal: Any) -> list[Row]:
    """Return the rows whose columns have these values, for instance ``dataset="Set11", ratio=10``."""
    return [row for row in rows if all(row[column] == value for column, value in equal.items())]


def _used(rows: Iterable[Row]) -> list[Row]:
    """Return the rows, and say to Python's audit hooks that a number is made of them: see `istapp.figures.origin`.

    Raises:
        UserError: they are of several methods, or of one method in several forms, and no mean of them says anything.
    """
    rows = list(rows)
    forms = sorted({(row.get("method", ""), row.get("variant", "")) for row in rows})
    if len(forms) > 1:
        raise UserError(f"rows of {' and of '.join(map(str, forms))} have no common mean: select one method and one "
                        "variant ('' for the published form)")  # fmt: skip
    sys.audit("istapp.rows", rows)
    return rows


def by_image(rows: Iterable[Row]) -> dict[str, float]:
    """Return the PSNR in dB of each image, the mean where there are several rows of it (other matrices, other runs).

    Raises:
        UserError: the rows are of several methods or variants.
    """
    found: dict[str, list[float]] = {}
    for row in _used(rows):
        found.setdefault(row["image"], []).append(row["psnr"])
    return {image: fmean(values) for image, values in found.items()}


def is_whole(rows: Sequence[Row], dataset: str) -> bool:
    """Tell whether there is one row for every image of a registered set."""
    names = [entry.file.rpartition(".")[0] for entry in registry.entries(dataset)]
    return bool(names) and sorted(row["image"] for row in rows) == sorted(names)


def mean(rows: Sequence[Row]) -> float | None:
    """Return the mean PSNR in dB over rows of one method in one form, None for none.

    Raises:
        UserError: it is not finite, or the rows are of several methods or variants.
    """
    return _finite(fmean(row["psnr"] for row in _used(rows)), "a mean of rows") if rows else None


def _finite(value: float, what: str) -> float:
    """Return a number that is one.

    Raises:
        UserError: it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise UserError(f"{what} is {value}: a row behind it has no PSNR that is a number")
    return value


@dataclass(frozen=True)
class Cell:
    """Our number for one cell of a table.

    Attributes:
        psnr: mean over the set's images in dB, sampling matrix of seed 0 (or the only one that a method serves).
        spread: standard deviation over sampling matrices and training seeds in dB, None where there was one only.
        run: the experiment, empty for a method without training.
        edition: ``paper``, ``part`` or ``laptop``, see `edition`.
        rows: what it was computed from, one row per image.
        whole: whether every image of the set is in it.
    """

    psnr: float
    spread: float | None
    run: str
    edition: str
    rows: tuple[Row, ...]
    whole: bool

    @property
    def standing(self) -> str:
        """In words what stands here for the paper's own: a stand-in, a part of a training, ``laptop``; or nothing."""
        return "" if self.edition == "paper" else self.rows[0]["variant"] or share(self.run) or "laptop"


def cell(
    rows: Iterable[Row], method: str, dataset: str, ratio: float, run: str | None = None, variant: str | None = None,
    wanted: str | None = None,
) -> Cell | None:  # fmt: skip
    """Return our number for a method, a set and a CS ratio in (0, 1], or None while there is none.

    This is the one rule for which rows a cell of a table shows: those of the method's default network, the paper's size
    before the laptop edition, in the published form; and where that is not at hand, those of its stand-in, which belong
    to the laptop edition.

    Args:
        rows: all rows, or those of the method and the set.
        method: as `istapp` calls it.
        dataset: what the rows call the set.
        ratio: the CS ratio.
        run: another run than the default, be it an experiment or not.
        variant: another form than the published one.
        wanted: the only edition that counts.
    """
    rows = list(rows)
    runs = [run] if run is not None else [*(e.id for e in main_runs(method, ratio)), ""]
    for name in runs:
        found = _cell(rows, method, dataset, ratio, name, variant or "", edition(name))
        if found and wanted in (None, found.edition):
            return found
    if run or variant or wanted not in (None, "laptop") or method not in methods.names():
        return None
    stand_in = methods.class_of(method).stand_in
    return _cell(rows, method, dataset, ratio, "", stand_in, "laptop") if stand_in else None


def _cell(
    rows: Iterable[Row], method: str, dataset: str, ratio: float, run: str, variant: str, edition: str
) -> Cell | None:  # fmt: skip
    """Return the mean over the rows of a run with its first matrix, None for none."""
    own = [row for row in select(rows, method=method, dataset=dataset, variant=variant)
           if abs(row["ratio"] - 100 * ratio) < 1e-6]  # fmt: skip
    first = first_matrix(select(own, run=run))
    if not first:
        return None
    first = _used(first)
    value = _finite(fmean(r["psnr"] for r in first), f"the mean of {method} on {dataset} at {100 * ratio:g} %")
    return Cell(value, spread(own, run), run, edition, tuple(first), is_whole(first, dataset))


def first_matrix(rows: list[Row]) -> list[Row]:
    """Return the rows of the sampling matrix of seed 0, or of the first one for a method tied to another."""
    seeds = {row["seed"] for row in rows}
    first = "0" if "0" in seeds else min(seeds, key=lambda seed: (len(seed), seed), default="0")
    return select(rows, seed=first)


def spread(rows: Iterable[Row], run: str) -> float | None:
    """Return the standard deviation in dB of a run's means over sampling matrices, and over its repetitions.

    Repetitions are experiments that say so and have seen as much of their training. The images are fixed: they are the
    set, not a sample of anything.
    """
    rows, groups = list(rows), dict[tuple[str, str], list[float]]()
    again = {
        name for name in {row["run"] for row in rows}
        if name in ALL and ALL[name].repeats == run and (edition(name), share(name)) == (edition(run), share(run))
    }  # fmt: skip
    for row in rows:
        if row["run"] in {run, *again}:
            groups.setdefault((row["run"], row["seed"]), []).append(row["psnr"])
    largest = max(map(len, groups.values()), default=0)
    means = [_finite(fmean(values), f"a mean of {run}") for values in groups.values() if len(values) == largest]
    return stdev(means) if len(means) > 1 else None


@dataclass(frozen=True)
class Difference:
    """A mean difference in dB over the images that two sets of rows share, with its bootstrapped 95 % interval."""

    mean: float
    low: float
    high: float
    images: int

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out zero; that of a single image says nothing."""
        return self.images > 1 and (self.low > 0 or self.high < 0)


def difference(ours: Iterable[Row], theirs: Iterable[Row], draws: int = 10_000) -> Difference:
    """Return how much better `ours` is than `theirs`, image by image; the draws are seeded.

    Raises:
        ValueError: they share no image.
        UserError: a difference is not finite.
    """
    a, b = by_image(ours), by_image(theirs)
    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise ValueError("the two sets of rows share no image")
    d = np.array([_finite(a[name] - b[name], f"the difference on {name}") for name in shared])
    chosen = np.random.default_rng(0).integers(len(d), size=(draws, len(d)))
    low, high = np.quantile(d[chosen].mean(1), [0.025, 0.975])
    return Difference(float(d.mean()), float(low), float(high), len(d))

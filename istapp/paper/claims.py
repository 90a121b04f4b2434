"""The book's sentences that carry a number which no cell of theirs computes, each with an expression that does.

    istapp claims        says which sentence no longer stands on its page, or no longer holds

``data/claims.csv`` has a line for each: page, sentence, expression, the value that the sentence states, and how far off
it may be. The book is not written while one of them fails.
"""

import csv
import json
import math
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from istapp import methods, metrics, paper, sampling
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.experiments import campaigns
from istapp.images import datasets, registry
from istapp.method import weights
from istapp.paper import results, verdicts

FILE = paths.DATA / "claims.csv"
ROOT = paths.DATA.parent
COLUMNS = ("id", "page", "sentence", "expression", "expected", "tolerance")


@dataclass(frozen=True)
class Claim:
    """A sentence and what it states.

    Attributes:
        id: a name.
        page: the page that it stands on, from the project's folder.
        sentence: as it stands there, however its lines are broken.
        expression: Python that computes the number from the module; True counts as 1.
        expected: the number that the sentence states.
        tolerance: the largest deviation that leaves the sentence true.
    """

    id: str
    page: str
    sentence: str
    expression: str
    expected: float
    tolerance: float


def load(file: Path = FILE) -> list[Claim]:
    """Return all claims.

    Raises:
        UserError: the file is not there, has other columns, or states a number that is none.
    """
    if not file.is_file():
        raise UserError(f"there is no {file}; claims come with a checkout of the project")
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UserError(f"{file} has other columns than {','.join(COLUMNS)}")
        return [_claim(row, f"{file}, line {reader.line_num}") for row in reader]


def _claim(row: dict[str, str], where: str) -> Claim:
    try:
        expected, tolerance = (float(row[name]) for name in ("expected", "tolerance"))
    except (TypeError, ValueError):
        expected = tolerance = math.nan
    if not (math.isfinite(expected) and 0 <= tolerance < math.inf) or None in row.values() or None in row:
        raise UserError(f"{where}: expected and tolerance are finite numbers, the tolerance not below zero")
    return Claim(row["id"], row["page"], row["sentence"], row["expression"], expected, tolerance)


@cache
def text(page: str) -> str:
    """Return what a reader of a page sees as text, its Markdown if it is a notebook, with single spaces.

    Raises:
        UserError: there is no such page.
    """
    path = ROOT / page
    if not path.is_file():
        raise UserError(f"there is no page {page}")
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = (cell for cell in json.loads(content)["cells"] if cell["cell_type"] == "markdown")
        content = "\n".join("".join(cell["source"]) for cell in cells)
    return " ".join(content.split())


def value(claim: Claim) -> float:
    """Compute what the claim's expression says now; anything may go wrong in it, and then does."""
    names: dict[str, Any] = {
        "np": np, "math": math, "torch": torch, "datasets": datasets, "campaigns": campaigns, "methods": methods,
        "metrics": metrics, "paper": paper, "registry": registry, "results": results, "sampling": sampling,
        "paths": paths, "text": text, "verdicts": verdicts, "weights": weights,
    }  # fmt: skip
    return float(eval(claim.expression, names))  # our own expressions, from our own file


def fault(claim: Claim) -> str:
    """Say what is wrong with a claim; empty if nothing is."""
    where = f"{claim.page}: claim '{claim.id}'"
    try:
        if " ".join(claim.sentence.split()) not in text(claim.page):
            return f"{where} no longer stands there: {claim.sentence}"
        found = value(claim)
    except Exception as error:  # an expression may fail in any way; the book must name it and go on
        return f"{where} cannot be computed: {type(error).__name__}: {error}"
    if abs(found - claim.expected) <= claim.tolerance:  # never where it is NaN or infinite
        return ""
    return f"{where} no longer holds: {claim.sentence} ({claim.expression} is {found:.6g}, not {claim.expected:.6g})"


def main() -> int:
    """Print every fault and return 1 if there is one, else 0."""
    faults = [said for claim in load() if (said := fault(claim))]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

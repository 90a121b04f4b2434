"""Sentences of the book that carry a number which no cell of theirs computes: each has a function that does.

    istapp claims        says which sentence no longer stands on its page, or no longer holds

A page's claims are functions in a file of its own in ``book/claims``, below its address:

    PAGE = "notebooks/01_compressive_sensing.ipynb"

    @claim("keep 109 numbers in place of the 1089 pixels of each block", 109)
    def kept() -> float:
        return sampling.measurements(0.1)

Without a number the function says whether the sentence is true. The book is not written while a claim fails.
"""

import importlib.util
import inspect
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from istapp.basics import paths
from istapp.basics.errors import UserError

ROOT = paths.DATA.parent
FOLDER = ROOT / "book" / "claims"

Computed = Callable[[], float]


@dataclass(frozen=True)
class Claim:
    """A sentence and what it states.

    Attributes:
        id: a name: the file and the function.
        page: the page that it stands on, from the project's folder.
        sentence: as it stands there, however its lines are broken.
        compute: what computes the number; True counts as 1.
        expected: the number that the sentence states.
        within: the largest deviation that leaves the sentence true.
    """

    id: str
    page: str
    sentence: str
    compute: Computed
    expected: float = 1
    within: float = 0


def claim(sentence: str, expected: float = 1, within: float = 0, page: str = "") -> Callable[[Computed], Computed]:
    """Mark a function as what a sentence states: a number, `within` a deviation, or that something is so.

    `page` is another one than the file's ``PAGE``. A function may stand behind several sentences.

    Raises:
        UserError: the number is none, or any number would do.
    """
    if not (math.isfinite(expected) and 0 <= within < math.inf):
        raise UserError(f"the claim '{sentence}' states no number: {expected}, within {within}")

    def mark(function: Computed) -> Computed:
        """Note the function as what stands behind the sentence."""
        own = Claim(function.__name__, page, sentence, function, float(expected), within)
        vars(function).setdefault("claims", []).append(own)
        return function

    return mark


def load(folder: Path = FOLDER) -> list[Claim]:
    """Return all claims, file by file.

    Raises:
        UserError: there are none, or a file has no ``PAGE``.
    """
    found = [each for file in sorted(folder.glob("*.py")) for each in _of_file(file)]
    if not found:
        raise UserError(f"there are no claims in {folder}; they come with a checkout of the project")
    return found


def _of_file(file: Path) -> Iterator[Claim]:
    spec = importlib.util.spec_from_file_location(f"claims_{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for function in filter(inspect.isfunction, list(vars(module).values())):
        for own in vars(function).get("claims", ()):
            if not (page := own.page or getattr(module, "PAGE", "")):
                raise UserError(f"{file} does not say on which PAGE its claims stand")
            yield Claim(f"{file.stem}.{own.id}", page, own.sentence, own.compute, own.expected, own.within)


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


def fault(claim: Claim) -> str:
    """Say what is wrong with a claim; empty if nothing is."""
    where = f"{claim.page}: claim {claim.id}"
    try:
        if " ".join(claim.sentence.split()) not in text(claim.page):
            return f"{where} no longer stands there: {claim.sentence}"
        found = float(claim.compute())
    except Exception as error:  # a function may fail in any way; the book must name it and go on
        return f"{where} cannot be computed: {type(error).__name__}: {error}"
    if abs(found - claim.expected) <= claim.within:  # never where it is NaN or infinite
        return ""
    return f"{where} no longer holds: {claim.sentence} (it is {found:.6g}, not {claim.expected:.6g})"


def main() -> int:
    """Print every fault and return 1; or how many claims there are, and return 0."""
    claims = load()
    faults = [said for claim in claims if (said := fault(claim))]
    print("\n".join(faults) or f"{len(claims)} claims hold")
    return 1 if faults else 0

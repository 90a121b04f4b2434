"""Fill in what rows that were taken before rows told their pixels and weights can still tell, and nothing else.

    python data/identify_rows.py

*Pixels*: a row of a registered set was made of the registered image, since `datasets.load` refuses any other; the hash
is the registry's. *Weights*: a row of a run was made with the file of `data/weights` that it names if that file has not
changed since, which git tells: either the run itself took the row right after the training (row and header name one
commit), or the row's commit contains the file's last change. *Code* stays empty: nobody can tell any more. Nothing else
in a file changes, and rows that tell already are left alone.
"""

import subprocess
from functools import cache

from istapp.basics import paths
from istapp.experiments import rows
from istapp.experiments.identity import short
from istapp.images import registry
from istapp.method import weights
from istapp.paper import results


def git(*arguments: str) -> tuple[int, str]:
    """Run git in the project and return its exit code and what it prints."""
    run = subprocess.run(["git", *arguments], cwd=paths.DATA, capture_output=True, text=True)
    return run.returncode, run.stdout.strip()


@cache
def made_with(run: str, commit: str) -> str:
    """Return the hash of the weights that a run's row of a commit was made with, empty where that is not certain."""
    path = paths.WEIGHTS / f"{run}.safetensors"
    if not path.is_file():
        return ""
    header, _ = weights.load(path)
    _, last = git("log", "--format=%H", "--max-count=1", "--", f"weights/{path.name}")
    later = last and git("merge-base", "--is-ancestor", last, commit)[0] == 0
    return short(header["weights_hash"]) if later or header["commit"] == commit else ""


def identified(row: rows.Row) -> rows.Row:
    """Return a row with what is certain of its pixels and weights."""
    pixels = row["pixels"] or short(registry.pixels(row["dataset"], row["image"]))
    run, commit = results.run_of(row), row["provenance"].partition(" ")[0]
    named = f"{run}.safetensors" in row["provenance"]
    return row | {"pixels": pixels, "weights": row["weights"] or (made_with(run, commit) if named else "")}


def main() -> None:
    """Rewrite every file of rows in `data/results`."""
    for path in sorted(paths.RESULTS.glob("*.csv")):
        with path.open(encoding="utf-8") as file:
            if not rows.is_header(file.readline()):
                continue
        found = [identified(row) for row in rows.read_rows(path)]
        rows.write_rows(path, found)
        told = [sum(bool(row[column]) for row in found) for column in ("pixels", "weights")]
        print(f"{path.name}: {len(found)} rows, pixels of {told[0]}, weights of {told[1]}")


if __name__ == "__main__":
    main()

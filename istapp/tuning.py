"""Choosing the weight of a classical prior on training images.

``python -m istapp.tuning`` writes data/results/tuning.csv. The images are the first eight of Train400's validation
split; no test set is ever looked at.
"""

import sys

from istapp import datasets, methods, paths
from istapp.evaluation import evaluate, read_rows
from istapp.training import split

RATIOS = (0.1, 0.3, 0.5)
GRID = {
    "ista": (0.004, 0.008, 0.016, 0.032, 0.064),
    "fista": (0.001, 0.002, 0.004, 0.008, 0.016),
    "tv": (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016),
}
FILE = paths.RESULTS / "tuning.csv"


def tune() -> None:
    """Evaluate every weight of the grid and write a row per image; resumed where it stopped.

    Raises:
        UserError: Train400 is not at hand.
    """
    images = split(datasets.load("Train400"))[1][:8]
    for name, weights in GRID.items():
        for lam in weights:
            method = methods.get(name, lam=lam)
            evaluate(method, images, RATIOS, out=FILE, run=f"lambda={lam:g}", label="Train400 validation")
            print(f"{name} {lam:g}: {means(name)[lam]:.3f} dB", file=sys.stderr, flush=True)


def means(name: str) -> dict[float, float]:
    """Return the mean PSNR in dB over images and ratios for each weight that `tuning.csv` holds of a method."""
    values: dict[float, list[float]] = {}
    for row in read_rows(FILE):
        if row["method"] == name:
            values.setdefault(float(row["run"].removeprefix("lambda=")), []).append(float(row["psnr"]))
    return {lam: sum(own) / len(own) for lam, own in values.items()}


def best(name: str) -> float:
    """Return the weight with the highest mean."""
    return max(means(name).items(), key=lambda item: item[1])[0]


if __name__ == "__main__":
    tune()

"""Choosing the weight of a classical prior, and the damping of message passing, on training images.

``python -m istapp.experiments.tuning`` writes data/results/tuning.csv and tuning-amp.csv. The images are the first
eight of Train400's validation split, for message passing the middles of the first four; no test set is ever looked at.
"""

import sys

from istapp import methods
from istapp.basics import paths
from istapp.experiments.evaluation import evaluate, read_rows
from istapp.images import datasets
from istapp.images.datasets import Image
from istapp.training import split

RATIOS = (0.1, 0.3, 0.5)
GRID = {
    "ista": (0.004, 0.008, 0.016, 0.032, 0.064),
    "fista": (0.001, 0.002, 0.004, 0.008, 0.016),
    "tv": (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016),
}
FILE = paths.RESULTS / "tuning.csv"
#: Damping and rule for the iterate to return, of BM3D-AMP with the built-in denoiser.
AMP_GRID = [(damping, "residual") for damping in (0.0, 0.1, 0.2, 0.3, 0.4)] + [(0.0, "last")]
AMP_FILE = paths.RESULTS / "tuning-amp.csv"


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


def tune_amp() -> None:
    """Evaluate every setting of message passing and write a row per image; resumed where it stopped.

    Raises:
        UserError: Train400 is not at hand.
    """
    images = [Image(i.name, i.gray().pixels[30:126, 30:126]) for i in split(datasets.load("Train400"))[1][:4]]
    for damping, choose in AMP_GRID:
        method = methods.get("bm3d-amp", denoiser="dct", damping=damping, choose=choose)
        method.variant = "denoiser: sliding DCT"  # what varies here is the run
        run = f"damping={damping:g} {choose}"
        evaluate(method, images, RATIOS, out=AMP_FILE, run=run, label="Train400 validation")
        print(f"{method.name} {run}: {amp_means()[damping, choose]:.3f} dB", file=sys.stderr, flush=True)


def amp_means(ratio: float | None = None) -> dict[tuple[float, str], float]:
    """Return the mean PSNR in dB over images, at one ratio or over all, for each damping and rule in `AMP_FILE`."""
    values: dict[tuple[float, str], list[float]] = {}
    for row in read_rows(AMP_FILE):
        if ratio is None or row["ratio"] == f"{100 * ratio:g}":
            damping, choose = row["run"].removeprefix("damping=").split()
            values.setdefault((float(damping), choose), []).append(float(row["psnr"]))
    return {key: sum(own) / len(own) for key, own in values.items()}


if __name__ == "__main__":
    tune()
    tune_amp()

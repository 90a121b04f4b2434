"""What classical methods learn from training images: the weight of a prior, the damping, the second moment of blocks.

    istapp study priors           writes data/results/tuning.csv
    istapp study damping          writes data/results/tuning-amp.csv, for message passing
    istapp study second-moment    writes data/weights/second-moment.safetensors, for the linear estimate

The images are the first eight of Train400's validation split, for message passing the middles of the first four, for
the second moment all of Train400; no test set is ever looked at.
"""

import sys
from statistics import fmean

import torch

from istapp import methods
from istapp.basics import paths
from istapp.basics.provenance import stamp
from istapp.experiments.evaluation import evaluate, read_rows
from istapp.images import datasets
from istapp.images.datasets import Image, data_hash
from istapp.method import weights
from istapp.methods import linear
from istapp.sampling import BLOCK
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
    for name, grid in GRID.items():
        for lam in grid:
            method = methods.get(name, lam=lam)
            evaluate(method, images, RATIOS, out=FILE, run=_called(lam), label="Train400 validation")
            print(f"{name} {lam:g}: {means(name)[lam]:.3f} dB", file=sys.stderr, flush=True)


def _called(lam: float) -> str:
    """Return what the rows call the run with a weight."""
    return f"lambda={lam:g}"


def means(name: str) -> dict[float, float]:
    """Return the mean PSNR in dB over images and ratios for each weight that `tuning.csv` holds of a method."""
    rows = [row for row in read_rows(FILE) if row["method"] == name]
    own = {lam: [float(row["psnr"]) for row in rows if row["run"] == _called(lam)] for lam in GRID[name]}
    return {lam: fmean(values) for lam, values in own.items() if values}


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
        run = _amp_called(damping, choose)
        evaluate(method, images, RATIOS, out=AMP_FILE, run=run, label="Train400 validation")
        print(f"{method.name} {run}: {amp_means()[damping, choose]:.3f} dB", file=sys.stderr, flush=True)


def _amp_called(damping: float, choose: str) -> str:
    return f"damping={damping:g} {choose}"


def amp_means(ratio: float | None = None) -> dict[tuple[float, str], float]:
    """Return the mean PSNR in dB over images, at one ratio or over all, for each damping and rule in `AMP_FILE`."""
    rows = [row for row in read_rows(AMP_FILE) if ratio is None or row["ratio"] == f"{100 * ratio:g}"]
    own = {key: [float(row["psnr"]) for row in rows if row["run"] == _amp_called(*key)] for key in AMP_GRID}
    return {key: fmean(values) for key, values in own.items() if values}


def store_second_moment() -> None:
    """Fit the second moment to all of Train400 and keep its upper triangle, float32; `make verify` repeats the fit.

    Raises:
        UserError: Train400 is not at hand.
    """
    images = datasets.load("Train400")
    rows, columns = torch.triu_indices(BLOCK**2, BLOCK**2)
    upper = linear.fit_second_moment(image.luma() for image in images)[rows, columns].float()
    header = stamp(method="linear", training_set="Train400", training_hash=data_hash(images))
    weights.save(linear.SECOND_MOMENT, {"upper": upper}, header)

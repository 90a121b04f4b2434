"""What chapter 06 states in numbers that no cell computes."""

from istapp import sampling
from istapp.paper import results
from istapp.paper.claims import claim

PAGE = "notebooks/06_inside.ipynb"


def fresh(dataset: str, percent: int) -> results.Difference:
    """The network of fresh matrices against that of one, image by image."""
    same = {"dataset": dataset, "ratio": percent, "seed": "0", "variant": ""}
    runs = ("ista-net-pp-laptop-fig4-k5-c16", "ista-net-pp-laptop-one-matrix")
    one, two = (results.select(results.load(), run=run, **same) for run in runs)
    return results.difference(one, two)


@claim(r"ISTA converges for every step $0<\rho<2$ (chapter 02, with $L=1$).", 2, within=1e-09)
def bound() -> float:
    return 2 / sampling.BlockSampling(0.3).norm


@claim("At 10 % fresh matrices are worth 4.0 dB on Set11 and 4.1 dB on the photographs.", 4.0, within=0.05)
def fresh_set11() -> float:
    return fresh("Set11", 10).mean


@claim("At 10 % fresh matrices are worth 4.0 dB on Set11 and 4.1 dB on the photographs.", 4.1, within=0.05)
def fresh_photos() -> float:
    return fresh("photos", 10).mean


@claim("At 30 % one or two tenths are left, and at 50 % the network of a single matrix is ahead by a tenth.")
def fresh_later() -> bool:
    left = all(0.1 < fresh(dataset, 30).mean < 0.3 for dataset in ("Set11", "photos"))
    ahead = (-fresh(dataset, 50).mean for dataset in ("Set11", "photos"))
    return left and all(0.05 < each < 0.15 for each in ahead)

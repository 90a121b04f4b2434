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


@claim("At 10 % fresh matrices are worth 0.56 dB on Set11 and 0.40 dB on BSD68.", 0.56, within=0.005)
def fresh_set11() -> float:
    return fresh("Set11", 10).mean


@claim("At 10 % fresh matrices are worth 0.56 dB on Set11 and 0.40 dB on BSD68.", 0.4, within=0.005)
def fresh_bsd68() -> float:
    return fresh("BSD68", 10).mean


@claim(
    "At 30 % the two networks cannot be told apart, and at 50 % the one with a single matrix is ahead by "
    "a few hundredths.",
)
def fresh_alike() -> bool:
    return not any(fresh(dataset, 30).resolved for dataset in ("Set11", "BSD68"))


@claim(
    "At 30 % the two networks cannot be told apart, and at 50 % the one with a single matrix is ahead by "
    "a few hundredths.",
)
def fresh_behind() -> bool:
    return all(d.mean > -0.05 and d.high < 0 for d in (fresh("Set11", 50), fresh("BSD68", 50)))

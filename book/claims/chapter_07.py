"""What chapter 07 states in numbers that no cell computes."""

from istapp import paper
from istapp.paper.claims import claim

PAGE = "notebooks/07_tables_1_and_2.ipynb"


RIVALS = [row.method for row in paper.TABLE1[:-1]]


def lead(dataset: str, rivals: list[str]) -> float:
    """The printed lead of ISTA-Net++ over the best of some rivals at 10 %, in dB."""
    best = max(paper.published(method, dataset, 0.1) or 0 for method in rivals)
    return (paper.published("ista-net-pp", dataset, 0.1) or 0) - best


@claim(
    "at 10 % it is 0.29 dB on Set11 and 0.55 dB on BSD68 over the best rival, and 1.77 and 1.01 dB over ISTA-Net+",
    0.29,
    within=1e-09,
)
def rival_set11() -> float:
    return lead("Set11", RIVALS)


@claim(
    "at 10 % it is 0.29 dB on Set11 and 0.55 dB on BSD68 over the best rival, and 1.77 and 1.01 dB over ISTA-Net+",
    1.77,
    within=1e-09,
)
def plus_set11() -> float:
    return lead("Set11", ["ista-net-plus"])


@claim(
    "at 10 % it is 0.29 dB on Set11 and 0.55 dB on BSD68 over the best rival, and 1.77 and 1.01 dB over ISTA-Net+",
    0.55,
    within=1e-09,
)
def rival_bsd68() -> float:
    return lead("BSD68", RIVALS)


@claim(
    "at 10 % it is 0.29 dB on Set11 and 0.55 dB on BSD68 over the best rival, and 1.77 and 1.01 dB over ISTA-Net+",
    1.01,
    within=1e-09,
)
def plus_bsd68() -> float:
    return lead("BSD68", ["ista-net-plus"])

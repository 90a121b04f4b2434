"""What chapter 09 states in numbers that no cell computes."""

from istapp import paper
from istapp.paper.claims import claim

PAGE = "notebooks/09_training_sets.ipynb"


@claim("34.81 dB at the end with Train400, 34.25 dB with Train91", 34.81)
def train400() -> float:
    return paper.CONVERGED["Train400"]


@claim("34.81 dB at the end with Train400, 34.25 dB with Train91", 34.25)
def train91() -> float:
    return paper.CONVERGED["Train91"]

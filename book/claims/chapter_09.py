"""What chapter 09 states in numbers that no cell computes."""

from istapp import paper
from istapp.paper import results
from istapp.paper.claims import claim

PAGE = "notebooks/09_training_sets.ipynb"


@claim("34.81 dB at the end with Train400, 34.25 dB with Train91", 34.81)
def train400() -> float:
    return paper.CONVERGED["Train400"]


@claim("34.81 dB at the end with Train400, 34.25 dB with Train91", 34.25)
def train91() -> float:
    return paper.CONVERGED["Train91"]


def lead_of_train400(dataset: str, ratio: int) -> results.Difference:
    """What the small network trained on Train400 is ahead of the one trained on Train91."""
    runs = "ista-net-pp-laptop-fig4-k5-c16", "ista-net-pp-laptop-train91"
    same = {"dataset": dataset, "ratio": ratio, "seed": "0", "variant": ""}
    rows = results.load()
    one, two = (results.select(rows, run=run, **same) for run in runs)
    return results.difference(one, two)


@claim("At 10 % the small network trained on Train400 is *behind* the one trained on Train91, on both sets")
def behind() -> bool:
    return all(lead_of_train400(name, 10).high < 0 for name in ("Set11", "photos"))


@claim("at 30 and 50 % nothing is resolved")
def unresolved() -> bool:
    found = [lead_of_train400(name, ratio) for name in ("Set11", "photos") for ratio in (30, 50)]
    return not any(each.resolved for each in found)

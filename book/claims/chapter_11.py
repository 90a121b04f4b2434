"""What chapter 11 states in numbers that no cell computes."""

from istapp import paper
from istapp.methods.reconnet import ReconNet
from istapp.paper import entries
from istapp.paper.claims import claim

PAGE = "notebooks/11_figures.ipynb"


@claim("One ISTA-Net++ replaces five networks, and is smaller than each of the rivals' five together (11.1).")
def smaller() -> bool:
    own, *rivals = (sum(entries.counts(row.method)) for row in reversed(paper.TABLE1) if row.parameters)
    return all(own < five for five in rivals)


@claim(r"a fully connected layer from $m$ to $1089$ numbers with bias, and 22,914 numbers in convolutions.", 22_914)
def convolutions() -> float:
    return ReconNet(ratio=0.1).parameter_count - 1089 * (109 + 1)

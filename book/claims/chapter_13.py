"""What chapter 13 states in numbers that no cell computes."""

from istapp import sampling
from istapp.paper.claims import claim

PAGE = "notebooks/13_your_own_photograph.ipynb"


@claim("Three planes at 10 % are three tenths of a number for each pixel.", 0.3, within=0.001)
def planes() -> float:
    return 3 * sampling.measurements(0.1) / sampling.BLOCK**2


@claim("At 25 % the field takes $m=272$.", 272)
def quarter() -> float:
    return sampling.measurements(0.25)

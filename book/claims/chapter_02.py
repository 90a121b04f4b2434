"""What chapter 02 states in numbers that no cell computes."""

from istapp import sampling
from istapp.paper.claims import claim

PAGE = "notebooks/02_ista.ipynb"


@claim("At a ratio of 10 % a block of 1089 pixels leaves 109 numbers behind.", 109)
def left() -> float:
    return sampling.measurements(0.1)


@claim("The other 980 directions of the block are free", 980)
def free() -> float:
    return sampling.BLOCK**2 - sampling.measurements(0.1)


@claim("The sides must be multiples of 8, which 264 is and the 132 of `tuning` is not")
def multiple() -> bool:
    return 264 % 8 == 0 != 132 % 8

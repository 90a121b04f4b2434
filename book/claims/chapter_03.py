"""What chapter 03 states in numbers that no cell computes."""

from istapp import methods
from istapp.paper.claims import claim

PAGE = "notebooks/03_unrolling.ipynb"


@claim('0 dB is what the answer "all zeros" gets, and ten decibels less is a tenth of the error', 0.1, within=1e-12)
def tenth() -> float:
    return 10 ** (-10 / 10)


@claim("240,016 numbers are hard to look at.", 240016)
def lista() -> float:
    return 16 * (100 * 50 + 100 * 100 + 1)


@claim("That is 32 numbers for 16 layers.", 32)
def steps() -> float:
    return 2 * 16


@claim("The other 239,984 buy more decibels", 239984)
def rest() -> float:
    return 16 * (100 * 50 + 100 * 100 + 1) - 2 * 16


@claim("With 48 learned numbers it beats the 240,016 of LISTA", 48)
def momentum() -> float:
    return 3 * 16


@claim("They have 171,090 (3.14) and 336,978 (3.16) parameters", 171090)
def ista_net() -> float:
    return methods.class_of("ista-net")().parameter_count


@claim("five ratios, five trainings, five times 336,978 parameters.", 336978)
def ista_net_plus() -> float:
    return methods.class_of("ista-net-plus")().parameter_count

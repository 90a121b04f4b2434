"""What chapter 12 states in numbers that no cell computes."""

import math

from istapp import paper, sampling
from istapp.images import registry
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.paper import verdicts
from istapp.paper.claims import claim

PAGE = "notebooks/12_ledger.ipynb"


@claim("with the paper's configuration (20 stages of 32 channels for ISTA-Net++)")
def size() -> bool:
    config = ISTANetPP().config
    return (config["stages"], config["channels"]) == (20, 32)


@claim("The tolerance of 0.1 dB is a choice.", 0.1)
def tolerance() -> float:
    return verdicts.tolerance()


@claim("68 gray photographs of 481 × 321 pixels", 68)
def bsd68() -> float:
    return sum({e.height, e.width} == {481, 321} for e in registry.entries("BSD68-full"))


@claim("The 34.81 dB of Sec. 4.1 stand in no table")
def no_table() -> bool:
    printed = [*(row.set11 + row.bsd68 for row in paper.TABLE1), *(row.psnr for row in paper.TABLE4)]
    return not any(34.81 in numbers for numbers in printed)


@claim("measure blocks of 16 × 16 with matrices whose rows are not orthonormal", 16)
def small_blocks() -> float:
    return sampling.gaussian_sampling(0.1).block


@claim(r"The difference of two draws has the deviation $\sqrt2\,s$.", 1.4142135623730951, within=1e-12)
def root_two() -> float:
    return math.hypot(1, 1)

"""What chapter 04 states in numbers that no cell computes."""

import math

from istapp import paper
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.paper.claims import claim

PAGE = "notebooks/04_ista_net_pp.ipynb"


@claim("The full network has 760,220 parameters (4.8).", 760220)
def parameters() -> float:
    return ISTANetPP().parameter_count


@claim("and the condition module $(32+32)+(32^2+32)=1120$ in its first two layers", 1120)
def condition() -> float:
    condition = ISTANetPP().condition
    assert condition
    return sum(p.numel() for name, p in condition.named_parameters() if name[0] in "02")


@claim("so its $1780$ parameters must be there in place of $20$ plain numbers", 1780)
def outputs() -> float:
    condition = ISTANetPP(20, 32, True, False).condition
    assert condition
    return sum(p.numel() for p in condition.parameters())


@claim("but its parameter count is: **753,800**, not 752,040.", 753800)
def setting_c() -> float:
    return ISTANetPP(20, 32, True, False).parameter_count


@claim("but its parameter count is: **753,800**, not 752,040.", 752040)
def printed_c() -> float:
    return paper.TABLE4[2].parameters


@claim("With $K=20$ stages one block is heard over 1299 pixels (4.9)", 1299)
def wide() -> float:
    return 33 * (2 * 20 - 1) + 12


@claim(r"Untrained, every step is close to $s(0)=\log 2\approx0.69$", 0.69, within=0.005)
def softplus() -> float:
    return math.log(2)


@claim("is worth 0.98 dB on Set11 at 10 % (its Table 4, (a) against (b))", 0.98, within=1e-09)
def cross_block() -> float:
    return paper.TABLE4[1].psnr[0] - paper.TABLE4[0].psnr[0]

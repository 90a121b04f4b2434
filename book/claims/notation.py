"""What the table of symbols states in numbers that no cell computes."""

import torch

from istapp import metrics, sampling
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.paper.claims import claim

PAGE = "book/notation.csv"


@claim('"760,220 numbers"', 760220)
def parameters() -> float:
    return ISTANetPP().parameter_count


@claim("109 at 10 %", 109)
def measurements() -> float:
    return sampling.measurements(0.1)


@claim(
    r"The **PSNR** is $-10\log_{10}$ of the mean squared error against the true image",
    20,
    within=1e-05,
    page="book/notation.md",
)
def psnr() -> float:
    return metrics.psnr(torch.full((1, 1, 9, 9), 0.1), torch.zeros(1, 1, 9, 9))

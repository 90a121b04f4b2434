"""What chapter 01 states in numbers that no cell computes."""

import math

import numpy as np
import torch

from istapp import sampling
from istapp.paper.claims import claim

PAGE = "notebooks/01_compressive_sensing.ipynb"


@claim("keep 109 numbers in place of the 1089 pixels of each block", 109)
def kept() -> float:
    return sampling.measurements(0.1)


@claim(r"Write a block of $33\times33$ pixels row after row as a vector $x\in\mathbb R^{N}$, $N=1089$.", 1089)
def pixels() -> float:
    return sampling.BLOCK**2


@claim("Its **Lipschitz constant is 1**, so a gradient step of length 1 is safe.", 1, within=1e-09)
def lipschitz() -> float:
    return sampling.BlockSampling(0.1).norm


@claim("Ten decibels are a factor of ten in squared error, 3 dB a factor of two.", 2, within=0.01)
def ten_decibels() -> float:
    return 10 ** (3 / 10)


@claim(r"at 10 % the measurements contribute $-10\log_{10}0.9$, less than half a decibel.")
def half_decibel() -> bool:
    return -10 * math.log10(0.9) < 0.5


@claim("so a side that *is* already a multiple of 33 still gets a whole extra block.", 99)
def extra_block() -> float:
    return sampling.pad(torch.zeros(1, 1, 33, 66))[0].shape[-1]


@claim(r"$\Phi$ at 10 % is the top of $\Phi$ at 50 %.", 0)
def nested() -> float:
    return np.abs(sampling.sampling_matrix(545)[:109] - sampling.sampling_matrix(109)).max()

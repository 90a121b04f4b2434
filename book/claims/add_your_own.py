"""What the page on a method of your own states in numbers that no cell computes."""

from istapp import paper
from istapp.paper.claims import claim

PAGE = "notebooks/add_your_own.ipynb"


@claim("which in the paper's own Table 3 makes a difference of 0.48 to 0.91 dB (chapter 09)", 0.48, within=1e-06)
def set_least() -> float:
    return min(paper.TABLE3[1].psnr[m] - p for m, p in paper.TABLE3[0].psnr.items())


@claim("which in the paper's own Table 3 makes a difference of 0.48 to 0.91 dB (chapter 09)", 0.91, within=1e-06)
def set_most() -> float:
    return max(paper.TABLE3[1].psnr[m] - p for m, p in paper.TABLE3[0].psnr.items())

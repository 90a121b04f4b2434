"""What chapter 08 states in numbers that no cell computes."""

from istapp import paper
from istapp.paper.claims import claim

PAGE = "notebooks/08_stages_and_channels.ipynb"


@claim("achieves 0.88/1.46 dB gain over ISTA-Net+ when $K$=9/20", 0.88)
def gain_9() -> float:
    return paper.STAGE_GAINS[9]


@claim("achieves 0.88/1.46 dB gain over ISTA-Net+ when $K$=9/20", 1.46)
def gain_20() -> float:
    return paper.STAGE_GAINS[20]

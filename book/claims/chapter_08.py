"""What chapter 08 states in numbers that no cell computes."""

from istapp import paper
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.paper import results
from istapp.paper.claims import claim

PAGE = "notebooks/08_stages_and_channels.ipynb"


@claim("achieves 0.88/1.46 dB gain over ISTA-Net+ when $K$=9/20", 0.88)
def gain_9() -> float:
    return paper.STAGE_GAINS[9]


@claim("achieves 0.88/1.46 dB gain over ISTA-Net+ when $K$=9/20", 1.46)
def gain_20() -> float:
    return paper.STAGE_GAINS[20]


NARROW = "With half of the parameters of the laptop edition's widest network, 5×24, its deepest, 20×8, is 1.5 dB ahead."


@claim(NARROW, 0.5, within=0.02)
def narrow_parameters() -> float:
    return ISTANetPP(20, 8).parameter_count / ISTANetPP(5, 24).parameter_count


@claim(NARROW, 1.5, within=0.05)
def narrow_ahead() -> float:
    runs = ("ista-net-pp-laptop", "ista-net-pp-laptop-fig4-k5-c24")
    same = {"dataset": "Set11", "ratio": 10, "seed": "0", "variant": ""}
    deep, wide = (results.select(results.load(), run=run, **same) for run in runs)
    return results.difference(deep, wide).mean

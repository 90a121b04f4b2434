"""What chapter 05 states in numbers that no cell computes."""

import math

from istapp import paper, sampling
from istapp.experiments import campaigns, ladder
from istapp.images import registry
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.paper import results
from istapp.paper.claims import claim

PAGE = "notebooks/05_training.ipynb"


def errors() -> list[float]:
    """The errors of the printed network at the five ratios."""
    return [10 ** (-(psnr or 0) / 10) for psnr in paper.TABLE1[-1].set11]


@claim("ISTA-Net++ is 760,220 numbers.", 760220)
def numbers() -> float:
    return ISTANetPP().parameter_count


@claim("as bytes it takes 13 MB", 13, within=0.5)
def bytes() -> float:
    return sum(e.height * e.width for e in registry.entries("Train400")) / 1e6


@claim(r"The training set has 400 images of $180\times180$ pixels", 400)
def images() -> float:
    return sum((e.height, e.width) == (180, 180) for e in registry.entries("Train400"))


@claim("More than half of the loss comes from 10 %, a twentieth from 50 %.")
def half() -> bool:
    return errors()[0] / sum(errors()) > 0.5


@claim("More than half of the loss comes from 10 %, a twentieth from 50 %.", 0.05, within=0.002)
def twentieth() -> float:
    return errors()[4] / sum(errors())


@claim(r"$\varepsilon=10^{-5}$ is the error at 50 dB", 50, within=1e-09)
def epsilon() -> float:
    return -10 * math.log10(campaigns.ALL["ista-net-pp-main"].recipe.epsilon)


@claim("The released recipe sees $500{,}000$ batches of 64 blocks.", 500000)
def batches() -> float:
    return 400 * 200 * 400 / 64


@claim("The full run is 35 billion pixels (section 21)", 35, within=0.2)
def pixels() -> float:
    return campaigns.ALL["ista-net-pp-main"].recipe.pixels / 1e9


@claim("The full run is 35 billion pixels (section 21)", 35, within=0.2)
def released() -> float:
    return 500_000 * 64 * sampling.BLOCK**2 / 1e9


@claim("are about a tenth to a quarter of a decibel, on 11 images.", 11)
def test_images() -> float:
    return len(registry.entries("Set11"))


@claim("A stage has $36C^2+27C$ multiplications per pixel in its convolutions")
def multiplications() -> bool:
    stage = ISTANetPP().stages[0]
    return sum(p.numel() for name, p in stage.named_parameters() if name.endswith("weight")) == 36 * 32**2 + 27 * 32


@claim("is made for a run of 35 billion pixels (section 21)", 35, within=0.2)
def long_run() -> float:
    return 500_000 * 64 * sampling.BLOCK**2 / 1e9


@claim("there such a network is 4 dB behind at 10 %", 4.0, within=0.15)
def home_matrix() -> float:
    rows = results.load()

    def of(run: str, dataset: str) -> list[results.Row]:
        own = {"run": f"ista-net-pp-laptop-{run}", "dataset": dataset, "ratio": 10, "seed": "0", "variant": ""}
        return results.select(rows, **own)

    gaps = [results.difference(of("fig4-k5-c16", d), of("one-matrix", d)).mean for d in ("Set11", "photos")]
    return max(gaps, key=lambda gap: abs(gap - 4))


@claim("so it is our own run once more")
def same_average() -> bool:
    rows = {(row["rung"], row["seed"]): row for row in ladder.read()}
    one, other = rows[ladder.BASE, "1"], rows["average over 1000 steps", "1"]
    return all(one[column] == other[column] for column in one if column.startswith("psnr_"))


@claim("Letting Muon's weights decay as well gains nothing in so short a run")
def decay_gains_nothing() -> bool:
    means = {row["rung"]: float(row["mean"]) for row in ladder.read()}
    lead = means["20 stages, rates of 0.3, weights decay"] - means["20 stages, rates of 0.3"]
    return lead < 0.02

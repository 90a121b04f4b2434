"""What the gallery states in numbers that no cell computes."""

from istapp import paper
from istapp.methods import fista, ista
from istapp.paper import results
from istapp.paper.claims import claim

PAGE = "notebooks/gallery.ipynb"


def lead(ratio: float) -> float:
    """How far FISTA is ahead of ISTA on Set11, in dB."""
    fista, ista = (results.cell(results.load(), name, "Set11", ratio) for name in ("fista", "ista"))
    assert fista and ista
    return fista.psnr - ista.psnr


@claim(
    r"so a smaller $\lambda$ can be afforded: 0.002 here and 0.016 for ISTA, in 200 iterations instead of "
    "400",
    8,
    within=1e-09,
)
def prior() -> float:
    return ista.LAMBDA / fista.LAMBDA


@claim(
    r"so a smaller $\lambda$ can be afforded: 0.002 here and 0.016 for ISTA, in 200 iterations instead of "
    "400",
    2,
)
def iterations() -> float:
    return ista.ISTA().iterations / fista.FISTA().iterations


@claim("FISTA is 0.78 dB ahead of ISTA at 50 %", 0.78, within=0.0051)
def fista_50() -> float:
    return lead(0.5)


@claim("0.12 dB ahead at 30 %", 0.12, within=0.0051)
def fista_30() -> float:
    return lead(0.3)


@claim("but 0.43 dB behind at 10 %", -0.43, within=0.0051)
def fista_10() -> float:
    return lead(0.1)


@claim("the deep image prior alone is about 0.2 dB ahead in both", 0.2, within=0.01)
def nlr() -> float:
    def crop(name: str, percent: int) -> float:
        own = results.select(results.load(), method=name, dataset="Set11-cameraman-128", ratio=percent)
        return own[0]["psnr"]

    return min(crop("dip", percent) - crop("nlr-csnet", percent) for percent in (10, 30))


@claim("No other row of the paper has a shorter time")
def reconnet() -> bool:
    return min(paper.TABLE1, key=lambda row: row.time.seconds).method == "reconnet"


@claim("ours is 3.1 dB above the printed value at 30 % on Set11", 3.1, within=0.05)
def message_passing() -> float:
    own = results.cell(results.load(), "bm3d-amp", "Set11", 0.3)
    assert own and own.whole and not own.standing
    return own.psnr - (paper.published("bm3d-amp", "Set11", 0.3) or 0)

"""What the gallery states in numbers that no cell computes."""

import inspect

from istapp import paper
from istapp.basics import paths
from istapp.basics.provenance import is_gpu
from istapp.experiments.campaigns import matching
from istapp.method import weights
from istapp.methods import class_of, fista, ista
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


def above_print(ratio: float) -> float:
    """How far BM3D-AMP with BM3D is above the printed value on Set11, in dB."""
    own = results.cell(results.load(), "bm3d-amp", "Set11", ratio)
    assert own and own.whole and not own.standing
    return own.psnr - (paper.published("bm3d-amp", "Set11", ratio) or 0)


@claim("ours is 3.1 dB above the printed value at 30 % on Set11", 3.1, within=0.05)
def message_passing() -> float:
    return above_print(0.3)


@claim("and 1.1 dB above it at 50 %", 1.1, within=0.05)
def message_passing_50() -> float:
    return above_print(0.5)


@claim("At 10 % it is 4.8 dB below", -4.8, within=0.05)
def message_passing_10() -> float:
    return above_print(0.1)


@claim("on eight of the eleven images the loop ends behind the linear estimate", 8, within=0)
def run_away() -> float:
    own, linear = (results.cell(results.load(), name, "Set11", 0.1) for name in ("bm3d-amp", "linear"))
    assert own and linear
    bound = {row["image"]: row["psnr"] for row in linear.rows}
    return sum(row["psnr"] < bound[row["image"]] for row in own.rows)


@claim("Networks of the published size, nine stages of 32 channels, were trained on a processor for a part of what is")
def plus() -> bool:
    runs = [run for run in matching(method="ista-net-plus", edition="paper", main=True)
            if paths.weights_of(run.id).is_file()]  # fmt: skip
    sizes = {(run.config["stages"], run.config["channels"]) for run in runs}
    machines = {is_gpu(weights.header(paths.weights_of(run.id))["device"]) for run in runs}
    return sizes == {(9, 32)} and machines == {False} and {results.edition(run.id) for run in runs} == {"part"}


@claim("and already meet the printed numbers from 30 % on")
def plus_meets() -> bool:
    def ahead(dataset: str, ratio: float) -> float:
        own = results.cell(results.load(), "ista-net-plus", dataset, ratio, wanted="part")
        assert own and own.whole
        return own.psnr - (paper.published("ista-net-plus", dataset, ratio) or 0)

    return all(ahead(dataset, ratio) > -0.1 for dataset in ("Set11", "BSD68") for ratio in (0.3, 0.4, 0.5))


def behind_linear(method: str) -> bool:
    """Whether the laptop edition of a network is behind the linear estimate on Set11 at 10 %."""
    own, linear = (results.cell(results.load(), name, "Set11", 0.1) for name in (method, "linear"))
    assert own and linear and own.edition == "laptop"
    return own.psnr < linear.psnr


@claim("for 10 %, and is not yet as good as the linear estimate there")
def dpdnn() -> bool:
    return behind_linear("dpdnn")


@claim("it, too, is behind the linear estimate")
def gdn() -> bool:
    return behind_linear("gdn")


def widths(method: str, name: str) -> tuple[int, int]:
    """The width of the laptop edition of a network, and of the published one."""
    (small,) = [e for e in matching(method=method, edition="laptop") if e.main]
    return small.config[name], inspect.signature(class_of(method)).parameters[name].default


@claim("The laptop edition has 10 channels instead of 64")
def dpdnn_width() -> bool:
    return widths("dpdnn", "channels") == (10, 64)


@claim("The laptop edition has 16 channels instead of 128")
def gdn_width() -> bool:
    return widths("gdn", "channels") == (16, 128)


@claim("The laptop edition is a quarter as wide, for 10 %")
def quarter() -> bool:
    return all(4 * small == full for small, full in (widths("dpa-net", "width"), widths("mac-net", "width")))


@claim("The laptop edition has five stages of 16 channels, for 10 %")
def ancestor() -> bool:
    (small,) = matching(method="ista-net", edition="laptop")
    return (small.config["stages"], small.config["channels"], small.ratios) == (5, 16, (0.1,))

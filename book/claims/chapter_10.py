"""What chapter 10 states in numbers that no cell computes."""

from istapp import paper
from istapp.paper import results
from istapp.paper.claims import claim

PAGE = "notebooks/10_ablation.ipynb"
B = "DUS step off, DUS map off"


def total(setting: str) -> float:
    """The sum over three ratios of what the laptop edition of a setting has on Set11."""
    run = f"ista-net-pp-laptop-table4-{setting}"
    own = [row for row in results.load() if (row["run"], row["dataset"], row["seed"]) == (run, "Set11", "0")]
    return sum(results.mean(results.select(own, ratio=percent)) or 0 for percent in (10, 30, 50))


def gain(run: str, variant: str = "") -> float:
    """How far a run is above the linear estimate on Set11 at 10 %, in dB."""
    rows = results.load()
    own, floor = (results.mean(results.select(rows, dataset="Set11", ratio=10, seed="0", **wanted))
                  for wanted in ({"run": run, "variant": variant}, {"method": "linear", "variant": ""}))  # fmt: skip
    return (own or 0) - (floor or 0)


@claim("With five stages (b) stays below the linear estimate at 10 %; with ten it is two decibels above it.")
def five() -> bool:
    return -1 < gain("ista-net-pp-laptop-shallow-b", B) < 0


@claim("With five stages (b) stays below the linear estimate at 10 %; with ten it is two decibels above it.", 2, 0.1)
def ten() -> float:
    return gain("ista-net-pp-laptop-table4-b", B)


@claim("DUS is worth 2.3 dB there with five stages and 0.65 dB with ten.", 2.3, 0.05)
def dus_five() -> float:
    return gain("ista-net-pp-laptop-fig4-k5-c16") - gain("ista-net-pp-laptop-shallow-b", B)


@claim("DUS is worth 2.3 dB there with five stages and 0.65 dB with ten.", 0.65, 0.005)
def dus_ten() -> float:
    return gain("ista-net-pp-laptop-table4-e") - gain("ista-net-pp-laptop-table4-b", B)


@claim("two networks of one setting can differ by as much as two settings")
def seed() -> bool:
    return abs(total("e-seed2") - total("e")) > abs(total("e") - total("c"))


@claim(
    "In the paper CBS helps most at 10 %, where little is known, and both halves of DUS help most at 50 %.",
)
def most() -> bool:
    psnr = {row.setting: row.psnr for row in paper.TABLE4}
    gains = [[(x or 0) - (y or 0) for x, y in zip(psnr[a], psnr[b], strict=True)] for a, b in ("ba", "cb", "db", "eb")]
    return [gain.index(max(gain)) for gain in gains] == [0, 2, 2, 2]


WORTH = (
    "In the small the neighbours are worth 0.5 to 0.8 dB to the network that knew them in training, "
    "and 0.5 to 0.7 dB to the one that never met any: hardly less."
)
PATCHES = ("ista-net-pp-laptop-fig4-k5-c16", "ista-net-pp-laptop-single-block")


def side(run: str, percent: int, variant: str = "") -> list[results.Row]:
    """The rows of a run on Set11."""
    return results.select(results.load(), run=run, dataset="Set11", ratio=percent, seed="0", variant=variant)


@claim(WORTH)
def worth() -> bool:
    known, never = ([results.difference(side(run, p), side(run, p, "blockwise")).mean for p in (10, 30, 50)]
                    for run in PATCHES)  # fmt: skip
    ends = [round(end, 1) for gains in (known, never) for end in (min(gains), max(gains))]
    return ends == [0.5, 0.8, 0.5, 0.7] and all(0 < one - two < 0.15 for one, two in zip(known, never, strict=True))


@claim("On whole images the one trained on single blocks is 0.2 dB ahead at 10 %, and above that nothing is resolved.")
def ahead() -> bool:
    low, *others = (results.difference(side(PATCHES[0], p), side(PATCHES[1], p)) for p in (10, 30, 50))
    return abs(low.mean + 0.2) < 0.05 and low.resolved and not any(other.resolved for other in others)

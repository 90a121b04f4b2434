"""The numbers that the paper prints, as it prints them: Tables 1 to 4 and what its text states.

PSNR in dB, means over a set. Nothing is corrected here: where a printed number contradicts another or the released
code, the book says so beside it. None stands for a dash.
"""

from dataclasses import dataclass

__all__ = [
    "Ablation", "CONVERGED", "CROSS_BLOCK_GAIN", "Comparison", "GAINS", "HOUSE_LOSS", "LargeImages", "Numbers",
    "PLANT_SHARE", "RATIOS", "REMEASURED", "Remeasured", "Size", "STAGE_GAINS", "TABLE1", "TABLE2", "TABLE3", "TABLE4",
    "THREE", "Time", "TrainingSet", "UNFOLDING_GAIN", "published", "remeasured",
]  # fmt: skip

#: The CS ratios of Table 1; Tables 2 and 4 print the first, third and fifth.
RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5)
THREE = RATIOS[::2]

Numbers = tuple[float | None, ...]


@dataclass(frozen=True)
class Size:
    """Parameters in millions: of one network, how many networks five ratios need, and all of them, as printed."""

    one: float
    networks: int
    total: float

    def __str__(self) -> str:
        """Return it as the table has it."""
        return f"{self.one:.2f}M × {self.networks} = {self.total:.{1 if self.total > 10 else 2}f}M"


@dataclass(frozen=True)
class Time:
    """Seconds for 256 x 256 pixels, and what computed: ``CPU`` or ``GPU``."""

    seconds: float
    device: str = "GPU"

    def __str__(self) -> str:
        """Return it with its device."""
        return f"{self.seconds:g} s ({self.device})"


@dataclass(frozen=True)
class Comparison:
    """A row of Table 1: a method on BSD68 and Set11 at the five ratios, its parameters and its time for 256 x 256."""

    method: str  # the name that `istapp` gives it
    label: str
    venue: str
    parameters: Size | None
    bsd68: Numbers
    bsd68_average: float | None
    set11: Numbers
    set11_average: float | None
    time: Time


@dataclass(frozen=True)
class LargeImages:
    """A row of Table 2: a method on Urban100 and on DIV2K's validation images at three ratios."""

    method: str
    label: str
    urban100: Numbers
    urban100_average: float | None
    div2k: Numbers
    div2k_average: float | None


@dataclass(frozen=True)
class Remeasured:
    """A method on later papers' sets at 10, 30 and 50 %, as other authors measured it."""

    method: str
    label: str
    set11: Numbers
    bsd68: Numbers
    urban100_crops: Numbers
    div2k_crops: Numbers


@dataclass(frozen=True)
class TrainingSet:
    """A row of Table 3: methods trained on one set (values of BSD68 at 30 %, as Table 1's column shows)."""

    trained_on: str
    psnr: dict[str, float]


@dataclass(frozen=True)
class Ablation:
    """A row of Table 4: what is switched on, the parameters, and Set11 at three ratios."""

    setting: str
    dynamic_step: bool
    noise_map: bool
    cross_block: bool
    parameters: int
    psnr: tuple[float, ...]


# fmt: off
TABLE1 = [
    Comparison("bm3d-amp", "BM3D-AMP", "TIT2016", None,
               (22.68, 24.77, 26.44, 28.19, 29.86), 26.39, (22.6, 26.77, 30.26, 33.66, 35.93), 29.84,
               Time(44.58, "CPU")),
    Comparison("reconnet", "ReconNet", "CVPR2016", Size(0.14, 5, 0.70),
               (23.88, 25.75, 26.72, 28.96, 30.13), 27.09, (24.06, 26.68, 28.14, 30.78, 31.48), 28.23, Time(0.0011)),
    Comparison("ldamp", "LDAMP", "NeurIPS2017", None,
               (23.94, 27.74, 30.28, 32.12, 32.89), 29.39, (24.71, 30.65, 33.87, 36.03, 36.60), 32.37, Time(390.40)),
    Comparison("dip", "DIP", "CVPR2018", None,
               (25.05, 27.25, 28.66, 29.82, 31.21), 28.40, (25.98, 29.81, 33.25, 33.41, 35.96), 31.68, Time(335.87)),
    Comparison("ista-net-plus", "ISTA-Net+", "CVPR2018", Size(0.34, 5, 1.70),
               (25.24, 28.00, 30.20, 32.10, 33.93), 29.89, (26.57, 30.85, 33.74, 36.05, 38.05), 33.05, Time(0.0051)),
    Comparison("dpdnn", "DPDNN", "TPAMI2019", Size(1.36, 5, 6.80),
               (24.81, 27.28, 29.22, 30.99, 32.74), 29.01, (26.09, 29.75, 32.37, 34.69, 36.83), 31.95, Time(0.0951)),
    Comparison("gdn", "GDN", "TCI2019", Size(0.50, 5, 2.50),
               (25.19, 27.95, 29.88, 32.07, 34.09), 29.84, (26.03, 30.16, 32.95, 35.25, 37.60), 32.40, Time(0.0061)),
    Comparison("nlr-csnet", "NLR-CSNet", "TMM2020", None,
               (25.23, 27.69, 29.55, 31.14, 32.57), 29.24, (28.05, 31.64, 33.89, 35.65, 37.12), 33.27, Time(378.75)),
    Comparison("dpa-net", "DPA-Net", "TIP2020", Size(9.31, 5, 46.5),
               (25.33, None, 29.58, None, None), None, (27.66, None, 33.60, None, None), None, Time(0.0365)),
    Comparison("mac-net", "MAC-Net", "ECCV2020", Size(6.12, 5, 30.6),
               (25.70, 28.23, 30.10, 31.89, 33.37), 29.86, (27.92, 31.54, 33.87, 36.18, 37.76), 33.45, Time(0.0710)),
    Comparison("ista-net-pp", "ISTA-Net++", "Ours", Size(0.76, 1, 0.76),
               (26.25, 29.00, 31.10, 33.00, 34.85), 30.84, (28.34, 32.33, 34.86, 36.94, 38.73), 34.24, Time(0.0123)),
]

TABLE2 = [
    LargeImages("ista-net-plus", "ISTA-Net+", (23.62, 30.07, 34.39), 29.36, (27.78, 33.37, 37.35), 32.83),
    LargeImages("dpa-net", "DPA-Net", (24.55, 29.47, None), None, (28.23, 33.04, None), None),
    LargeImages("mac-net", "MAC-Net", (24.26, 29.46, 33.36), 29.03, (27.86, 32.90, 36.30), 32.35),
    LargeImages("ista-net-pp", "ISTA-Net++", (25.53, 31.93, 35.84), 31.10, (28.96, 34.41, 38.22), 33.86),
]

#: Not of this paper: its methods on 256 x 256 middles of Urban100 and DIV2K, measured by the authors of PCNet (the
#: table `figs/comp1.png` of their repository Guaishou74851/PCNet). These crops can be had; Table 2's DIV2K cannot.
REMEASURED = [
    Remeasured("reconnet", "ReconNet", (24.08, 29.46, 32.76), (23.92, 27.97, 30.79), (20.71, 25.15, 28.15),
               (24.41, 29.09, 32.15)),
    Remeasured("ista-net-plus", "ISTA-Net+", (26.49, 33.70, 38.07), (25.14, 30.24, 33.94), (22.81, 29.83, 34.33),
               (26.30, 32.65, 36.88)),
    Remeasured("dpa-net", "DPA-Net", (27.66, 33.60, None), (25.33, 29.58, None), (24.00, 29.04, None),
               (27.09, 32.37, None)),
    Remeasured("mac-net", "MAC-Net", (27.92, 33.87, 37.76), (25.70, 30.10, 33.37), (23.71, 29.03, 33.10),
               (26.72, 32.23, 35.40)),
    Remeasured("ista-net-pp", "ISTA-Net++", (28.34, 34.86, 38.73), (26.25, 31.10, 34.85), (24.95, 31.50, 35.58),
               (27.82, 33.74, 37.78)),
]

TABLE3 = [
    TrainingSet("Train91", {"ista-net-plus": 30.20, "dpdnn": 29.22, "mac-net": 30.10}),
    TrainingSet("Train400", {"ista-net-plus": 30.68, "dpdnn": 30.13, "mac-net": 30.68}),
]

TABLE4 = [
    Ablation("a", False, False, False, 752_040, (27.14, 34.06, 38.02)),
    Ablation("b", False, False, True, 752_040, (28.12, 34.65, 38.37)),
    Ablation("c", True, False, True, 752_040, (28.18, 34.75, 38.48)),
    Ablation("d", False, True, True, 759_580, (28.17, 34.79, 38.64)),
    Ablation("e", True, True, True, 760_220, (28.34, 34.86, 38.73)),
]
# fmt: on

#: Sec. 3.3: mean gain of ISTA-Net++ over ISTA-Net+ in dB.
GAINS = {"BSD68": 0.95, "Set11": 1.19, "Urban100": 1.74, "DIV2K": 1.03}

#: Sec. 3.2: gain of ISTA-Net++ over ISTA-Net+ on Set11 at 10 %, in dB, by the number of stages.
STAGE_GAINS = {9: 0.88, 20: 1.46}

#: Sec. 4.1, Fig. 7a: PSNR in dB of ISTA-Net++ after 400 epochs, by training set.
CONVERGED = {"Train400": 34.81, "Train91": 34.25}

#: Sec. 4.1, Fig. 7b: how much worse a house at 30 % becomes with Train91, in dB, and that set's share of plants.
HOUSE_LOSS = 0.97
PLANT_SHARE = 0.78

#: Sec. 4.2: mean gain of dynamic unfolding, and the gain of the cross-block strategy that the text calls the largest.
UNFOLDING_GAIN = 0.26
CROSS_BLOCK_GAIN = 0.64


def _cells() -> dict[tuple[str, str, int], float | None]:
    """Return the values of Tables 1 and 2 by method, set and percent."""
    cells: dict[tuple[str, str, int], float | None] = {}
    for row in TABLE1:
        for dataset, numbers in (("BSD68", row.bsd68), ("Set11", row.set11)):
            cells |= {(row.method, dataset, round(100 * r)): n for r, n in zip(RATIOS, numbers, strict=True)}
    for large in TABLE2:
        for dataset, numbers in (("Urban100", large.urban100), ("DIV2K", large.div2k)):
            cells |= {(large.method, dataset, round(100 * r)): n for r, n in zip(THREE, numbers, strict=True)}
    return cells


def published(method: str, dataset: str, ratio: float) -> float | None:
    """Return what Table 1 (BSD68, Set11) or Table 2 (Urban100, DIV2K) prints, in dB; None where it prints nothing.

    `method` is the name that `istapp` gives it, such as ``ista-net-pp``; `ratio` is a fraction.
    """
    percent = round(100 * ratio, 6)
    return _cells().get((method, dataset, int(percent))) if percent == int(percent) else None


def remeasured(method: str, dataset: str, ratio: float) -> float | None:
    """Return what `REMEASURED` has in dB for Set11, BSD68, Urban100-crop256 or DIV2K-crop256; None for nothing."""
    columns = {"Set11": "set11", "BSD68": "bsd68", "Urban100-crop256": "urban100_crops", "DIV2K-crop256": "div2k_crops"}
    for row in REMEASURED:
        if row.method == method and dataset in columns:
            return dict(zip(THREE, getattr(row, columns[dataset]), strict=True)).get(round(ratio, 6))
    return None

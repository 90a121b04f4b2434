"""Every training run behind a table or figure, as data, in order of worth.

The paper edition needs a GPU and comes in two campaigns; the laptop edition is what two processor cores can train.
`istapp.experiments.queue` runs them.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch

from istapp.images import datasets
from istapp.method.base import Network
from istapp.methods import class_of
from istapp.training import Recipe, first, ours, released

FIVE = (0.1, 0.2, 0.3, 0.4, 0.5)

#: Steps between fresh random matrices. A network that only ever saw one matrix comes to rely on it: chapter 06 measures
#: what the laptop network loses at 10 % with any other.
RENEW = 50


@dataclass(frozen=True)
class Experiment:
    """One training run.

    Attributes:
        id: also the name of its files.
        purpose: what it is for, in words.
        config: arguments of the network.
        recipe: how it is trained.
        method: which network.
        training_set: registered sets, joined by ``+``.
        ratios: CS ratios in (0, 1].
        seed: of weights, patches and ratios.
        matrix_seed: of the sampling matrix, or of the first one where the recipe renews it.
        minutes: expected, on an H200 (the laptop edition: on two cores).
        main: whether the method uses these weights by default, one network for each edition and ratio; side
            experiments are only tabulated.
        exact: whether its weights are kept in full precision; the others in half the room, where that costs nothing.
        tests: sets that its rows are taken on, where at hand.
        group: runs that are compared with each other, and so see equal pixels; by default one alone.
        edition: ``paper`` for a network of the paper's size, ``laptop`` for a smaller one.
        serves: tables and figures that it is trained for, such as ``table4``; those that a main network appears in by
            default need no mention.
        setting: its row of Table 4, ``b`` to ``e``; (a) is the network of (b), block by block.
        repeats: the experiment that it repeats with another seed.
    """

    id: str
    purpose: str
    config: dict[str, Any]
    recipe: Recipe
    method: str = "ista-net-pp"
    training_set: str = "Train400"
    ratios: tuple[float, ...] = FIVE
    seed: int = 1
    matrix_seed: int = 0
    minutes: float = 5
    main: bool = False
    exact: bool = False
    tests: tuple[str, ...] = ("photos", "Set11", "BSD68")
    group: str = ""
    edition: str = "paper"
    serves: tuple[str, ...] = ()
    setting: str = ""
    repeats: str = ""

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.id)

    def network(self) -> Network:
        """Build the untrained network from the experiment's seed."""
        torch.manual_seed(self.seed)
        return class_of(self.method)(**self.config)

    def images(self) -> list[datasets.Image]:
        """Load the training images.

        Raises:
            UserError: a set is not at hand.
        """
        return [image for name in self.training_set.split("+") for image in datasets.load(name)]


#: Of the laptop edition: the size that others vary, the pixels of every run, and the recipe on single blocks.
_SMALL, _BUDGET = {"stages": 5, "channels": 16}, 100e6
_SINGLE: dict[str, Any] = {"batch": 32, "blocks": 1}


def _small(tail: str, purpose: str, recipe: Recipe | None = None, **changes: Any) -> Experiment:
    """A run of ISTA-Net++, or of the `method` named; by default with the size and the recipe that all others have."""
    method = changes.pop("method", "ista-net-pp")
    given: dict[str, Any] = {"config": _SMALL, "minutes": 5, "tests": ("photos", "Set11"), "group": "laptop-ablation"}
    return Experiment(
        f"{method}-laptop{tail}", f"{purpose}, laptop edition", method=method, edition="laptop",
        recipe=recipe or ours(_BUDGET, renew_matrix=RENEW), **given | changes,
    )  # fmt: skip


def _small_plus(tail: str, purpose: str, stages: int, channels: int, ratio: float = 0.1, **changes: Any) -> Experiment:
    """A run of ISTA-Net+, or of its ancestor: training knows one ratio, one matrix and single blocks, as published."""
    config = {"stages": stages, "channels": channels, "ratio": ratio}
    given = {"method": "ista-net-plus", "config": config, "ratios": (ratio,)} | changes
    return _small(tail, purpose, ours(_BUDGET, **_SINGLE), **given)


#: Each rival's size in the laptop edition, at about the work on a pixel of the laptop's ISTA-Net++, minutes, and where
#: its recipe departs from the rest on single blocks: as tried on validation images at 10 % for 8 million pixels. (For
#: DPDNN and GDN these were whole images; what looked better in the published way was not, after 100 million pixels.)
_SMALL_RIVALS: dict[str, tuple[dict[str, int], int, dict[str, Any]]] = {
    "dpa-net": ({"width": 64}, 6, {"batch": 8, "block": 16, "blocks": 4}),
    "gdn": ({"channels": 16}, 8, {"batch": 8, "rate": 8e-3}),
    "mac-net": ({"width": 16}, 17, {"batch": 8, "block": 16, "blocks": 4}),
    "dpdnn": ({"channels": 10}, 10, {}),
}


def _small_rival(method: str) -> Experiment:
    """A narrow edition of another network of Table 1 at 10 %: as published, each is for one ratio."""
    size, minutes, changes = _SMALL_RIVALS[method]
    return _small(
        "-10", f"Table 1, {_RIVALS[method][0]}", ours(_BUDGET, **_SINGLE | changes), method=method,
        config=size | {"ratio": 0.1}, ratios=(0.1,), minutes=minutes, main=True,
    )  # fmt: skip


def _laptop() -> list[Experiment]:
    """What two cores can train: a small network of the paper's depth, small editions of Table 4 and Fig. 4, rivals."""
    deeper = {"stages": 10, "channels": 8}  # with five stages (b) stays below the linear estimate (chapter 10)
    table4 = [
        _small(f"-table4-{letter}", f"Table 4 ({letter})", config=deeper | {"dynamic_step": step, "noise_map": noise},
               serves=("table4", "fig4") if letter == "e" else ("table4",), setting=letter)
        for letter, step, noise in (("e", True, True), ("b", False, False), ("c", True, False), ("d", False, True))
    ]  # fmt: skip
    seeds = [
        replace(run, id=f"{run.id}-seed2", seed=2, repeats=run.id, serves=("table4",))
        for run in table4 if run.setting in ("e", "c")
    ]  # fmt: skip
    squared = [
        replace(run, id=f"{run.id}-squared", purpose=f"{run.purpose}, the squared error", serves=(), setting="",
                recipe=replace(run.recipe, error="mse"))
        for run in table4 if run.setting in ("e", "b")
    ]  # fmt: skip
    fig4: dict[str, Any] = {"serves": ("fig4",)}
    sizes = [_small("-fig4-k5-c16", "Figs. 4 and 7(a), the size that others vary", serves=("fig4", "fig7"))]
    sizes += [
        _small(f"-fig4-k{k}-c{c}", "Fig. 4", config={"stages": k, "channels": c}, **fig4)
        for k, c in ((3, 16), (9, 16), (5, 8), (5, 24))
    ]  # fmt: skip
    switched_off = {"dynamic_step": False, "noise_map": False}
    single = ours(_BUDGET, renew_matrix=RENEW, **_SINGLE)
    denoisers = {"edges": [0, 10, 20, 40, 60, 100, 200, 500], "layers": 6, "channels": 24}
    return [
        _small("", "a narrow network of the paper's depth", config={"stages": 20, "channels": 8}, minutes=20, main=True,
               exact=True, tests=("photos", "Set11", "BSD68"), **fig4),
        *table4,
        *seeds,
        *squared,
        *sizes,
        _small_plus("-10", "Table 1 and Fig. 4, ISTA-Net+", 5, 16, main=True, **fig4),
        *(_small_plus(f"-{100 * ratio:g}", "Table 1, ISTA-Net+", 5, 16, ratio, main=True) for ratio in (0.3, 0.5)),
        *(_small_plus(f"-fig4-k{k}-c{c}", "Fig. 4", k, c, **fig4) for k, c in ((3, 16), (9, 16), (5, 8))),
        _small("-shallow-b", "Table 4 (b) with five stages", config=_SMALL | switched_off),
        _small("-train91", "Fig. 7(a), Train91", training_set="T91", serves=("fig7",)),
        _small("-single-block", "single-block patches against multi-block", single),
        _small("-one-matrix", "one matrix against fresh ones", ours(_BUDGET), matrix_seed=1),
        _small("-released-recipe", "the released recipe at equal pixels", released(_BUDGET)),
        _small("", "Table 1, LDAMP's denoisers", first(120e6, batch=28, blocks=1, average=0.998), method="ldamp",
               config=denoisers, ratios=(0.1, 0.3, 0.5), minutes=12, main=True, group="ldamp-laptop"),
        *(_small_rival(method) for method in _SMALL_RIVALS),
        _small_plus("-10", "ISTA-Net, the ancestor of ISTA-Net+", 5, 16, method="ista-net", main=True),
    ]  # fmt: skip


#: Rates of a network of the paper's size on thousands of millions of pixels, between two rungs of the ladder's large
#: batches; Muon's weights decay, or they would grow as long as the rate stays.
_AT_LENGTH: dict[str, Any] = {"muon_rate": 0.006, "rate": 0.0012, "muon_decay": 0.1}


def _campaign_1() -> list[Experiment]:
    """The main model and its ablations, for a GPU."""
    full = {"stages": 20, "channels": 32}
    budget = 9e9
    recipe = ours(budget, gpu_batch=64, renew_matrix=RENEW, **_AT_LENGTH)
    runs = [Experiment(
        "ista-net-pp-main", "Tables 1 and 2, last row", full,
        ours(35e9, gpu_batch=64, renew_matrix=RENEW, **_AT_LENGTH), minutes=20, main=True, exact=True,
        group="main",
    )]  # fmt: skip
    for letter, (step, noise) in {"e": (1, 1), "b": (0, 0), "c": (1, 0), "d": (0, 1)}.items():
        config = full | {"dynamic_step": bool(step), "noise_map": bool(noise)}
        runs.append(Experiment(
            f"ista-net-pp-table4-{letter}", f"Table 4 ({letter})", config, recipe, group="table4",
            serves=("table4",), setting=letter,
        ))  # fmt: skip
    single = ours(budget, batch=32, gpu_batch=256, blocks=1, renew_matrix=RENEW, **_AT_LENGTH)
    runs += [
        Experiment(
            "ista-net-pp-single-block", "single-block patches against multi-block", full, single, group="patches"
        ),
        Experiment(
            "ista-net-pp-released-recipe",
            "the released recipe at equal pixels",
            full,
            released(budget),
            group="released",
        ),
        Experiment("ista-net-pp-squared-error", "the squared error in place of its logarithm", full,
                   replace(recipe, error="mse"), group="loss"),
        *(Experiment(
            f"ista-net-pp-table4-e-seed{seed}", "Table 4 (e), spread", full, recipe, seed=seed, group="seeds",
            serves=("table4",), setting="e", repeats="ista-net-pp-table4-e",
        ) for seed in (2, 3)),
        *(Experiment(
            f"ista-net-pp-{name}", f"Fig. 7(a), {told}", full, recipe, training_set=sets, group="fig7a",
            serves=("fig7",),
        ) for name, told, sets in (("train400", "Train400", "Train400"), ("train91", "Train91", "T91"),
                                   ("train491", "both", "Train400+T91"))),
    ]  # fmt: skip
    return runs


def _campaign_2() -> list[Experiment]:
    """The rivals and the scaling figure, for a GPU."""
    # With 512 blocks a step, a thousand million pixels on a GPU would be fewer steps than 100 million on a processor.
    plus = ours(4e9, batch=32, gpu_batch=128, blocks=1)
    runs = [
        Experiment(
            f"ista-net-plus-{100 * ratio:g}", "Table 1, ISTA-Net+", {"stages": 9, "channels": 32, "ratio": ratio}, plus,
            "ista-net-plus", ratios=(ratio,), minutes=3, main=True, group="ista-net-plus",
        )
        for ratio in FIVE
    ]  # fmt: skip
    runs.append(Experiment(
        "ista-net-plus-train91-30", "Table 3, ISTA-Net+ on Train91", {"stages": 9, "channels": 32, "ratio": 0.3}, plus,
        "ista-net-plus", training_set="T91", ratios=(0.3,), minutes=3, group="ista-net-plus", serves=("table3",),
    ))  # fmt: skip
    runs += _rivals()
    sizes = [(k, 32) for k in (5, 9, 13, 17, 20, 25)] + [(20, c) for c in (8, 16, 24, 48, 64)]
    for stages, channels in sizes:
        config, tail = {"stages": stages, "channels": channels}, f"k{stages}-c{channels}"
        minutes = 0.2 + 2 * (stages * channels**2) / (20 * 32**2)
        pp = ours(3e9, gpu_batch=64, renew_matrix=RENEW, **_AT_LENGTH)
        plus10 = ours(3e9, batch=32, gpu_batch=256, blocks=1)  # as many pixels a step as pp
        common: dict[str, Any] = {"minutes": minutes, "group": "fig4", "serves": ("fig4",)}
        runs.append(Experiment(f"ista-net-pp-fig4-{tail}", "Fig. 4", config, pp, **common))
        runs.append(Experiment(
            f"ista-net-plus-fig4-{tail}", "Fig. 4", config | {"ratio": 0.1}, plus10, "ista-net-plus",
            ratios=(0.1,), **common,
        ))  # fmt: skip
    return runs


#: Each rival's name in print, minutes of a GPU, and recipe.
_RIVALS = {
    # Small enough for a processor. After 20 million pixels 5e-4 was the best of three rates on validation images.
    "reconnet": ("ReconNet", 1, ours(200e6, batch=32, blocks=1, rate=5e-4)),
    # At 30 %, after 3 million pixels, the square was 0.35 dB ahead of its logarithm on validation images.
    "dpdnn": ("DPDNN", 6, ours(4e9, batch=16, gpu_batch=128, blocks=1, error="published")),
    "gdn": ("GDN", 12, ours(4e9, batch=32, gpu_batch=128, blocks=1)),
    "dpa-net": ("DPA-Net", 4, ours(4e9, batch=8, gpu_batch=32, block=16, blocks=4, rate=3e-4, error="published")),
    # At 30 %, after 4 million pixels, on validation images, Muon was 1 dB behind at as many pixels a step, and more
    # than 5 with 8 patches of 6 x 6 blocks, which make a ninth of the steps.
    "mac-net": ("MAC-Net", 4, ours(4e9, batch=2, gpu_batch=32, block=16, blocks=4, optimiser="adamw", rate=3e-4,
                                   error="published")),
}  # fmt: skip


def _rivals() -> list[Experiment]:
    """Table 1's other networks, one for each ratio as published; Table 3's on both sets."""

    def one(method: str, ratio: float, tail: str = "", **changes: Any) -> Experiment:
        """The run of a method at a ratio."""
        config: dict[str, Any] = {"ratio": ratio}
        if method in ("reconnet", "dpa-net", "mac-net"):
            config["matrix_seed"] = 0
        if method == "reconnet":  # from a random start it is 2.4 dB behind after the same 10 million pixels
            config["linear_start"] = True
        printed, minutes, recipe = _RIVALS[method]
        given = {"purpose": f"Table 1, {printed}", "main": True} | changes
        return Experiment(
            f"{method}-{tail}{100 * ratio:g}", config=config, recipe=recipe, method=method, ratios=(ratio,),
            minutes=minutes, group=method, **given,
        )  # fmt: skip

    denoisers = Experiment(
        "ldamp-full", "Table 1, LDAMP's denoisers", {"layers": 17, "channels": 64},
        ours(4e9, batch=36, gpu_batch=288, blocks=1, error="published"), "ldamp", minutes=6, main=True,
    )  # fmt: skip
    # ReconNet and the denoisers are cheap; of the others the paper's three ratios come before the two in between.
    runs = [*(one("reconnet", ratio) for ratio in FIVE), denoisers]
    dear = ("dpdnn", "mac-net", "gdn", "dpa-net")
    runs += [one(method, ratio) for method in dear for ratio in (0.1, 0.3, 0.5)]
    runs += [
        one(method, 0.3, "train91-", purpose=f"Table 3, {_RIVALS[method][0]} on Train91", main=False,
            training_set="T91", serves=("table3",))
        for method in ("dpdnn", "mac-net")
    ]  # fmt: skip
    kept = one("gdn", 0.3, "mean-kept-", purpose="GDN whose regulariser leaves the mean alone", main=False)
    runs.append(replace(kept, config=kept.config | {"keep_mean": True}))
    runs += [one(method, ratio) for method in dear for ratio in (0.2, 0.4)]
    older = ours(4e9, batch=32, gpu_batch=128, blocks=1)
    return runs + [
        Experiment(
            f"ista-net-{100 * ratio:g}", "ISTA-Net, the ancestor of ISTA-Net+",
            {"stages": 9, "channels": 32, "ratio": ratio}, older, "ista-net", ratios=(ratio,), minutes=2, main=True,
            group="ista-net",
        )
        for ratio in (0.1, 0.3, 0.5)
    ]  # fmt: skip


#: Every run, in order of worth: what a GPU is for first where there is one, see `queue`.
LAPTOP, CAMPAIGN_1, CAMPAIGN_2 = _laptop(), _campaign_1(), _campaign_2()
ALL = {experiment.id: experiment for experiment in (*CAMPAIGN_1, *CAMPAIGN_2, *LAPTOP)}


def matching(**wanted: Any) -> list[Experiment]:
    """Return the experiments, in order of worth, whose attributes or arguments of the network have these values."""

    def value(e: Experiment, name: str) -> Any:
        """Return an attribute, or else an argument of the network."""
        return getattr(e, name) if hasattr(e, name) else e.config.get(name)

    return [e for e in ALL.values() if all(value(e, name) == each for name, each in wanted.items())]


def main_runs(method: str, ratio: float) -> list[Experiment]:
    """Return whose weights a method uses by default at a CS ratio, a network of the paper's size before a smaller one.

    `istapp.method.loading` keeps the same order among the weights at hand: the largest network first.
    """
    own = [e for e in matching(method=method, main=True) if ratio in e.ratios]
    return sorted(own, key=lambda e: e.edition != "paper")


#: The groups in order of worth; one that is named again is then continued, as far as the clock and its budget go.
ORDER = (
    "main", "table4", "main", "ista-net-plus", "ldamp-full", "fig4", "dpdnn", "mac-net", "gdn", "dpa-net", "reconnet",
    "fig7a", "released", "patches", "loss", "seeds", "ista-net",
)  # fmt: skip

#: Groups that are compared with another one, and so take its budget once it has one.
LIKE = {"released": "table4", "patches": "table4", "loss": "table4", "seeds": "table4"}

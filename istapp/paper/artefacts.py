"""What each table and figure of the paper needs, as data: training runs (`experiments.queue`) and rows of results.

Both are derived from what the runs say of themselves and from the published tables, so a new method or run joins by
itself. `istapp.paper.reproduce` finds out what of it is missing and does it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from istapp import methods
from istapp.basics import paths
from istapp.basics.errors import UserError, nearest
from istapp.experiments.campaigns import ALL, FIVE, Experiment, main_runs
from istapp.experiments.queue import Places
from istapp.images import datasets, registry
from istapp.methods import Network, Tied
from istapp.paper import results
from istapp.paper.printed import TABLE2, TABLE3, THREE

#: What can be reproduced. Figs. 5 to 7 also show pictures, which their chapters draw from the same weights.
ARTEFACTS = {
    "table1": "Table 1: every method on BSD68 and Set11 at five ratios, and its spread over ten matrices",
    "table2": "Table 2: Urban100 and, for DIV2K, the 256 x 256 crops that can be had",
    "table3": "Table 3: rivals trained on Train91 and on Train400, BSD68 at 30 %",
    "table4": "Table 4: dynamic unfolding and the cross-block strategy, one at a time, on Set11",
    "fig4": "Fig. 4: Set11 at 10 % against stages and channels",
    "fig5": "Fig. 5: scenes of the training sets; the images alone, no rows",
    "fig6": "Fig. 6: BSD68 at 10 %, method beside method",
    "fig7": "Fig. 7: training sets compared, on Set11 and on scenes of DIV2K at 30 %",
}

#: Sampling matrices over which the spread of the main network is taken.
MATRICES = tuple(range(10))

#: Methods without training that are too slow for whole sets on a laptop: these images of Set11 stand for it there, and
#: the rows' set is called by their names.
SUBSETS = {"bm3d-amp": ("cameraman", "house", "Parrots"), "ldamp": ("cameraman", "house", "Parrots")}


@dataclass(frozen=True)
class Evaluation:
    """Rows to take: one method on one set.

    Attributes:
        method: as `istapp` calls it.
        run: the experiment whose weights it has, empty for a method without.
        dataset: a registered set.
        ratios: CS ratios in (0, 1].
        seed: of the sampling matrix.
        blockwise: without the cross-block path, as Table 4 (a) wants it.
        images: names of the images, empty for the whole set.
    """

    method: str
    run: str
    dataset: str
    ratios: tuple[float, ...]
    seed: int = 0
    blockwise: bool = False
    images: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What its rows call the set: a part of a set is never called by the set's name."""
        return f"{self.dataset} ({', '.join(self.images)})" if self.images else self.dataset

    @property
    def file(self) -> str:
        """The name of its result file, without the ending."""
        return self.run or self.method

    def entries(self) -> list[registry.Entry]:
        """Return what the registry holds of its images."""
        return [e for e in registry.entries(self.dataset) if not self.images or Path(e.file).stem in self.images]

    def rows(self) -> Iterator[tuple[str, float]]:
        """Yield image and ratio of every row, ratio by ratio."""
        yield from ((Path(entry.file).stem, ratio) for ratio in self.ratios for entry in self.entries())


@dataclass
class Plan:
    """What is to be done: runs to train, rows to take, and in words what is left out and why."""

    training: list[Experiment] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def serves(experiment: Experiment) -> set[str]:
    """Return the artefacts that a run is for: those it says, and those that its method appears in by default."""
    names = set(experiment.serves)
    if experiment.main:
        names |= {"table1", "fig6"}
        names |= {"table2"} if experiment.method in {row.method for row in TABLE2} else set()
        rivals = {method for row in TABLE3 for method in row.psnr}
        names |= {"table3"} if experiment.method in rivals and 0.3 in experiment.ratios else set()
    return names


def runs_of(artefact: str) -> list[Experiment]:
    """Return the runs behind an artefact, in order of worth."""
    return [e for e in ALL.values() if artefact in serves(e)]


def chosen(runs: Iterable[Experiment]) -> list[Experiment]:
    """Return what fills a table's cells: of several main runs of a method at a ratio the one that is its default."""
    runs = list(runs)
    kept = [replace(e, ratios=tuple(r for r in e.ratios if not e.main or e is _first(runs, e.method, r))) for e in runs]
    return [e for e in kept if e.ratios]


def _first(runs: Sequence[Experiment], method: str, ratio: float) -> Experiment | None:
    return next((e for e in main_runs(method, ratio) if e in runs), None)


#: Sets and ratios that an artefact wants of every run.
_WANTED: dict[str, tuple[tuple[str, tuple[float, ...]], ...]] = {
    "table1": (("photos", FIVE), ("Set11", FIVE), ("BSD68", FIVE)),
    "table2": (("Urban100-crop256", THREE), ("DIV2K-crop256", THREE), ("Urban100", THREE)),
    "table3": (("BSD68", (0.3,)),),
    "table4": (("Set11", THREE),),
    "fig4": (("Set11", (0.1,)),),
    "fig5": (),
    "fig6": (("BSD68", (0.1,)),),
    "fig7": (("Set11", (0.3,)), ("DIV2K-half512", (0.3,)), ("DIV2K-crop256", (0.3,))),
}


def of_run(artefact: str, e: Experiment) -> list[Evaluation]:
    """Return the rows that an artefact wants of one run."""
    seed = e.matrix_seed if issubclass(methods.class_of(e.method), Tied) else 0
    plain = [
        Evaluation(e.method, e.id, dataset, ratios, seed)
        for dataset, wanted in _WANTED[artefact]
        if (ratios := tuple(r for r in wanted if r in e.ratios))
    ]
    if artefact == "table1" and e.main and e.method == "ista-net-pp":
        plain += [Evaluation(e.method, e.id, "Set11", THREE, seed) for seed in MATRICES]
    if artefact == "table4" and e.setting == "b":
        plain += [replace(evaluation, blockwise=True) for evaluation in plain]
    return plain


def training_free() -> list[str]:
    """Return the methods that need no training."""
    return [name for name in methods.names() if not issubclass(methods.class_of(name), Network)
            and name not in {e.method for e in ALL.values()}]  # fmt: skip


def of_training_free(artefact: str, name: str, profile: str) -> list[Evaluation]:
    """Return the rows that an artefact wants of a method without training; a laptop takes what fits into an hour.

    A method that optimises a network for every image takes minutes for each; a laptop leaves it out.
    """
    optimises = methods.class_of(name).kind == "untrained network"
    if name == "linear" and artefact in ("table1", "table2", "fig6"):
        return [Evaluation(name, "", dataset, ratios) for dataset, ratios in _WANTED[artefact]]
    if artefact == "fig6" and profile == "paper" and not optimises:
        return [Evaluation(name, "", *wanted) for wanted in _WANTED["fig6"]]
    if artefact != "table1" or (optimises and profile == "laptop"):
        return []
    if profile == "laptop":
        return [Evaluation(name, "", "Set11", THREE, images=SUBSETS.get(name, ()))]
    return [Evaluation(name, "", "Set11", FIVE)] + [Evaluation(name, "", "BSD68", FIVE)] * (not optimises)


def plan(names: Iterable[str], profile: str = "laptop", places: Places | None = None) -> Plan:
    """Return everything that artefacts need of a profile, done or not, nothing twice.

    ``laptop`` uses the weights at hand and trains nothing; ``paper`` wants every run of the paper edition.

    Raises:
        UserError: an unknown artefact or profile.
    """
    places = places or Places()
    for name in names:
        if name not in ARTEFACTS:
            raise UserError(f"nothing is called '{name}'{nearest(name, ARTEFACTS)}; known: {', '.join(ARTEFACTS)}, all")
    if profile not in ("laptop", "paper"):
        raise UserError(f"the profile is laptop or paper, not '{profile}'")
    result = Plan()
    for name in names:
        runs = runs_of(name)
        if profile == "laptop":
            runs = [e for e in runs if weights_of(e.id, places).exists()]
        else:
            runs = [e for e in runs if e.edition == "paper"]
            result.training += [e for e in runs if e not in result.training]
        for e in chosen(runs):
            # Whole Urban100 is two thirds of all pixels; a laptop takes it with the network that the book is about.
            lean = profile == "laptop" and e.method != "ista-net-pp"
            result.evaluations += [x for x in of_run(name, e) if not (lean and x.dataset == "Urban100")]
        for method in training_free():
            result.evaluations += of_training_free(name, method, profile)
    result.evaluations = merged(result.evaluations)
    return without(result)


def merged(evaluations: Iterable[Evaluation]) -> list[Evaluation]:
    """Return evaluations that have no row in common: those that differ in their ratios only become one."""
    ratios: dict[Evaluation, set[float]] = {}
    for evaluation in evaluations:
        ratios.setdefault(replace(evaluation, ratios=()), set()).update(evaluation.ratios)
    return [replace(evaluation, ratios=tuple(sorted(own))) for evaluation, own in ratios.items()]


def without(wanted: Plan) -> Plan:
    """Return a plan without what cannot be done here: sets that are not at hand, methods that lack a package."""
    gone = {s.name: s.state for s in datasets.status() if s.state.startswith(("missing", "incomplete"))}
    asked = {e.dataset for e in wanted.evaluations} | {n for e in wanted.training for n in e.training_set.split("+")}
    why = [f"{name} is {gone[name]}: `istapp datasets --download {name}`" for name in gone if name in asked]
    broken = {}
    for name in {e.method for e in wanted.evaluations if not e.run}:
        try:
            methods.get(name)
        except UserError as error:
            broken[name] = f"{name}: {error}"
    return Plan(
        [e for e in wanted.training if not gone.keys() & set(e.training_set.split("+"))],
        [e for e in wanted.evaluations if e.dataset not in gone and (e.run or e.method not in broken)],
        wanted.left_out + why + sorted(broken.values()),
    )  # fmt: skip


def weights_of(run: str, places: Places) -> Path:
    """Return where a run's weights are, or would be: in the folder asked for, else among the shipped ones."""
    own = places.weights_of(run)
    return own if own.exists() else paths.WEIGHTS / own.name


def _further(experiment: Experiment) -> str:
    """Return what makes the training go on of a run that has seen only a part of its pixels."""
    begun = results.trained(experiment.id) and results.edition(experiment.id) == "part"
    return f" --pixels {experiment.recipe.pixels / 1e9:g}e9" if begun else ""


def command(method: str, dataset: str, ratio: float, run: Experiment | None = None, blockwise: bool = False) -> str:
    """Return what makes the rows of a cell that lacks them: of a run, else of the method's default at the paper's size.

    Where no experiment trains the method for that, it says so.
    """
    paper_runs = [e for e in main_runs(method, ratio) if e.edition == "paper"]
    if run or paper_runs:
        e = run or paper_runs[0]
        then = [f"on {dataset}"] * (dataset not in e.tests) + ["block by block"] * blockwise
        return f"istapp train {e.id}{_further(e)}" + (f", then evaluate it {' '.join(then)}" if then else "")
    if method not in training_free():
        return f"no experiment trains {method} for this yet"
    options = f"--dataset {dataset} --ratios {100 * ratio:g} --out data/results/{method}.csv"
    return f"istapp evaluate --method {method} {options}"

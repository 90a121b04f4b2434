"""The figures of ISTA-Net++, drawn from an observed forward pass and from nothing else.

Another K, another C or a switch gives another drawing. What one says can be read back with `written`; chapter 11 proves
that the parameters on it add up and that every shape on an arrow was seen.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from istapp.figures.anatomy import Step
from istapp.figures.plotting import COLOURS
from istapp.methods.ista_net_pp import ISTANetPP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GRAY = *COLOURS[:3], "#595959"
_INCH = 0.45  # of one unit of the drawings
_HALF = 2.6  # half the width of a box
_SIGNS = {"relu": "ReLU", "cat": "$[\\,r_k,\\ \\sigma_k\\mathbf{1}\\,]$", "mul": "$\\times\\ \\rho_k$", "add": "$+$"}


def written(figure: "Figure", what: str) -> list[str]:
    """Return what a drawing says: its texts marked ``parameters`` or ``shape``."""
    return [text.get_text() for axis in figure.axes for text in axis.texts if text.get_gid() == what]


def as_text(shape: Sequence[int]) -> str:
    """Return a shape as it is written on an arrow, ``1×32×66×99``."""
    return "×".join(map(str, shape))


class _Paper:
    """A figure without axes, in units of 0.45 inch, y upwards."""

    def __init__(self, width: float, height: float) -> None:
        import matplotlib.pyplot as plt

        self.figure: Figure = plt.figure(figsize=(width * _INCH, height * _INCH), layout="none")
        self.axis = self.figure.add_axes((0, 0, 1, 1))
        self.axis.set(xlim=(0, width), ylim=(0, height))
        self.axis.set_axis_off()

    def text(self, x: float, y: float, text: str, gid: str = "", colour: str = "black", ha: str = "center") -> None:
        """Write a text at (x, y), in units of the drawing."""
        self.axis.text(x, y, text, gid=gid or None, color=colour, ha=ha, va="center", fontsize=10)

    def part(self, x: float, y: float, title: str, colour: str, count: int = 0, half: float = _HALF) -> None:
        """Draw a box around (x, y) with a title and, at its right, the number of parameters if it has any."""
        from matplotlib.patches import FancyBboxPatch

        shape = {"boxstyle": "round,pad=0,rounding_size=0.12", "fc": colour + "22", "ec": colour, "lw": 1.4}
        self.axis.add_patch(FancyBboxPatch((x - half, y - 0.3), 2 * half, 0.6, **shape))
        self.text(x - half + 0.2 if count else x, y, title, ha="left" if count else "center")
        if count:
            self.text(x + half - 0.2, y, f"{count:,}", "parameters", GRAY, "right")

    def arrow(self, *points: tuple[float, float], colour: str = GRAY) -> None:
        """Draw a line through the points with a head at the last."""
        style = {"arrowstyle": "-|>", "color": colour, "lw": 1.4, "shrinkA": 0, "shrinkB": 0}
        self.axis.plot(*zip(*points[:-1]), color=colour, lw=1.4)
        self.axis.annotate("", points[-1], points[-2], arrowprops=style)

    def flow(self, x: float, y: float, name: str, shape: Sequence[int], length: float = 0.6) -> None:
        """Draw an arrow down from (x, y), its name at the left and its shape at the right."""
        self.arrow((x, y), (x, y - length))
        self.text(x - 0.2, y - 0.28, name, ha="right")
        if shape:
            self.text(x + 0.2, y - 0.28 - 0.1 * (length > 0.6), as_text(shape), "shape", GRAY, "left")

    def cut(self, bottom: float) -> "Figure":
        """End the paper at this height and return its figure."""
        (_, width), (_, top) = self.axis.get_xlim(), self.axis.get_ylim()
        self.axis.set_ylim(bottom, top)
        self.figure.set_size_inches(width * _INCH, (top - bottom) * _INCH)
        return self.figure


def architecture(network: ISTANetPP, steps: Sequence[Step]) -> "Figure":
    """Draw the paper's Fig. 2 from `observe`: sampling, initialisation, K stages in two halves, condition module."""
    outer = [step for step in steps if not step.inside]
    stages = [step for step in outer if step.path.startswith("stages.")]
    sample, start, k = outer[0], next(step for step in outer if step.kind == "adjoint"), len(stages)
    shown = sorted({0, 1, k - 1} & set(range(k)))
    rest = [stage for i, stage in enumerate(stages) if i not in shown]
    paper, x, y = _Paper(12.6, 20), 4.4, 19.9
    for name, shape, title, step in (
        ("$x$", sample.inputs[0], "sampling", sample), ("$y$", sample.output, "initialisation", start)
    ):  # fmt: skip
        paper.flow(x, y, name, shape)
        filters, _, *side = step.kernel
        paper.part(x, y - 0.9, f"{title}: {filters} filters {as_text(side)}", GRAY)
        y -= 1.2
    rail, top, halves = y - 0.3, y - 0.9, []
    for i in shown:
        if rest and i == k - 1:
            paper.flow(x, y, f"$x_{{{shown[-2] + 1}}}$", ())
            paper.part(x, y - 0.9, f"{len(rest)} more stages", GRAY, sum(stage.parameters for stage in rest))
            y -= 1.2
        paper.flow(x, y, f"$x_{{{i}}}$" if i else "", start.output)
        paper.part(x, y - 0.9, "DGDM: gradient step", BLUE)
        paper.arrow((x, rail), (0.9, rail), (0.9, y - 0.9), (x - _HALF, y - 0.9), colour=BLUE)
        paper.flow(x, y - 1.2, f"$r_{{{i + 1}}}$", stages[i].inputs[0])
        paper.part(x, y - 2.1, "DPMM: proximal", ORANGE, stages[i].parameters)
        halves += [(f"\\rho_{{{i + 1}}}", y - 0.9), (f"\\sigma_{{{i + 1}}}", y - 2.1)]
        y -= 2.4
    paper.flow(x, y, f"$x_{{{k}}}$", stages[-1].output)
    paper.text(1.0, rail + 0.3, "$x_0$", colour=BLUE)
    _conditions(paper, network, steps, halves, top)
    return paper.cut(y - 0.7)


def _conditions(
    paper: _Paper, network: ISTANetPP, steps: Sequence[Step], halves: list[tuple[str, float]], top: float
) -> None:
    """Draw the condition module at the right with arrows to what it sets, and what the network learned without it."""
    x, half, count = 10.6, 1.8, len(network.stages)
    module = next((step for step in steps if step.path == "condition"), None)
    mapped = any(step.kind == "cat" for step in steps)
    sets = {"\\rho": module is not None and module.output[1] == count * (1 + mapped), "\\sigma": mapped}
    y = top
    if module is not None:
        paper.text(x, y + 1.6, "CS ratio $\\gamma$")
        paper.flow(x, y + 1.3, "", module.inputs[0])
        paper.text(x, y + 0.4, "condition module")
        for step in (step for step in steps if step.inside == "condition"):
            widths = f": {step.kernel[1]}→{step.kernel[0]}" if step.kernel else ""
            paper.part(x, y - 0.2, f"{step.kind}{widths}", GREEN, step.parameters, half + 0.1)
            y -= 0.7
    own = sum(p.numel() for p in network.parameters(recurse=False))
    if own:
        paper.part(x, y - 0.5, "steps $\\rho_k$", BLUE, own, half + 0.1)
    for name, height in halves:
        if sets[name.partition("_")[0]]:
            paper.arrow((8.3, height), (4.4 + _HALF, height), colour=GREEN)
            paper.text(7.65, height + 0.28, f"${name}$", colour=GREEN)
    ends = [height for name, height in halves if sets[name.partition("_")[0]]]
    if ends:
        paper.axis.plot([8.3, 8.3], [max(ends), min(ends)], color=GREEN, lw=1.4)
        paper.axis.plot([8.3, x - half - 0.1], [y + 0.5] * 2, color=GREEN, lw=1.4)


def stage(steps: Sequence[Step], k: int) -> "Figure":
    """Draw the paper's Fig. 3 from `observe`: all that happens in stage k, gradient step and proximal step.

    Raises:
        ValueError: k is not in 2 ... K; the first stage's gradient step starts from the initialisation.
    """
    if not any(step.path == f"stages.{k - 1}" for step in steps) or k < 2:
        raise ValueError(f"there is no stage {k} with a stage before it")
    last, after = (next(i for i, s in enumerate(steps) if s.path == f"stages.{j}") for j in (k - 2, k - 1))
    blocks = {s.inside for s in steps[last + 1 : after]} - {"", f"stages.{k - 1}"}
    paper, x, y = _Paper(8.7, 40), 4.7, 39.6
    paper.part(x, y, f"$x_{{{k - 1}}}$", GRAY, half=0.6)
    drawn, said, top = {last: y}, (), {}
    for i in range(last + 1, after):
        step, y = steps[i], drawn[i - 1]
        if step.path in blocks:  # all of it is drawn: only the frame is left
            _frame(paper, x, top[step.path], y, step.path.rpartition(".")[2])
            drawn[i] = drawn[i - 1]
            continue
        if step.inside in blocks and step.inside not in top:
            y = top[step.inside] = y - 0.5
        drawn[i], said = _node(paper, x, y, step, drawn, i, k, said), _main_input(step)
    y = drawn[after - 1]
    paper.flow(x, y - 0.3, f"$x_{{{k}}}$", steps[after].output)
    return paper.cut(y - 1)


def _node(paper: _Paper, x: float, y: float, step: Step, drawn: dict[int, float], i: int, k: int, said: tuple) -> float:
    """Draw an arrow down from the part before, and the part itself; the place of its centre is returned."""
    shape = _main_input(step)
    start = drawn[i - 1] - 0.3
    first = step.kind == "cat" or (step.path.endswith(".head") and step.kernel[1] == 1)
    paper.flow(x, start, f"$r_{{{k}}}$" if first else "", shape if shape != said else (), start - y + 0.9)
    y -= 1.2
    filters, *_, height, width = step.kernel or (0, 0, 0)
    colour = BLUE if not step.inside else ORANGE if step.inside.count(".") > 1 else GRAY
    title = _SIGNS.get(step.kind, "").replace("_k", f"_{{{k}}}")
    if step.kind in ("A", "adjoint"):
        title = f"$\\Phi{'^T' * (step.kind == 'adjoint')}$: {filters} filters {height}×{width}"
    elif step.path:
        title = f"{step.path.rpartition('.')[2]}: {height}×{width}, {step.kernel[1]}→{filters}"
    for source in step.sources:
        if source in drawn and source != i - 1:
            fork = drawn[source] - 0.43
            rail = x + _HALF + (0.3 if step.inside.count(".") > 1 else 0.75)
            end = 0.4 if step.kind == "add" else _HALF
            paper.arrow((x, fork), (rail, fork), (rail, y), (x + end, y), colour=colour)
            title = title or f"subtract from $x_{{{k - 1}}}$"
        elif source is not None and source != i - 1:
            paper.arrow((x - _HALF - 0.9, y), (x - _HALF, y), colour=BLUE)
            paper.text(x - _HALF - 1.3, y, "$x_0$", colour=BLUE)
            title = title or "$-\\ x_0$"
    paper.part(x, y, title, colour, step.parameters, 0.4 if step.kind == "add" else _HALF)
    return y


def _main_input(step: Step) -> tuple[int, ...]:
    """Return the shape of what came from the part before."""
    return step.inputs[-1] if step.kind in ("mul", "add") else step.inputs[0]


def _frame(paper: _Paper, x: float, top: float, bottom: float, name: str) -> None:
    """Draw the frame of a residual block around what was drawn between two heights."""
    from matplotlib.patches import Rectangle

    corner, size = (x - _HALF - 0.2, bottom - 0.55), (2 * _HALF + 0.7, top - 0.65 - bottom + 0.55)
    paper.axis.add_patch(Rectangle(corner, *size, fill=False, ec=ORANGE, lw=1.2, ls="--"))
    paper.text(corner[0] - 0.15, (top + bottom) / 2 - 0.5, name, colour=ORANGE, ha="right")

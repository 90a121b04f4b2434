"""The line under a figure says what the figure was made of; charts are SVG, photographs have twice their pixels."""

import base64
import io
import re

import matplotlib
import numpy as np
import pytest
from PIL import Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from istapp.basics import paths
from istapp.figures import display, origin, plotting
from istapp.method import weights

CELLS = [
    "import numpy as np\nROWS = load()",
    "def rows_of(run):\n    return [row for row in ROWS if row == run]",
    "mean = rows_of('a')",  # reads rows
    "net = get('net')",  # reads weights
    "found = {}",
    "for name in ('x', 'y'):\n    found[name] = net(name)",  # changes what another cell has bound
    "plot(mean)",
    "plot(found['x'])",
    "mean = 3",
    "plot(mean)",
]


@pytest.fixture
def notebook() -> origin.Notebook:
    """A notebook whose third cell reads a row, and whose fourth weights."""
    notebook = origin.Notebook()
    for number, source in enumerate(CELLS):
        notebook.begin(source)
        if number == 2:
            row = {"file": "a.csv", "run": "a", "provenance": "abc123 more", "seed": "4"}
            notebook.hear("istapp.rows", ([row],))
        if number == 3:
            notebook.hear("istapp.weights", (str(paths.WEIGHTS / "net.safetensors"),))
    return notebook


def sources(notebook: origin.Notebook, last: int) -> set[int]:
    del notebook.cells[last + 1 :]
    return notebook.sources()


def test_a_figure_is_traced_to_the_cells_that_made_its_names(notebook: origin.Notebook) -> None:
    assert sources(notebook, 9) == {8, 9}, "a name bound anew has nothing to do with what it was before"
    assert sources(notebook, 7) == {3, 4, 5, 7}
    assert sources(notebook, 6) == {0, 1, 2, 6}


def test_the_line_names_rows_commit_weights_and_seed(notebook: origin.Notebook) -> None:
    del notebook.cells[7:]
    line = notebook.line(notebook.behind(), "smoke")
    assert re.search("Stored rows a.csv; commit abc123; seed 4; profile smoke.", line)
    assert "net" not in line


def test_what_reads_no_rows_was_computed_here(notebook: origin.Notebook) -> None:
    del notebook.cells[8:]
    assert "Computed on this page; weights net; profile smoke." in notebook.line(notebook.behind(), "smoke")


@pytest.mark.parametrize("source", ["%%bash\nls", "x = ", "def f(:\n pass"])
def test_what_is_no_python_is_passed_over(source: str) -> None:
    assert origin.understood(source) == origin.Cell()


def test_seeds_and_printed_numbers_are_seen_in_the_source() -> None:
    cell = origin.understood("torch.manual_seed(7)\ns = BlockSampling(0.1, seed=3)\npaper.published(1, 2)")
    assert cell.read.seeds == {"3", "7"} and cell.read.printed
    assert not origin.understood("paper.RATIOS").read.printed


def test_many_names_are_counted_and_unfold() -> None:
    read = origin.Read(rows={(f"{n}.csv", "", f"c{n}", "0") for n in range(5)})
    line = origin.sentence(read, "laptop")
    assert "5 files" in line and "5 commits" in line and line.startswith("<details")
    assert all(f"{n}.csv" in line for n in range(5)), "nothing is kept from a reader"


def test_a_shipped_network_is_named_with_hash_and_seed() -> None:
    path = sorted(paths.WEIGHTS.glob("*laptop*.safetensors"))[0]
    header = weights.header(path)
    line = origin.sentence(origin.Read(weights={path}), "")
    assert path.stem in line and header["weights_hash"][:8] in line and f"training seed {header['seed']}" in line


def test_a_chart_is_svg_in_pixels_of_the_page_and_a_photograph_has_twice_its_pixels() -> None:
    plotting.style()
    chart, axis = plt.subplots(figsize=(4, 2))
    axis.plot([0, 1])
    drawn = display.as_svg(chart)
    assert drawn and display.as_png(chart) is None
    width = re.search(r'<svg [^>]*width="(\d+)"', drawn)
    assert width and abs(int(width[1]) - 4 * display.DPI) < 0.1 * 4 * display.DPI
    photograph = plotting.show_images([np.eye(9)], ["nine"])
    shown = display.as_png(photograph)
    assert shown and display.as_svg(photograph) is None
    picture = Image.open(io.BytesIO(base64.b64decode(shown[0])))
    assert picture.mode == "L" and picture.width // 2 == shown[1]["width"], "gray needs no colours"
    plt.close("all")


def test_labels_move_no_further_than_they_must_and_keep_their_order() -> None:
    assert plotting.spread_out([0, 10, 20], 1) == [0, 10, 20]
    moved = plotting.spread_out([5, 5.5, 0, 5.2], 2)
    assert moved[2] == 0 and np.argsort(moved).tolist() == [2, 0, 3, 1]
    assert np.diff(sorted(moved)).min() >= 2 - 1e-9
    assert np.mean([moved[i] for i in (0, 1, 3)]) == pytest.approx(np.mean([5, 5.5, 5.2]))


@pytest.mark.parametrize("end, way", [(1.05, 1), (0.95, -1), (3, 0)])
def test_words_at_the_end_of_a_line_keep_out_of_one_that_goes_on(end: float, way: int) -> None:
    figure, axis = plt.subplots()
    axis.set_ylim(0, 4)
    axis.plot([0, 1], [1, end], label="short")
    axis.plot([0, 2], [1, 1], label="long")
    plotting.label_ends(axis)
    short, long = axis.texts
    figure.canvas.draw()
    heights = [float(text.xyann[1]) for text in (short, long)]  # in points, from the line's own end
    assert np.sign(heights[0]) == way and heights[1] == 0
    plt.close(figure)


def test_one_colour_belongs_to_one_method() -> None:
    assert len(set(plotting.METHODS.values())) == len(plotting.METHODS)
    assert plotting.method_look("dip")["color"] == plotting.GRAY
    assert plotting.ratio_look(0.3) == plotting.ratio_look(30)


def test_a_label_that_begins_with_a_method_gets_its_look() -> None:
    assert plotting.look_of("ISTA-Net++ (laptop)") == plotting.method_look("ista-net-pp")
    assert plotting.look_of("ISTA-Net+") == plotting.method_look("ista-net-plus")
    assert plotting.look_of("ISTA, best of all") == plotting.method_look("ista")
    assert plotting.look_of("linearised") == plotting.look_of("JPEG") == {}


def test_curves_keep_the_colours_of_methods_for_them() -> None:
    axis = plotting.curves({"JPEG": [1, 2], "ISTA-Net++": [2, 3], "other": [3, 4]})
    colours = [line.get_color() for line in axis.get_lines()]
    assert colours[1] == plotting.METHODS["ista-net-pp"][0] and len(set(colours)) == 3
    plt.close("all")

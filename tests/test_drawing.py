"""Drawings of ISTA-Net++: what is observed is what happens, and what is drawn adds up for every size and switch."""

import matplotlib.pyplot as plt
import pytest
import torch

from istapp.figures import drawing, plotting
from istapp.figures.anatomy import observe
from istapp.methods.ista_net_plus import ISTANetPlus
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.sampling import BlockSampling

SAMPLING = BlockSampling(0.1)
IMAGE = torch.rand(1, 1, 66, 99, generator=torch.Generator().manual_seed(0))
VARIANTS = [(3, 4, True, True), (4, 8, True, False), (5, 4, False, True), (2, 4, False, False), (1, 4, True, True)]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def drawn(figure, what="parameters"):
    texts = drawing.written(figure, what)
    return [int(text.replace(",", "")) for text in texts] if what == "parameters" else texts


@pytest.mark.parametrize("arguments", VARIANTS)
def test_the_parameters_on_the_architecture_add_up(arguments):
    network = ISTANetPP(*arguments)
    figure = drawing.architecture(network, observe(network, IMAGE, SAMPLING))
    assert sum(drawn(figure)) == network.parameter_count


@pytest.mark.parametrize("arguments", VARIANTS[:4])
def test_the_parameters_on_a_stage_add_up_and_every_shape_was_seen(arguments):
    network = ISTANetPP(*arguments)
    steps = observe(network, IMAGE, SAMPLING)
    figure = drawing.stage(steps, 2)
    assert sum(drawn(figure)) == sum(p.numel() for p in network.stages[1].parameters())
    seen = {drawing.as_text(shape) for step in steps for shape in (*step.inputs, step.output)}
    shapes = drawn(figure, "shape")
    assert set(shapes) <= seen and {"1×109×2×3", f"1×{arguments[1]}×66×99"} <= set(shapes)
    assert ("1×2×66×99" in shapes) == arguments[3]


def test_a_stage_before_the_second_is_refused():
    steps = observe(ISTANetPP(2, 4), IMAGE, SAMPLING)
    for k in (0, 1, 3):
        with pytest.raises(ValueError, match="stage"):
            drawing.stage(steps, k)


def test_observation_changes_nothing_and_leaves_nothing_behind():
    network = ISTANetPP(2, 4).requires_grad_(False)
    before = network(SAMPLING.A(IMAGE), SAMPLING)
    observe(network, IMAGE, SAMPLING)
    assert torch.equal(network(SAMPLING.A(IMAGE), SAMPLING), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert "A" not in vars(SAMPLING) and "adjoint" not in vars(SAMPLING)


def test_the_long_skip_and_the_short_ones_are_seen_as_what_they_are():
    steps = observe(ISTANetPP(2, 4), IMAGE, SAMPLING)
    where = {step.path: i for i, step in enumerate(steps) if step.path}
    adds = [step for step in steps if step.kind == "add"]
    assert [step.inside for step in adds[:3]] == ["stages.0.block1", "stages.0.block2", "stages.0"]
    assert where["stages.0.head"] in adds[0].sources and where["stages.0.block1"] in adds[1].sources
    gradient_step = next(i for i, step in enumerate(steps) if step.kind == "cat") - 1
    assert gradient_step in adds[2].sources and steps[gradient_step].kind == "sub"


def test_another_network_can_be_observed():
    network = ISTANetPlus(stages=2, channels=4, ratio=0.1)
    steps = observe(network, IMAGE, SAMPLING)
    kinds = [step.kind for step in steps]
    assert kinds.count("A") == 1 + 2 and kinds.count("adjoint") == 2  # x is measured, and in every stage


def test_an_enlarged_square_shows_its_pixels_in_the_opposite_corner():
    image = torch.rand(1, 1, 40, 60)
    figure = plotting.show_images([image], ["noise"], box=(28, 45, 10))
    (axis,) = figure.axes
    (inset,) = axis.child_axes
    assert torch.allclose(torch.as_tensor(inset.images[0].get_array()).float(), image[0, 0, 28:38, 45:55])
    figure.canvas.draw()
    inner, outer = inset.get_position(), axis.get_position()
    assert inner.x0 == pytest.approx(outer.x0, abs=1e-3) and inner.y1 == pytest.approx(outer.y1, abs=1e-3)

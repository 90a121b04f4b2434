"""ISTA-Net++ as ONNX graphs, node by node: what the page "A network in your browser" runs.

One graph for each step of chapters 01 and 04, so that a page can show the image after every stage and cut a large one
into tiles. Images are (1, 1, H, W) float32 of whole blocks, Phi is (m, 1089, 1, 1), the kernel of a convolution:

    sample      x, phi -> y                 measurements (1, m, H/33, W/33), Eq. 4
    adjoint     y, phi -> x                 back-projection, Eq. 5; with Q^T for phi it is the linear estimate
    condition   ratio -> rho, sigma         the condition module, (1, 1) -> (1, K) twice, Eq. 8
    gradient    x, x0, phi, rho -> r        the gradient descent step, Eq. 6
    proximal    r, sigma, stage -> x        the proximal mapping of stage 0 ... K-1, any H and W, Eq. 7
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from istapp.methods.ista_net_pp import ConditionModule, ISTANetPP
from istapp.sampling import BLOCK

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

OPSET = 17  # what onnxruntime has read since 2022
_IMAGE = [1, 1, "H", "W"]
_PHI = ["m", BLOCK**2, 1, 1]


def graphs(network: ISTANetPP) -> dict[str, bytes]:
    """Return the five graphs by name, each as the bytes of an ONNX file.

    Raises:
        ValueError: a network whose steps or noise levels do not come from the condition module (Table 4, b to d).
    """
    if not (network.config["dynamic_step"] and network.config["noise_map"] and network.condition):
        raise ValueError(f"the graphs are those of the whole network, not of {network.config}")
    return {
        "sample": _model(_sample("x", "y"), {"x": _IMAGE, "phi": _PHI}, {"y": [1, "m", "h", "w"]}),
        "adjoint": _model(_adjoint("y", "x"), {"y": [1, "m", "h", "w"], "phi": _PHI}, {"x": _IMAGE}),
        "condition": _condition(network.condition, network.config["stages"]),
        "gradient": _gradient(),
        "proximal": _proximal(network),
    }


def _node(kind: str, inputs: str, output: str, **attributes: Any) -> "NodeProto":
    from onnx import helper

    return helper.make_node(kind, inputs.split(), output.split(), **attributes)


def _model(
    nodes: "list[NodeProto]",
    inputs: dict[str, list],
    outputs: dict[str, list],
    constants: "list[TensorProto] | None" = None,
    integers: tuple[str, ...] = (),
) -> bytes:
    """Return a checked model; a dimension that is a word may have any length."""
    import onnx
    from onnx import TensorProto, helper

    def values(shapes: dict[str, list]) -> list:
        """Describe inputs or outputs by name and shape."""
        kinds = {name: TensorProto.INT64 if name in integers else TensorProto.FLOAT for name in shapes}
        return [helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in shapes.items()]

    graph: GraphProto = helper.make_graph(nodes, "istapp", values(inputs), values(outputs), constants or [])
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="istapp")
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _constant(name: str, values: object) -> "TensorProto":
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values), name)


def _sample(x: str, y: str) -> "list[NodeProto]":
    """Sampling: each block's pixels become channels, which Phi multiplies at every place."""
    return [_node("SpaceToDepth", x, f"{x}_blocks", blocksize=BLOCK), _node("Conv", f"{x}_blocks phi", y)]


def _adjoint(y: str, x: str) -> "list[NodeProto]":
    """The adjoint: a transposed convolution with the same kernel, and channels become pixels again."""
    return [_node("ConvTranspose", f"{y} phi", f"{x}_blocks"), _node("DepthToSpace", f"{x}_blocks", x, blocksize=BLOCK)]


def _gradient() -> bytes:
    nodes = [
        *_sample("x", "y"),
        *_adjoint("y", "normal"),
        _node("Sub", "normal x0", "residual"),
        _node("Mul", "rho residual", "step"),
        _node("Sub", "x step", "r"),
    ]
    return _model(nodes, {"x": _IMAGE, "x0": _IMAGE, "phi": _PHI, "rho": []}, {"r": _IMAGE})


def _condition(module: ConditionModule, stages: int) -> bytes:
    tensors = {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}
    nodes = [
        _node("Gemm", "ratio 0.weight 0.bias", "a", transB=1),
        _node("Relu", "a", "b"),
        _node("Gemm", "b 2.weight 2.bias", "c", transB=1),
        _node("Relu", "c", "d"),
        _node("Gemm", "d 4.weight 4.bias", "e", transB=1),
        _node("Softplus", "e", "f"),
        _node("Split", "f halves", "rho sigma", axis=1),
    ]
    constants = [_constant(name, values) for name, values in tensors.items()]
    constants.append(_constant("halves", [stages, stages]))
    return _model(nodes, {"ratio": [1, 1]}, {"rho": [1, stages], "sigma": [1, stages]}, constants)


def _convolution(name: str, x: str, y: str) -> "list[NodeProto]":
    """One 3 x 3 convolution of the stage that is asked for."""
    picked = [_node("Gather", f"{name}.{part} stage", f"{name}.{part}.k") for part in ("weight", "bias")]
    return [*picked, _node("Conv", f"{x} {name}.weight.k {name}.bias.k", y, pads=[1, 1, 1, 1])]


def _block(name: str, x: str, y: str) -> "list[NodeProto]":
    """A residual block: convolution, ReLU, convolution, plus its input."""
    return [
        *_convolution(f"{name}.conv1", x, f"{name}.a"),
        _node("Relu", f"{name}.a", f"{name}.b"),
        *_convolution(f"{name}.conv2", f"{name}.b", f"{name}.c"),
        _node("Add", f"{x} {name}.c", y),
    ]


def _proximal(network: ISTANetPP) -> bytes:
    """All stages share one graph: their weights are stacked, (K, ...), and `stage` picks."""
    of_a_stage = [dict(stage.state_dict()) for stage in network.stages]
    stacked = {name: np.stack([tensors[name].numpy() for tensors in of_a_stage]) for name in of_a_stage[0]}
    nodes = [
        _node("Shape", "r", "size"),
        _node("Expand", "sigma size", "level"),
        _node("Concat", "r level", "seen", axis=1),
        *_convolution("head", "seen", "features"),
        *_block("block1", "features", "features1"),
        *_block("block2", "features1", "features2"),
        *_convolution("tail", "features2", "change"),
        _node("Add", "r change", "x"),
    ]
    constants = [_constant(name, values) for name, values in stacked.items()]
    return _model(nodes, {"r": _IMAGE, "sigma": [], "stage": []}, {"x": _IMAGE}, constants, integers=("stage",))

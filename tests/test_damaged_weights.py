"""Weight files that are damaged, made to do harm, or saved by another trainer: one line each, or they load."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import refused
from safetensors.torch import save_file

from istapp import methods
from istapp.basics.errors import UserError
from istapp.images import packs
from istapp.method import loading, weights
from istapp.methods.ista_net_plus import ISTANetPlus
from istapp.methods.ista_net_pp import ISTANetPP

NETWORK = ISTANetPP(2, 4)
CONFIG = {"stages": 2, "channels": 4}


def ours(path: Path, header: object) -> Path:
    """Write small good tensors under any header, as text or to be made JSON of."""
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(NETWORK.state_dict(), path, metadata={"istapp": text})
    return path


DAMAGED_HEADERS = {
    "not JSON": "{",
    "nested": "[" * 100_000,
    "a list": [],
    "null": None,
    "a number": 3,
    "digits": '{"method": "ista-net-pp", "parameters": ' + "9" * 5000 + "}",
    "no config": {"method": "ista-net-pp"},
    "config is a list": {"method": "ista-net-pp", "config": [1]},
    "config is null": {"method": "ista-net-pp", "config": None},
    "method is a number": {"method": 3, "config": CONFIG},
    "parameters are text": {"method": "ista-net-pp", "config": CONFIG, "parameters": "many"},
}
DAMAGED_CONFIGS = {
    "negative": {"stages": -1},
    "none": {"stages": 0},
    "deep": {"stages": 10**5},
    "deeper": {"stages": 10**30},
    "wide": {"channels": 10**6},
    "text": {"channels": "4"},
    "a fraction": {"channels": 4.5},
    "infinite": {"channels": float("inf")},
    "a list": {"channels": [4]},
    "a longer list": {"channels": [4] * 10**4},
    "nested": {"channels": {"a": 1}},
    "unknown": {"colour": 1},
    "another": {"channels": 1024, "stages": 1024},
}


@pytest.mark.parametrize("name", DAMAGED_HEADERS)
def test_a_damaged_header_is_refused(name: str, tmp_path: Path) -> None:
    path = ours(tmp_path / "w.safetensors", DAMAGED_HEADERS[name])
    refused(lambda: methods.get("ista-net-pp", weights=path), "w.safetensors")


@pytest.mark.parametrize(("key", "value"), [
    ("pixels", "many"), ("pixels", float("nan")), ("pixels", -1), ("steps", 1.5), ("minutes", float("inf")),
    ("device", 3), ("weights_hash", None), ("machines", 3), ("machines", [3]), ("machines", [{"minutes": "x"}]),
])  # fmt: skip
def test_what_a_header_says_of_a_training_is_believed_only_where_it_can_be(
    key: str, value: object, tmp_path: Path
) -> None:
    path = ours(tmp_path / "w.safetensors", {"method": "ista-net-pp", "config": CONFIG, key: value})
    refused(lambda: weights.header(path), "w.safetensors")


def test_a_header_that_says_nothing_of_a_training_tells_of_no_machine() -> None:
    assert weights.machines({}) == [{"device": "unknown", "steps": 0, "pixels": 0, "minutes": 0.0}]
    assert weights.where({"machines": [{"device": "x"}]}) == "0 min on x"


@pytest.mark.parametrize("name", DAMAGED_CONFIGS)
def test_nothing_is_allocated_before_a_header_is_believed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ours(tmp_path / "w.safetensors", {"method": "ista-net-pp", "config": CONFIG | DAMAGED_CONFIGS[name]})
    allocated = []

    def watched(layer: torch.nn.Conv2d) -> None:
        if not layer.weight.is_meta:
            allocated.append(layer)
            raise MemoryError("enough")

    monkeypatch.setattr(torch.nn.Conv2d, "reset_parameters", watched)
    refused(lambda: methods.get("ista-net-pp", weights=path), "w.safetensors")
    assert not allocated


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    tensors = {name: tensor.clone() for name, tensor in NETWORK.state_dict().items()}
    tensors["stages.1.tail.bias"].fill_(value)
    header = {"method": "ista-net-pp", "config": CONFIG}
    with pytest.raises(UserError, match="not finite, in 'stages.1.tail.bias'"):
        weights.save(tmp_path / "w.safetensors", tensors, header)  # so another program must have written it
    save_file(tensors, tmp_path / "w.safetensors", metadata={"istapp": json.dumps(header)})
    torch.save(tensors, tmp_path / "w.pkl")
    for file in ("w.safetensors", "w.pkl"):
        refused(partial(methods.get, "ista-net-pp", weights=tmp_path / file), "not finite", "stages.1.tail.bias")


WRAPPINGS: dict[str, Callable[[dict], object]] = {
    "plain": lambda tensors: tensors,
    "state_dict": lambda tensors: {"state_dict": tensors, "epoch": 3},
    "model": lambda tensors: {"model": tensors},
    "parallel": lambda tensors: {f"module.{name}": t for name, t in tensors.items()},
    "compiled": lambda tensors: {f"_orig_mod.{name}": t for name, t in tensors.items()},
    "both": lambda tensors: {f"module._orig_mod.{name}": t for name, t in tensors.items()},
    "both, turned": lambda tensors: {"state_dict": {f"_orig_mod.module.{name}": t for name, t in tensors.items()}},
    "half": lambda tensors: {name: t.half() for name, t in tensors.items()},
    "with numbers": lambda tensors: {"state_dict": tensors, "loss": 0.5, "name": "a", "steps": [1, 2]},
}


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".pt", ".PTH"])
@pytest.mark.parametrize("name", WRAPPINGS)
def test_what_other_trainers_save_is_loaded(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    torch.save(WRAPPINGS[name](NETWORK.state_dict()), path)
    loaded = methods.get("ista-net-pp", weights=path)
    for ours_, theirs in zip(NETWORK.parameters(), loaded.parameters()):
        torch.testing.assert_close(ours_, theirs, atol=1e-3, rtol=0)


def test_what_is_more_than_tensors_is_told_how_to_save(tmp_path: Path) -> None:
    for content in (
        {**NETWORK.state_dict(), "psnr": np.float64(31.2)},
        {"state_dict": NETWORK.state_dict(), "best": np.float32(1)},
        {**NETWORK.state_dict(), "epoch": 3},
    ):
        torch.save(content, tmp_path / "w.pth")
        refused(lambda: methods.get("ista-net-pp", weights=tmp_path / "w.pth"), "torch.save(network.state_dict()")


@pytest.mark.parametrize(
    "tensors",
    [
        {"fcs.999999999.head_conv.weight": torch.zeros(4, 2, 3, 3)},
        {"fcs.0.head_conv.weight": torch.zeros(4, 2, 3, 3), "fcs.999999999.x": torch.zeros(1)},
        {"fcs.0.head_conv.weight": torch.zeros(4, 2, 3, 3), "fcs.q": torch.zeros(1)},
        {"fcs.0.head_conv.weight": torch.tensor(1.0)},
        {"fcs.0.head_conv.weight": torch.zeros(0)},
        {"fcs.0.conv_D": torch.zeros(4, 1, 3, 3), "fcs.q": torch.zeros(1)},
        {"fcs.0.conv_D": torch.zeros(4, 1, 3, 3), "fcs.999999999.soft_thr": torch.zeros(1)},
        {"fcs.0.conv_D": torch.tensor(1.0)},
        {"fcs.0.conv_D": torch.zeros(4, 1, 3, 3), "fcs": torch.zeros(1)},
        {},
    ],
    ids=lambda tensors: " ".join(tensors) or "empty",
)
def test_names_in_official_files_that_are_none(tensors: dict, tmp_path: Path) -> None:
    path = tmp_path / "ratio_10.pkl"
    torch.save(tensors, path)
    for name in ("ista-net-pp", "ista-net-plus"):
        refused(partial(methods.get, name, weights=path), "ratio_10.pkl")


def _official(folder: Path) -> Path:
    """Write an official ISTA-Net+ of one stage in a folder, with its two matrices beside it."""
    scipy = pytest.importorskip("scipy.io")
    from istapp.methods.ista_net_plus import _NAMES

    (folder / "weights").mkdir(parents=True)
    (folder / "sampling").mkdir()
    theirs = {ours_: name for name, ours_ in _NAMES.items()}
    tensors = ISTANetPlus(1, 4, 0.01).state_dict()
    renamed = {f"fcs.0.{theirs[name.removeprefix('stages.0.')]}": tensor for name, tensor in tensors.items()}
    torch.save(renamed, folder / "weights" / "ratio_1.pkl")
    phi = np.random.default_rng(0).normal(size=(10, 1089))
    scipy.savemat(folder / "sampling" / "phi_0_1_1089.mat", {"phi": phi})
    scipy.savemat(folder / "sampling" / "Initialization_Matrix_1.mat", {"Qinit": phi.T})
    return folder / "weights" / "ratio_1.pkl"


def test_official_matrices_that_are_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISTAPP_OFFICIAL", raising=False)
    path = _official(tmp_path)
    assert methods.get("ista-net-plus", weights=path).ratios == (0.01,)
    from scipy.io import savemat

    matrix = tmp_path / "sampling" / "phi_0_1_1089.mat"
    good = matrix.read_bytes()
    newer = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + good[128:]
    for damage in (b"", good[:100], good[:-500], newer, b"x" * 999):
        matrix.write_bytes(damage)
        refused(lambda: methods.get("ista-net-plus", weights=path), "phi_0_1_1089.mat")
    for wrong in (np.zeros((10, 1088)), np.zeros((11, 1089)), np.zeros((2, 2, 2)), np.full((10, 1089), np.nan), "text"):
        savemat(matrix, {"phi": wrong})
        refused(lambda: methods.get("ista-net-plus", weights=path))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of the same small network in both kinds of file."""
    folder = tmp_path_factory.mktemp("sound")
    weights.save(folder / "w.safetensors", NETWORK.state_dict(), {"method": "ista-net-pp", "config": CONFIG})
    torch.save(NETWORK.state_dict(), folder / "w.pkl")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@given(data=st.data())
def test_flipped_and_cut_files_load_or_are_refused(
    data: st.DataObject, sound: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = data.draw(st.sampled_from(sorted(sound)))
    content = bytearray(sound[name])
    # Most flips in the first bytes, where names, shapes and offsets are.
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 2000), st.integers(0, len(content) - 1)))
        content[at % len(content)] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    try:
        assert methods.get("ista-net-pp", weights=path).config["stages"] == 2
    except UserError as error:
        assert name in str(error)


def test_what_is_remembered_is_no_tensor_without_memory() -> None:
    """ReconNet starts from the linear estimate, whose second moment is kept: it is built to be looked at, too."""
    from istapp.methods.linear import _read, second_moment
    from istapp.methods.reconnet import ReconNet

    _read.cache_clear()
    network = ReconNet(0.01, linear_start=True)
    _read.cache_clear()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    loading.believed(ReconNet, network.config, shapes, "x")
    assert second_moment().device.type == "cpu" and second_moment().abs().sum() > 0


@pytest.mark.parametrize(
    "header",
    [
        "{", "[" * 10**5, "[]", "null", "{}", '{"a": 3}', '{"a": {}}', '{"a": {"images": 3, "hash": ""}}',
        '{"a": {"images": [["i", -1, 4]], "hash": ""}}', '{"a": {"images": [["i", 2, 2]]}}',
        '{"a": {"images": [["i", 1e99, 4]], "hash": ""}}', '{"a": {"images": [["i", 2, 2]], "hash": "x"}}',
        '{"b": {"images": [["i", 2, 2]], "hash": ""}}', '{"a": {"images": [["i", 9999999999, 9999999999]], "hash": 1}}',
    ],
)  # fmt: skip
def test_a_damaged_pack_of_images_is_refused(header: str, tmp_path: Path) -> None:
    path = tmp_path / "pack.safetensors"
    save_file({"a": torch.zeros(4, dtype=torch.uint8)}, path, {"istapp.images": header})
    refused(lambda: packs.read_pack(path), "pack.safetensors")

"""Rows are known by what they were made of, no reader trusts a file, no writer loses a row, and nothing is infinite."""

import ast
import importlib
import json
import math
import multiprocessing
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file, save_file

from istapp import methods
from istapp.__main__ import main
from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.experiments import identity
from istapp.experiments.evaluation import evaluate, label_of, reconstruct
from istapp.experiments.identity import code_key, weights_key
from istapp.experiments.rows import COLUMNS, FORMER_COLUMNS, put, read_rows
from istapp.images.datasets import Image
from istapp.method import weights
from istapp.methods import Method
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.metrics import psnr, ssim
from istapp.sampling import BlockSampling

LINE = "linear,val,img,30,0,21.5,0.7122,0.127,,,abc"


class Scaled(Method):
    """Back-projection times a number."""

    name = "scaled"

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self._calls = scale, 0

    def __call__(self, y: torch.Tensor, sampling: BlockSampling) -> torch.Tensor:
        self._calls += 1
        return self.scale * sampling.adjoint(y)


def gray(seed: int, side: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(gray(seed)).save(path)
    return path


def evaluated(capsys: pytest.CaptureFixture, dataset: object, out: Path, *more: object, method: str = "linear") -> str:
    """Run `istapp evaluate` at 30 %, expect success, and return what it prints."""
    arguments = ["evaluate", "--method", method, "--dataset", dataset, "--ratios", "30", "--out", out, *more]
    assert main([str(a) for a in arguments]) == 0
    return capsys.readouterr().out


def alone(dataset: object) -> str:
    """Return the PSNR of the one image of a set, taken without any file, as rows have it."""
    return f"{evaluate(methods.get('linear'), str(dataset), [0.3])[0]['psnr']:.4f}"


# What a row was made of ------------------------------------------------------------------------------------------


def test_two_folders_of_one_name_do_not_share_rows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    a, b = picture(tmp_path / "A" / "val" / "x.png", 1).parent, picture(tmp_path / "B" / "val" / "x.png", 2).parent
    assert alone(a) != alone(b)
    assert "again" not in evaluated(capsys, a, tmp_path / "r.csv")
    said = evaluated(capsys, b, tmp_path / "r.csv")
    assert "r.csv: computed again and replaced: 1 row with other pixels" in said
    assert [row["psnr"] for row in read_rows(tmp_path / "r.csv")] == [alone(b)]


def test_pixels_that_change_in_place_are_computed_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, out = picture(tmp_path / "val" / "x.png", 1).parent, tmp_path / "r.csv"
    evaluated(capsys, folder, out)
    before = out.read_bytes()
    assert "again" not in evaluated(capsys, folder, out) and out.read_bytes() == before
    picture(folder / "x.png", 2)
    assert "other pixels" in evaluated(capsys, folder, out)
    assert read_rows(out)[0]["psnr"] == alone(folder)


def test_another_weights_file_of_the_same_name_is_another_method(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, out = picture(tmp_path / "val" / "x.png", 1).parent, tmp_path / "r.csv"
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = ISTANetPP(1, 2)
        header = {"method": network.name, "config": network.config}
        weights.save(tmp_path / "my.safetensors", network.state_dict(), header)
        said = evaluated(capsys, folder, out, "--weights", tmp_path / "my.safetensors", method="ista-net-pp")
        assert ("other weights" in said) == (seed == 2)
    fresh = evaluate(methods.get("ista-net-pp", weights=tmp_path / "my.safetensors"), str(folder), [0.3])[0]
    (row,) = read_rows(out)
    assert row["psnr"] == f"{fresh['psnr']:.4f}" and row["weights"] == weights_key(network, 0.3)


def test_two_images_of_one_name_have_a_row_each(tmp_path: Path) -> None:
    images = [Image("twin", torch.from_numpy(gray(n))) for n in (1, 2)]
    out = tmp_path / "r.csv"
    both = evaluate(methods.get("linear"), images, [0.3], out=out)
    single = [evaluate(methods.get("linear"), [image], [0.3])[0]["psnr"] for image in images]
    assert [row["psnr"] for row in both] == single and single[0] != single[1]
    assert [float(row["psnr"]) for row in read_rows(out)] == single
    again = evaluate(methods.get("linear"), images[::-1], [0.3], out=out)
    assert [row["psnr"] for row in again] == single[::-1] and len(read_rows(out)) == 2


def test_an_option_that_rounds_to_the_same_name_is_another_row(tmp_path: Path) -> None:
    image, out = Image("x", torch.from_numpy(gray(1))), tmp_path / "r.csv"
    found = [evaluate(Scaled(scale), [image], [0.3], out=out)[0]["psnr"] for scale in (1.0, 0.5, 0.5)]
    assert found[0] != found[1] == found[2] and len(read_rows(out)) == 1


@pytest.mark.parametrize("name", ["linear", "fista", "ista-net-pp", "ista-net-plus", "reconnet"])
def test_a_call_changes_no_key(name: str) -> None:
    method = methods.get(name)
    ratio = method.ratios[0] if method.ratios else 0.1
    keys = weights_key(method, ratio), code_key(method, reconstruct)
    if name != "fista":
        reconstruct(method, Image("x", torch.from_numpy(gray(1))).luma(), method.sampling(ratio))
    assert (weights_key(method, ratio), code_key(method, reconstruct)) == keys and all(keys[1:])


def test_the_key_of_shipped_weights_is_that_of_their_header() -> None:
    for path in sorted(paths.WEIGHTS.glob("*-laptop*.safetensors")):
        header = weights.header(path)
        method = methods.get(header["method"], weights=path)
        assert weights_key(method, header["ratios"][0]) == header["weights_hash"][: identity.DIGITS]


CODE = '''"""A method."""
import torch
from neighbour import times
from istapp.methods import Method


class Mine(Method):
    """Of my own."""

    name = "mine"

    def __call__(self, y, sampling):
        """Back-project."""
        return times(sampling.adjoint(y))  # a comment
'''


def key_of(folder: Path, code: str, neighbour: str) -> str:
    """Return the key of a method's code as a process finds it that has not seen it before."""
    (folder / "mine.py").write_text(code)
    (folder / "neighbour.py").write_text(neighbour)
    for name in ("mine", "neighbour"):
        sys.modules.pop(name, None)
    for cached in (identity._tree, identity._module_key, identity._file):
        cached.cache_clear()
    return code_key(importlib.import_module("mine").Mine())


def test_the_code_key_hangs_on_code_and_not_on_its_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    times = "def times(x):\n    return 0.5 * x\n"
    first = key_of(tmp_path, CODE, times)
    looks = CODE.replace("# a comment", "").replace("Back-project.", "Otherwise said.\n\n        At length.\n        ")
    assert first and key_of(tmp_path, looks, f"# half\n{times}\n") == first
    assert key_of(tmp_path, CODE, times.replace("0.5", "0.6")) != first
    assert key_of(tmp_path, CODE.replace("times(sampling", "(sampling"), times) != first


def test_the_code_key_reaches_what_a_method_imports() -> None:
    reached = identity._closure(["istapp.methods.ista_net_plus"], set())
    assert {"istapp.methods.ista_net", "istapp.methods.linear", "istapp.solvers.priors", "istapp.sampling"} <= reached
    idle = {"istapp.basics.errors", "istapp.basics.paths", "istapp.methods.tv", "istapp.experiments.evaluation"}
    assert not reached & idle
    assert len({code_key(methods.get(name)) for name in ("tv", "ista", "fista", "linear")}) == 4


def test_the_key_of_a_tree_is_the_same_in_every_python() -> None:
    tree = ast.parse('"""Doc."""\ndef f(x: int = 3) -> str:\n    "doc"\n    return f"{x!r:>{x}}" + u"a"  # c\n')
    assert identity._tree_key(tree) == "18ae85e471d868d01b0efb825ef5f4ee9ee2225cf16faa1db18c8590ac5f9008"


def test_a_class_without_a_source_is_always_computed_anew(tmp_path: Path) -> None:
    kind = type("Typed", (Scaled,), {"__module__": "no_such_module"})
    assert code_key(kind()) == ""
    image, method = Image("x", torch.from_numpy(gray(1))), kind()
    for _ in range(2):
        evaluate(method, [image], [0.3], out=tmp_path / "r.csv")
    assert method._calls == 2 and len(read_rows(tmp_path / "r.csv")) == 1


# What a row is called --------------------------------------------------------------------------------------------


def test_a_folder_never_bears_the_name_of_a_registered_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "Set11" / "house.png", 1)
    (row,) = evaluate(methods.get("linear"), tmp_path / "Set11", [0.3])
    assert row["dataset"] == "folder Set11" and label_of("Set11") == "Set11"
    assert label_of(tmp_path / "Set11 (house)") == "folder Set11 (house)" and label_of(tmp_path / "val/") == "val"
    monkeypatch.chdir(tmp_path / "Set11")
    assert label_of(".") == "folder Set11" and label_of("..") == tmp_path.name and label_of("/") == "images"


def test_a_file_name_that_is_no_text_is_escaped(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = picture(tmp_path / "val" / "x.png", 1).parent
    try:
        os.rename(folder / "x.png", os.fsencode(folder) + b"/Gr\xf6\xdfe.png")
    except OSError:
        pytest.skip("this file system has no such names")
    evaluated(capsys, folder, tmp_path / "r.csv")
    assert [row["image"] for row in read_rows(tmp_path / "r.csv")] == [r"Gr\xf6\xdfe"]
    evaluate(methods.get("linear"), folder, [0.1], out=tmp_path / "named.csv", run="latin-\udce9")
    assert [row["run"] for row in read_rows(tmp_path / "named.csv")] == [r"latin-\udce9"]


# The file ----------------------------------------------------------------------------------------------------------


def test_rows_without_an_identity_are_read_and_taken_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, out = picture(tmp_path / "val" / "img.png", 1).parent, tmp_path / "r.csv"
    out.write_text(f"{','.join(FORMER_COLUMNS)}\n{LINE}\n{LINE.replace('img', 'other')}\n")
    assert [row["pixels"] + row["weights"] + row["code"] for row in read_rows(out)] == ["", ""]
    assert "that it does not tell" in evaluated(capsys, folder, out)
    mine, other = read_rows(out)
    assert tuple(mine) == COLUMNS and mine["pixels"] and mine["psnr"] == alone(folder)
    assert (other["image"], other["psnr"], other["pixels"]) == ("other", "21.5", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (LINE.replace("21.5", ""), "line 3: psnr is ''"),
        (LINE.replace("21.5", "nan"), "line 3: psnr is 'nan'"),
        (LINE.replace("21.5", "-inf"), "line 3: psnr is '-inf'"),
        (LINE.replace("21.5", "high"), "line 3: psnr is 'high'"),
        (LINE.replace("0.7122", "nan"), "line 3: ssim is 'nan'"),
        (LINE.replace("0.127", "inf"), "line 3: seconds is 'inf'"),
        (LINE[:30], "line 3 has 7 of 11 columns"),
        (LINE + ",more", "line 3 has 12 of 11 columns"),
        ("linear,\0", "r.csv"),
    ],
)
def test_a_damaged_file_is_one_line(line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "r.csv"
    out.write_text(f"{','.join(FORMER_COLUMNS)}\n{LINE}\n{line}\n")
    before = out.read_bytes()
    picture(tmp_path / "val" / "img.png", 1)
    arguments = ["evaluate", "--method", "linear", "--dataset", tmp_path / "val", "--ratios", "30", "--out", out]
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and out.read_bytes() == before
    with pytest.raises(UserError):
        read_rows(out)


def test_infinity_is_the_psnr_of_equal_images_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    black = torch.zeros(1, 1, 40, 40)
    assert psnr(black, black) == math.inf
    for bad in (math.nan, math.inf, -math.inf):
        estimate = black.clone()
        estimate[0, 0, 3, 3] = bad
        assert math.isnan(psnr(estimate, black)) and math.isnan(ssim(estimate, black))
        assert math.isnan(psnr(black, estimate))
    (tmp_path / "val").mkdir()
    PIL.Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "val" / "black.png")
    picture(tmp_path / "val" / "x.png", 1)
    said = evaluated(capsys, tmp_path / "val", tmp_path / "r.csv")
    assert "1 recovered exactly, not in the mean" in said and " inf" not in said
    assert [row["psnr"] for row in read_rows(tmp_path / "r.csv")][0] == "inf"


@pytest.mark.parametrize("scale", [math.nan, math.inf, 1e39])
def test_an_estimate_that_is_not_finite_is_an_error(scale: float, tmp_path: Path) -> None:
    images = [Image("good", torch.from_numpy(gray(1)))]
    evaluate(Scaled(), images, [0.3], out=tmp_path / "r.csv")
    with pytest.raises(UserError, match="x: scaled at 50 % returned numbers that are NaN or infinite"):
        evaluate(Scaled(scale), [Image("x", images[0].pixels)], [0.5], out=tmp_path / "r.csv")
    assert [row["image"] for row in read_rows(tmp_path / "r.csv")] == ["good"]


def test_a_method_that_diverges_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = picture(tmp_path / "val" / "x.png", 1), tmp_path / "r.csv"
    monkeypatch.setattr("istapp.methods.linear.Linear.__call__", lambda self, y, sampling: sampling.adjoint(y) / 0)
    options = ["--method", "linear"]
    evaluate_ = ["evaluate", "--dataset", str(file.parent), "--ratios", "30", "--out", str(out), *options]
    reconstruct_ = ["reconstruct", str(file), "--ratio", "30", "--out", str(tmp_path / "x.png"), *options]
    for arguments in (evaluate_, reconstruct_):
        assert main(arguments) == 2
        printed = capsys.readouterr()
        assert "NaN or infinite" in printed.err and not printed.out
    assert not out.exists() and not (tmp_path / "x.png").exists()


def test_weights_and_matrices_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = ISTANetPP(1, 2)
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    last = list(tensors)[-1]
    tensors[last].view(-1)[0] = math.nan
    with pytest.raises(UserError, match=f"not finite, in '{last}'"):
        weights.save(tmp_path / "bad.safetensors", tensors, {})
    assert not (tmp_path / "bad.safetensors").exists()
    torch.save(tensors, tmp_path / "bad.pkl")
    with pytest.raises(UserError, match="bad.pkl holds numbers that are not finite"):
        methods.get("ista-net-pp", weights=tmp_path / "bad.pkl")
    phi = np.eye(1089)[:10]
    phi[3, 3] = math.inf
    with pytest.raises(UserError, match="not finite"):
        BlockSampling(0.01, phi=phi)


def test_weights_that_were_changed_by_hand_are_refused(tmp_path: Path) -> None:
    shipped = min(paths.WEIGHTS.glob("*-laptop*.safetensors"), key=lambda path: path.stat().st_size)
    copied = Path(shutil.copy(shipped, tmp_path))
    tensors = load_file(copied)
    tensors[list(tensors)[0]].view(-1)[0] += 0.1
    save_file(tensors, copied, {"istapp": json.dumps(weights.header(shipped))})
    with pytest.raises(UserError, match="was changed after it was written"):
        weights.load(copied)


def write_many(path: str, first: int, barrier: "multiprocessing.synchronize.Barrier") -> None:
    barrier.wait()
    for n in range(first, first + 20):
        row = dict.fromkeys(COLUMNS, "") | {"image": str(n), "ratio": "10", "psnr": "30", "seconds": "1"}
        put(path, row)


def test_two_processes_with_one_file_lose_no_row(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    workers = [context.Process(target=write_many, args=(str(tmp_path / "r.csv"), n, barrier)) for n in (0, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {int(row["image"]) for row in read_rows(tmp_path / "r.csv")} == {*range(20), *range(100, 120)}
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_rows_are_added_to_no_table_of_another_kind(tmp_path: Path) -> None:
    @dataclass
    class Record:
        x: float

    path = tmp_path / "t.csv"
    path.write_text("precious,other\n1,2\n")
    with pytest.raises(UserError, match="another table"):
        paths.write_records(path, [Record(5)], add=True)
    assert path.read_text() == "precious,other\n1,2\n"

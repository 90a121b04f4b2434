"""A sampling matrix of one's own."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from istapp import methods
from istapp.__main__ import main
from istapp.basics.errors import UserError
from istapp.experiments.evaluation import read_rows
from istapp.method.matrices import Given, given, read_matrix
from istapp.sampling import measurements, sampling_matrix

PHI = sampling_matrix(109, seed=5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "phi.npy", PHI)
    return tmp_path / "phi.npy"


def test_a_matrix_is_read_alike_from_every_kind_of_file(file: Path, tmp_path: Path) -> None:
    save_file({"phi": torch.from_numpy(PHI), "other": torch.zeros(2)}, tmp_path / "a.safetensors")
    save_file({"anything": torch.from_numpy(PHI)}, tmp_path / "b.safetensors")
    np.save(tmp_path / "swapped.npy", PHI.astype(PHI.dtype.newbyteorder()))  # by a machine of the other byte order
    kinds = [file, tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "swapped.npy"]
    try:
        from scipy.io import savemat
    except ImportError:
        savemat = None
    if savemat:
        for name in ("phi", "A"):
            savemat(tmp_path / f"{name}.mat", {name: PHI})
            kinds.append(tmp_path / f"{name}.mat")
    for path in kinds:
        assert np.array_equal(read_matrix(path).numpy(), PHI)


@pytest.mark.parametrize(("array", "words"), [
    (np.zeros((3, 100)), "3 x 100, not m x 1089"), (np.zeros(1089), "1089, not m x 1089"),
    (np.full((3, 1089), np.nan), "not made of finite real numbers"), (np.zeros((0, 1089)), "0 x 1089"),
    (np.zeros((2, 1089), dtype=complex), "finite real"), (np.array([{}]), "no .npy file of numbers"),
])  # fmt: skip
def test_what_is_no_matrix_is_refused_in_one_line(array: np.ndarray, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "phi.npy", array)
    with pytest.raises(UserError, match=words):
        read_matrix(tmp_path / "phi.npy")


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    for name, content, words in [
        ("phi.npy", b"no", "no .npy"), ("phi.safetensors", b"no", "not a whole safetensors"), ("phi.mat", b"no", "phi"),
        ("phi.txt", b"1", "is read from"),
        ("phi.npy", b"\x93NUMPY\x01\x00\x05\x00{'a'(\n", "no .npy"),
    ]:  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=words):
            read_matrix(tmp_path / name)
    save_file({"phi": torch.full((1, 1089), torch.nan).to(torch.float8_e4m3fn)}, tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match="finite real"):  # a kind of float that does not know whether it is finite
        read_matrix(tmp_path / "odd.safetensors")
    save_file({"a": torch.zeros(2), "b": torch.zeros(2)}, tmp_path / "two.safetensors")
    with pytest.raises(UserError, match="holds 2 arrays"):
        read_matrix(tmp_path / "two.safetensors")
    with pytest.raises(UserError, match="no matrix at"):
        read_matrix(tmp_path / "none.npy")


def test_the_seeded_matrix_as_a_file_gives_the_seeded_estimate(file: Path) -> None:
    for name in ("linear", "ista-net-pp"):
        method = methods.get(name)
        own, seeded = given(method, file).sampling(0.1), method.sampling(0.1, 5)
        x = torch.rand(1, 1, 33, 66)
        torch.testing.assert_close(given(method, file)(own.A(x), own), method(seeded.A(x), seeded))
    assert own.seed is None and own.kind.startswith("matrix phi.npy ")


def test_the_page_says_what_the_code_draws() -> None:
    text = (Path(methods.__file__).parents[2] / "book" / "which_matrix.md").read_text(encoding="utf-8")
    assert ", ".join(f"{value:.12f}" for value in sampling_matrix(1, seed=0)[0, :3]) in " ".join(text.split())
    counts = [measurements(percent / 100) for percent in (1, 4, 10, 20, 25, 30, 40, 50)]
    assert ", ".join(map(str, counts[:-1])) + f" and {counts[-1]} at" in " ".join(text.split())


def test_who_cannot_take_it_says_why(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reconnet works only with the matrix it was trained for"):
        given(methods.get("reconnet"), file)
    with pytest.raises(
        UserError, match="has 109 rows, but 30 % are 327 measurements of 1089: take the ratio 10.0091 %"
    ):
        given(methods.get("fista"), file).sampling(0.3)
    with pytest.raises(UserError, match="has 109 rows, .*: take its first 55 rows, or the ratio 10.0091 %"):
        given(methods.get("fista"), file).sampling(0.05)
    np.save(tmp_path / "rough.npy", 2 * PHI)
    with pytest.raises(UserError, match="rows of rough.npy are not orthonormal .off by 3"):
        given(methods.get("ista-net-pp"), tmp_path / "rough.npy")
    given(methods.get("fista"), tmp_path / "rough.npy")  # a classical method takes any


def test_the_flag_on_the_command_line(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    folder = tmp_path / "set"
    folder.mkdir()
    photo = Path(methods.__file__).parents[2] / "data" / "photos" / "chelsea.png"
    (folder / "chelsea.png").write_bytes(photo.read_bytes())
    command = ["evaluate", "--method", "linear", "--dataset", str(folder), "--ratios", "10", "--matrix", str(file)]
    assert main([*command, "--blockwise", "--out", str(out)]) == 0
    (row,) = read_rows(out)
    assert "matrix phi.npy " in row["variant"] and row["seed"] == ""


def test_a_published_form_and_a_matrix_are_changed_together(file: Path, tmp_path: Path) -> None:
    """What goes around a method last hides what is inside, so the form that its authors run it in is changed first."""
    photo = Path(methods.__file__).parents[2] / "data" / "photos" / "chelsea.png"
    command = ["reconstruct", str(photo), "--method", "ista-net-plus", "--ratio", "10", "--matrix", str(file)]
    for way in ([], ["--whole-image"]):
        assert main([*command, *way, "--out", str(tmp_path / f"{len(way)}.png")]) == 0
    assert (tmp_path / "0.png").read_bytes() != (tmp_path / "1.png").read_bytes()


def test_a_complex_mat_is_refused(tmp_path):
    pytest.importorskip("scipy.io").savemat(tmp_path / "c.mat", {"phi": np.eye(3, 1089) + 1j})
    with pytest.raises(UserError, match="'phi'.*complex"):
        read_matrix(tmp_path / "c.mat")


def test_why_a_mat_cannot_be_read_is_told(tmp_path):
    sparse = pytest.importorskip("scipy.sparse").eye(3, 1089, format="csc")
    pytest.importorskip("scipy.io").savemat(tmp_path / "s.mat", {"phi": sparse})
    with pytest.raises(UserError, match="'phi' that can be read"):
        read_matrix(tmp_path / "s.mat")


def test_a_matrix_of_zeros_measures_nothing(tmp_path):
    np.save(tmp_path / "z.npy", np.zeros((3, 1089)))
    with pytest.raises(UserError, match="measures nothing"):
        read_matrix(tmp_path / "z.npy")


@pytest.mark.parametrize("rows", [2, 10, 273, 1089])
def test_the_ratio_that_the_error_names_is_the_matrix_s(rows):
    own = Given(methods.get("linear"), torch.eye(1089, dtype=torch.float64)[:rows], "m")
    with pytest.raises(UserError) as error:
        own.sampling(0.5)
    percent = float(re.search(r"the ratio (\S+) %", str(error.value))[1])
    assert own.sampling(percent / 100).m == rows

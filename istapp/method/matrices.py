"""A sampling matrix of one's own: read from a file, checked, and given to any method that is not tied to another.

istapp evaluate --method fista --dataset photos --ratios 10 --matrix phi.npy
istapp.method.matrices.given(methods.get("fista"), "phi.npy")         in Python
"""

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from istapp.basics.errors import UserError, reason
from istapp.method.base import Method, Tied
from istapp.method.fast import networks
from istapp.method.weights import load_matrix
from istapp.method.wrapping import Wrapped
from istapp.sampling import BLOCK, BlockSampling, measurements

#: Names under which a file with several arrays keeps the matrix.
NAMES = ("phi", "Phi", "A")

#: How far the products of rows may be from those of orthonormal ones, for a network that learned with such.
ORTHONORMAL = 1e-4


def read_matrix(path: str | Path) -> Tensor:
    """Return the matrix in a ``.npy``, ``.safetensors`` or ``.mat`` file, (m, 1089) float64.

    Of a file with several arrays it is the one called phi, Phi or A. Nothing is unpickled.

    Raises:
        UserError: another kind of file, no such matrix, not 1089 columns, more rows than columns, or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no matrix at {path}")
    readers = {".npy": _from_npy, ".safetensors": _from_safetensors, ".mat": _from_mat}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: a matrix is read from {', '.join(readers)}, not from '{path.suffix}'")
    matrix = readers[path.suffix.lower()](path)
    if matrix.ndim != 2 or matrix.shape[1] != BLOCK**2 or not 1 <= len(matrix) <= BLOCK**2:
        shape = " x ".join(map(str, matrix.shape))
        raise UserError(
            f"{path}: the matrix is {shape}, not m x {BLOCK**2} with m from 1 to {BLOCK**2}: "
            f"a row for each measurement, a column for each pixel of a {BLOCK} x {BLOCK} block, read row by row"
        )
    if matrix.is_complex() or not (real := matrix.double()).isfinite().all():  # some kinds of float know no isfinite
        raise UserError(f"{path}: the matrix is not made of finite real numbers")
    if not real.any():
        raise UserError(f"{path}: the matrix is zero and measures nothing")
    return real


def _from_npy(path: Path) -> Tensor:
    try:
        stored = np.load(path, allow_pickle=False)
        return torch.from_numpy(np.ascontiguousarray(stored, stored.dtype.newbyteorder("=")))  # another machine's order
    except Exception as error:  # a damaged header makes NumPy raise nearly anything
        raise UserError(f"{path} is no .npy file of numbers: {reason(error)}") from None


def _from_safetensors(path: Path) -> Tensor:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from None
    return _the_one(tensors, path)


def _the_one(tensors: dict[str, Tensor], path: Path) -> Tensor:
    named = [tensors[name] for name in NAMES if name in tensors] or list(tensors.values())
    if len(named) != 1:
        raise UserError(f"{path} holds {len(tensors)} arrays; call the matrix one of {', '.join(NAMES)}")
    return named[0]


def _from_mat(path: Path) -> Tensor:
    for name in NAMES[:-1]:
        try:
            return load_matrix(path, name)
        except UserError as error:
            if not str(error).endswith(f"holds no matrix '{name}'"):  # else it is there and cannot be read
                raise
    return load_matrix(path, NAMES[-1])


class Given(Wrapped):
    """A method that measures with a given matrix instead of a seeded one. Rows name the matrix in their variant."""

    def __init__(self, method: Method, phi: Tensor, name: str) -> None:
        """Wrap `method`; `phi` is (m, 1089), `name` what rows and messages call it."""
        self.phi, self.label = phi, f"matrix {name} {hashlib.sha256(phi.numpy().tobytes()).hexdigest()[:12]}"
        super().__init__(method, self.label)

    def sampling(self, ratio: float, seed: int = 0) -> BlockSampling:
        """Return the operator of the given matrix, whatever the seed.

        Raises:
            UserError: the matrix has another number of rows than that ratio.
        """
        self.check_ratio(ratio)
        m, rows = measurements(ratio), len(self.phi)
        if rows != m:
            first = f"take its first {m} rows, or" if rows > m else "take"
            raise UserError(
                f"{self.label} has {rows} rows, but {100 * ratio:g} % are {m} measurements of {BLOCK**2}: "
                f"{first} the ratio {math.floor(1e6 * rows / BLOCK**2) / 1e4:g} %"
            )
        return BlockSampling(ratio, seed=None, phi=self.phi, kind=self.label)


def given(method: Method, path: str | Path) -> Given:
    r"""Return `method` measuring with the matrix in a file.

    A classical method takes any matrix. A network that was trained on random orthonormal rows takes any other of that
    kind: rows that are not orthonormal would give it a :math:`\Phi^\top y` unlike all it ever saw.

    Raises:
        UserError: the file holds no such matrix, the method is tied to a matrix of its own, or it is a network and the
            rows are not orthonormal.
    """
    phi, name = read_matrix(path), Path(path).name
    for network in networks(method):
        if isinstance(network, Tied):
            raise UserError(
                f"{method.name} works only with the matrix it was trained for, since its first layer learned it; "
                f"train it anew for {name}, or take a method such as ista-net-pp or fista"
            )
        off = (phi @ phi.T - torch.eye(len(phi), dtype=phi.dtype)).abs().max().item()
        if off > ORTHONORMAL:
            raise UserError(
                f"the rows of {name} are not orthonormal (off by {off:.2g}), and {method.name} learned with rows that "
                "are: orthonormalise them (numpy.linalg.qr of the transpose measures the same), or take a classical "
                "method"
            )
    return Given(method, phi, name)

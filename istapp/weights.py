"""Weights on disk: safetensors with a header that says where they came from, and the two official checkpoint formats.

The header is JSON: method, config, training set and its hash, pixels, steps, seed, commit, device, minutes, pixels per
second, validation PSNR. Nothing here unpickles code: ``.pkl`` files are read with ``weights_only=True``.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from istapp.errors import UserError
from istapp.paths import write_atomically


def save(path: str | Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write named tensors and their header to a ``.safetensors`` file, beside and then renamed.

    Raises:
        OSError: the file cannot be written; what was there is untouched.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"istapp": json.dumps(header, sort_keys=True)}
    write_atomically(path, lambda beside: save_file(plain, beside, metadata=metadata))


def header(path: str | Path) -> dict[str, Any]:
    """Return the header of a weights file without reading its tensors.

    Raises:
        UserError: no such file, not a safetensors file, truncated, or not written by this project.
    """
    return _open(Path(path), read_tensors=False)[0]


def load(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return header and tensors (float32; float16 files are widened) of a weights file.

    Raises:
        UserError: no such file, not a safetensors file, truncated, or not written by this project.
    """
    return _open(Path(path), read_tensors=True)


def _open(path: Path, read_tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise UserError(f"no weights at {path}")
    # Native code opens the file; say so to Python's audit hooks, by which the book notes what a chapter reads.
    sys.audit("open", str(path), "rb", os.O_RDONLY)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if read_tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from None
    if "istapp" not in metadata:
        raise UserError(f"{path} has no header of this project: these weights belong to something else")
    widened = {name: t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for name, t in tensors.items()}
    return json.loads(metadata["istapp"]), widened


def load_official(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of an official ``.pkl`` checkpoint, the prefix that data-parallel training left removed.

    Raises:
        UserError: no such file, damaged, or not a plain dictionary of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights at {path}")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        return {name.removeprefix("module."): tensor.detach().float() for name, tensor in tensors.items()}
    except Exception as error:  # torch raises half a dozen unrelated kinds here
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} is not a checkpoint of plain tensors: {reason}") from None


def load_matrix(path: str | Path, name: str) -> Tensor:
    """Return the matrix `name` of a MATLAB file as float64; needs SciPy.

    Raises:
        UserError: SciPy is missing, or the file or the matrix is not there.
    """
    try:
        from scipy.io import loadmat
    except ImportError:
        raise UserError("reading official .mat files needs SciPy: pip install scipy") from None
    try:
        return torch.from_numpy(loadmat(str(path))[name]).double()
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} holds no matrix '{name}': {error}") from None

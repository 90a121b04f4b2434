"""Weights on disk: safetensors with a header that says where they came from, and checkpoints as PyTorch saves them.

The header is JSON: method, config, training set and its hash, pixels, steps, seed, commit, minutes, device and pixels
per second of the last machine, what each machine did, validation PSNR. Nothing here unpickles code: ``.pkl`` files are
read with ``weights_only=True``. A file may be damaged or made to do harm, so whatever it says is checked before it is
believed.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from istapp.basics.errors import UserError, reason
from istapp.basics.paths import write_atomically
from istapp.basics.provenance import tensors_hash

#: How the names of checkpoints end that trainers of PyTorch save, the official ones among them.
CHECKPOINTS = (".pkl", ".pth", ".pt", ".ckpt", ".bin")

#: The key under which many trainers keep the tensors, and what wrappers of a network put before their names.
_WRAPPED = ("state_dict", "model_state_dict", "model", "net", "params")
_PREFIXES = ("module.", "_orig_mod.")


def save(path: str | Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write named tensors and their header to a ``.safetensors`` file, beside and then renamed.

    Raises:
        UserError: a number in them is not finite; nothing is written.
        OSError: the file cannot be written; what was there is untouched.
    """
    _finite(tensors, Path(path))
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"istapp": json.dumps(header, sort_keys=True)}
    try:
        write_atomically(path, lambda beside: save_file(plain, beside, metadata=metadata))
    except SafetensorError as error:  # a full disk, in the library's words
        raise OSError(f"cannot write {path}: {reason(error)}") from None


def header(path: str | Path) -> dict[str, Any]:
    """Return the header of a weights file without reading its tensors.

    Raises:
        UserError: no such file, not a safetensors file, truncated, or not written by this project.
    """
    return _open(Path(path), read_tensors=False)[0]


def machines(header: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what each machine did of a training, in order: device, steps, pixels, minutes.

    A header from before this was kept tells of one device, which then did all.
    """
    alone = {"device": "unknown", "steps": 0, "pixels": 0, "minutes": 0.0}
    return [alone | each for each in header.get("machines") or [{key: header[key] for key in alone if key in header}]]


def where(header: dict[str, Any]) -> str:
    """Return in words how long a training took and on which machines: ``54 min on AMD EPYC, 8 min on NVIDIA H100``."""
    return ", ".join(f"{each['minutes']:.0f} min on {each['device']}" for each in machines(header))


def leave_header(path: str | Path) -> None:
    """Reduce a file of weights to its header, which says what was trained and how where there is no room for numbers.

    Raises:
        UserError: as `header`.
    """
    save(path, {}, header(path))


def shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a weights file's tensors without reading them.

    Raises:
        UserError: no such file, not a safetensors file, truncated, not written by this project, or a header alone.
    """
    header, _, sizes = _open(Path(path), read_tensors=False)
    return sizes or _refuse(path, header)


def is_whole(path: str | Path) -> bool:
    """Tell whether a file of weights holds more than its header.

    Raises:
        UserError: as `header`.
    """
    return bool(_open(Path(path), read_tensors=False)[2])


def checked(path: str | Path) -> tuple[dict[str, Any], bool]:
    """Return the header of a file of weights, held against its tensors where it has them, and whether it does.

    Raises:
        UserError: as `load`, but for a header alone.
    """
    whole = is_whole(path)
    return (load(path)[0] if whole else header(path)), whole


def _refuse(path: str | Path, header: dict[str, Any]) -> NoReturn:
    """Raise UserError for weights that are not shipped."""
    again = f": istapp train {header['run']} --out FOLDER makes them" if "run" in header else ""
    raise UserError(f"{path} is a header alone, its weights are not shipped{again}")


def load(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return header and tensors (float32; float16 files are widened) of a weights file.

    Raises:
        UserError: no such file, not a safetensors file, truncated, not finite, not written by this project, changed
            since its header was written, or a header alone.
    """
    header, tensors, _ = _open(Path(path), read_tensors=True)
    if not tensors:
        _refuse(path, header)
    if header.get("weights_hash") not in (None, tensors_hash(tensors)):
        raise UserError(f"{path} was changed after it was written: its tensors are not those that its header names")
    sys.audit("istapp.weights", str(path))  # the pages say which weights they used, see `istapp.figures.origin`
    return header, tensors


def _open(path: Path, read_tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, tuple[int, ...]]]:
    if not path.is_file():
        raise UserError(f"no weights at {path}")
    try:  # native code calls a file that it may not open no file; and Python's audit hooks, by which the book notes
        with path.open("rb"):  # what a chapter reads, hear of this open alone
            pass
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            sizes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            tensors = {name: file.get_tensor(name) for name in sizes} if read_tensors else {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from None
    if "istapp" not in metadata:
        raise UserError(f"{path} has no header of this project: these weights belong to something else")
    return _header(metadata["istapp"], path), _finite(widened(tensors), path), sizes


def widened(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as they are computed with, and hashed: what is stored in half precision in float32."""
    return {name: t.float() if t.is_floating_point() and t.itemsize < 4 else t for name, t in tensors.items()}


_NUMBER = (int, float)

#: What a header may say, where it says it at all; numbers are finite and not negative.
_KINDS: dict[str, type | tuple[type, ...]] = {
    "method": str, "run": str, "config": dict, "parameters": int, "pixels": _NUMBER, "steps": int, "minutes": _NUMBER,
    "device": str, "machines": list, "weights_hash": str, "training_hash": str, "commit": str, "ratios": list,
}  # fmt: skip


def _header(text: str, path: Path) -> dict[str, Any]:
    """Return a header as far as it can be believed by itself; a network checks its own `config`."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{path} has a damaged header: it is not JSON") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} has a damaged header: it is not a list of names and values")
    machines = found.get("machines")
    for part in (found, *(machines if isinstance(machines, list) else ())):
        for key, kind in _KINDS.items() if isinstance(part, dict) else (("machines", dict),):
            if not isinstance(part, dict) or key in part and not _may_be(part[key], kind):
                told = part[key] if isinstance(part, dict) else part
                raise UserError(f"{path} has a damaged header: its {key} is {str(told)[:40]!r}")
    return found


def _may_be(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Tell whether a header's value is of a kind, and where it is a number, one that counts something."""
    number = isinstance(value, (int, float))
    return isinstance(value, kind) and (not number or 0 <= value < math.inf)


def _finite(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{path} holds numbers that are not finite, in '{name}': a training that diverged?")
    return tensors


def is_checkpoint(path: str | Path) -> bool:
    """Tell by its name whether a file is a checkpoint as PyTorch saves it, and not one of this project's."""
    return Path(path).suffix.lower() in CHECKPOINTS


def load_official(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of an official ``.pkl`` checkpoint, or of one that another trainer saved.

    The tensors may be wrapped (under ``state_dict``, for example), and what data-parallel training or a compiler puts
    before their names is removed.

    Raises:
        UserError: no such file, damaged, not finite, or not a plain dictionary of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights at {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen unrelated kinds here
        raise UserError(f"{path} is not a checkpoint of plain tensors: {_why(error)}") from None
    for key in _WRAPPED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path} is not a checkpoint of plain tensors: it is no list of names and tensors")
    wrong = [name for name, each in found.items() if not (isinstance(name, str) and isinstance(each, Tensor))]
    if wrong:
        raise UserError(f"{path} is not a checkpoint of plain tensors: '{wrong[0]}' is none; {_REMEDY}")
    return _finite({_bare(name): tensor.detach().float() for name, tensor in found.items()}, path)


_REMEDY = "save the tensors alone: torch.save(network.state_dict(), FILE)"


def _why(error: Exception) -> str:
    """Return what PyTorch has against a checkpoint, in our words where it is that it holds more than tensors."""
    words = str(error).strip()
    if "Unsupported global" in words or "Unsupported class" in words:
        return f"it holds other things, which are not read because they could run code; {_REMEDY}"
    return words.splitlines()[0][:120] if words else type(error).__name__


def _bare(name: str) -> str:
    """Return a tensor's name without what wrappers of a network put before it, in whatever order they did."""
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name


def load_matrix(path: str | Path, name: str) -> Tensor:
    """Return the matrix `name` of a MATLAB file as float64; needs SciPy.

    Raises:
        UserError: SciPy is missing, or the file or a finite matrix in it is not there.
    """
    try:
        from scipy.io import loadmat
    except ImportError:
        raise UserError("reading official .mat files needs SciPy: pip install scipy") from None
    try:
        found = loadmat(str(path), variable_names=[name])[name]
        if np.iscomplexobj(found):  # a cast would drop the imaginary part
            raise ValueError("its numbers are complex")
        matrix = torch.from_numpy(found).double()
    except NotImplementedError:
        raise UserError(f"{path} is a file of MATLAB 7.3, which is not read: save it with -v7") from None
    except KeyError:
        raise UserError(f"{path} holds no matrix '{name}'") from None
    except Exception as error:  # a damaged file makes the reader raise nearly anything
        raise UserError(f"{path} holds no matrix '{name}' that can be read: {reason(error)}") from None
    if matrix.ndim != 2 or not matrix.isfinite().all():
        raise UserError(f"{path}: '{name}' is no matrix of finite numbers but of shape {tuple(matrix.shape)}")
    return matrix

"""Where a result came from: commit, command, versions, device, date, and hashes of files and tensors."""

import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_PACKAGE = Path(__file__).resolve().parents[1]

#: What runs write into a checkout, as git is told to leave it out.
_WRITTEN = (":(exclude,top)data/weights", ":(exclude,top)data/results")


def _git(*arguments: str) -> str | None:
    """Return what git says in the package's folder, or None where it says no or is not installed."""
    try:
        run = subprocess.run(["git", *arguments], cwd=_PACKAGE, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None


@cache
def commit() -> str:
    """Return the commit that this process runs, asked for once.

    The first twelve digits. Where git does not know the code, because there is none or tracked files differ from its
    head, as in a tree that was copied onto an older checkout, it is what the environment variable ISTAPP_COMMIT says;
    without that ``unknown``, or the head with ``-dirty``. The weights and rows that runs write are no part of the code,
    and a repository that merely surrounds an installed copy does not count.
    """
    told = os.environ.get("ISTAPP_COMMIT")
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None or _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return told or "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", *_WRITTEN)
    return head if changed == "" else told or f"{head}-dirty"  # None: git gave no answer, and nobody knows


def checkout() -> list[Path]:
    """Return the files of the checkout that git does not ignore; none where this is no checkout."""
    listed = _git("ls-files", "--cached", "--others", "--exclude-standard", "--full-name", ":/") or ""
    return [path for name in listed.splitlines() if (path := _PACKAGE.parent / name).is_file()]


def command() -> str:
    """Return the command line of this process; of absolute paths only the last part, which tells enough."""
    program = Path(sys.argv[0]).name
    arguments = [re.sub(r"(^|[=,])/.*/", r"\1.../", argument) for argument in sys.argv[1:]]
    return shlex.join(["istapp" if program == "__main__.py" else program, *arguments])


def versions() -> dict[str, str]:
    """Return the versions that a number may depend on."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def device_name(device: str | torch.device = "cpu") -> str:
    """Return what the device is called by its maker, such as "NVIDIA H100" or the processor's model."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        model = None
    return model[1].strip() if model else platform.processor() or platform.machine()


#: How the names of GPUs begin, as their makers' drivers tell them; processors are called otherwise.
_GPUS = ("NVIDIA", "Tesla", "GeForce", "Quadro", "AMD Instinct", "AMD Radeon")


def is_gpu(name: str) -> bool:
    """Tell whether a device is a GPU, by the name that `device_name` gave it."""
    return name.startswith(_GPUS)


def stamp(since: float | None = None, device: str | torch.device = "cpu", **extra: Any) -> dict[str, Any]:
    """Return what is kept with everything saved: commit, command, versions, device, threads, date and `extra`.

    `since` is the ``time.monotonic()`` at which the work began; with it the stamp tells its minutes.
    """
    minutes = {} if since is None else {"minutes": round((time.monotonic() - since) / 60, 3)}
    return {
        "commit": commit(),
        "command": command(),
        "versions": versions(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **minutes,
        **extra,
    }


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors: names, types, shapes and bytes, whatever their order or device."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

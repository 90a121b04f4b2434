"""Unfinished training on disk: everything that the next step depends on, so that a resumed run is the same run.

A state is one file, or several pieces where it is large: ``NAME.state-STEP-1of2.pt``. A new state is written whole
before the old one is removed, so there is always one to go on from.
"""

import io
import re
from pathlib import Path
from typing import Any

import torch

from istapp.basics.errors import UserError
from istapp.basics.paths import write_atomically

#: No file of a state is larger than this, so that it travels between machines.
PIECE = 15 * 2**20


def store(prefix: Path, step: int, state: dict[str, Any]) -> None:
    """Write the state (tensors, numbers, strings) of a step beside the old one, then remove the old one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    count = -(-len(data) // PIECE)
    names = [f"{prefix.name}.state-{step:09d}-{i + 1}of{count}.pt" for i in range(count)]
    for i, name in enumerate(names):
        piece = data[i * PIECE : (i + 1) * PIECE]
        write_atomically(prefix.with_name(name), lambda beside, piece=piece: beside.write_bytes(piece))
    for _, path in _pieces(prefix):
        if path.name not in names:
            path.unlink(missing_ok=True)


def remove(prefix: Path) -> None:
    """Remove the state of a run that is done."""
    for _, path in _pieces(prefix):
        path.unlink(missing_ok=True)


def exists(prefix: Path) -> bool:
    """Return whether there is a state to go on from."""
    return bool(_newest(prefix))


def files(prefix: Path) -> list[Path]:
    """Return the files of the newest state that is all there, in the order of its pieces."""
    return _newest(prefix)


def restore(prefix: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the newest whole state of a run, None if there is none.

    Raises:
        UserError: it is damaged, or belongs to a run with another identity (network, images, recipe, seed).
    """
    pieces, state = _newest(prefix), peek(prefix)
    if state is None:
        return None
    found = state["identity"]
    if found != identity:
        other = sorted(key for key in identity if found.get(key) != identity[key])
        raise UserError(
            f"{pieces[0]} belongs to another run (it differs in {', '.join(other)}); remove it to start anew"
        )
    return state


def peek(prefix: Path) -> dict[str, Any] | None:
    """Return the newest whole state, whoever's it is, None if there is none.

    Raises:
        UserError: it is damaged.
    """
    pieces = _newest(prefix)
    if not pieces:
        return None
    try:
        data = b"".join(path.read_bytes() for path in pieces)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        wrong = [name for name, kind in _KINDS.items() if not isinstance(state[name], kind)]
    except Exception as error:  # torch raises half a dozen unrelated kinds here; a file of something else has no names
        raise damaged(pieces[0], type(error).__name__) from None
    if wrong:
        raise damaged(pieces[0], f"its {wrong[0]} is {str(state[wrong[0]])[:40]!r}")
    return state


#: What every state holds. What came later, `machines` and the scaler of float16, may be missing.
_KINDS: dict[str, type | tuple[type, ...]] = {
    "identity": dict, "network": dict, "average": dict, "optimisers": list, "step": int, "pixels": int,
    "seconds": (int, float), "curve": list, "ending": dict, "decay_from": (int, float, type(None)),
    "total": (int, float), "counted": int,
}  # fmt: skip


def damaged(path: Path, why: str) -> UserError:
    """Return what to say of a file whose state cannot be what was stored."""
    return UserError(f"{path} is damaged ({why}); remove it to start this run anew")


def machines(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what each machine did of a state, in order: device, steps, pixels, minutes.

    A state from before this was kept tells of all its steps together, and of no device: ``unknown``.
    """
    alone = {"device": "unknown", "steps": state["step"], "pixels": state["pixels"], "minutes": state["seconds"] / 60}
    return list(state.get("machines", [alone]))


def _pieces(prefix: Path) -> list[tuple[tuple[int, int, int], Path]]:
    """Return ((step, piece, of), path) of every piece, sorted."""
    pattern = re.compile(re.escape(prefix.name) + r"\.state-(\d+)-(\d+)of(\d+)\.pt")
    folder = prefix.parent.iterdir() if prefix.parent.is_dir() else ()
    matches = ((pattern.fullmatch(path.name), path) for path in folder)
    return sorted(((int(m[1]), int(m[2]), int(m[3])), path) for m, path in matches if m)


def _newest(prefix: Path) -> list[Path]:
    """Return the pieces of the newest state that is all there."""
    by_step: dict[tuple[int, int], list[Path]] = {}
    for (step, _, of), path in _pieces(prefix):
        by_step.setdefault((step, of), []).append(path)
    whole = [(step, paths) for (step, of), paths in by_step.items() if len(paths) == of]
    return max(whole)[1] if whole else []

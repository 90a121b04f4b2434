"""Unfinished training on disk: everything that the next step depends on, so that a resumed run is the same run."""

from pathlib import Path
from typing import Any

import torch

from istapp.errors import UserError
from istapp.paths import write_atomically

FILE = "state.pt"


def store(folder: Path, state: dict[str, Any]) -> None:
    """Write the state (tensors, numbers, strings) beside the old one and rename it over it."""
    write_atomically(folder / FILE, lambda beside: torch.save(state, beside))


def restore(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state stored in a folder, None if there is none.

    Raises:
        UserError: it is damaged, or belongs to a run with another identity (network, images, recipe, seed).
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["identity"]
    except Exception as error:  # torch raises half a dozen unrelated kinds here
        raise UserError(f"{path} is damaged ({type(error).__name__}); remove it to start this run anew") from None
    if found != identity:
        other = sorted(key for key in identity if found.get(key) != identity[key])
        raise UserError(f"{path} belongs to another run (it differs in {', '.join(other)}); remove it or use that run")
    return state

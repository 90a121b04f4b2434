"""Finding a network's weights: a file that was named, or the ones shipped in `data/weights`."""

from pathlib import Path
from typing import Any

from istapp import paths, weights
from istapp.errors import UserError


def shipped(name: str) -> list[tuple[Path, dict[str, Any]]]:
    """Return files and headers of the weights shipped for a method and meant for use, the largest network first.

    Ablations and other side experiments carry ``"main": false`` in their header and are left out.
    """
    files = sorted(paths.WEIGHTS.glob(f"{name}-*.safetensors"))
    found = [(file, weights.header(file)) for file in files]
    main = [(file, header) for file, header in found if header.get("method") == name and header.get("main")]
    return sorted(main, key=lambda item: -item[1].get("parameters", 0))


def required(name: str) -> list[tuple[Path, dict[str, Any]]]:
    """Return `shipped(name)`.

    Raises:
        UserError: nothing is shipped for that method.
    """
    found = shipped(name)
    if not found:
        raise UserError(
            f"no weights for {name} are shipped yet: name a file with --weights FILE (Python: weights=FILE), "
            f"or train them, see `istapp experiments`"
        )
    return found


def no_weights(name: str, given: object) -> None:
    """Raise UserError when weights were named for a method that has none."""
    if given is not None:
        raise UserError(f"{name} has no weights: leave out --weights")


def no_options(name: str, options: dict[str, object]) -> None:
    """Raise UserError when a method was given options that it does not have."""
    if options:
        raise UserError(f"{name} has no option {', '.join(sorted(options))}")

"""The systems of Table 1, one file each, found by name.

A new method is a new file in this folder: ``my_method.py`` with a class ``METHOD`` and a function
``build(weights=None, **options)`` that returns a `Method` is `get("my-method")` everywhere.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from istapp.errors import UserError, nearest
from istapp.methods.base import Blockwise, Method, Network, PerRatio, blockwise

__all__ = ["Blockwise", "Description", "Method", "Network", "PerRatio", "blockwise", "describe", "get", "names"]

_NOT_METHODS = {"base", "found"}


def names() -> list[str]:
    """Return the names of all methods, sorted."""
    return sorted(m.name.replace("_", "-") for m in iter_modules(__path__) if m.name not in _NOT_METHODS)


def get(name: str, weights: str | Path | None = None, **options: object) -> Method:
    """Build a method by name.

    Args:
        name: one of `names()`.
        weights: a ``.safetensors`` file of this project or an official ``.pkl``; by default the shipped weights.
        options: what the method's ``build`` takes, for instance ``lam=0.01``.

    Raises:
        UserError: an unknown name, no weights, or weights of another network.
    """
    if name not in names():
        raise UserError(f"no method '{name}'{nearest(name, names())}; known: {', '.join(names())}")
    return import_module(f"istapp.methods.{name.replace('-', '_')}").build(weights=weights, **options)


@dataclass(frozen=True)
class Description:
    """What the command line lists of a method; `ratios` None means any, `weights` is empty for a method without."""

    name: str
    kind: str
    parameters: int
    ratios: tuple[float, ...] | None
    weights: str


def describe(name: str) -> Description:
    """Return what is known of a method without running it; a network without weights has its published size."""
    module = import_module(f"istapp.methods.{name.replace('-', '_')}")
    try:
        method = module.build()
    except UserError:
        method = module.METHOD()
        return Description(name, method.kind, method.parameter_count, method.ratios, "none: name a file with --weights")
    return Description(name, method.kind, method.parameter_count, method.ratios, method.weights)

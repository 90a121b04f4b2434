"""The systems of Table 1, one file each, found by name.

A new method is a new file in this folder: ``my_method.py`` with a class ``METHOD`` and a function
``build(weights=None, **options)`` that returns a `Method` is `get("my-method")` everywhere. The environment variable
ISTAPP_METHODS names further folders of such files, so that a method of one's own need not live in this package.
"""

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from istapp.errors import UserError, nearest
from istapp.methods.base import Blockwise, Method, Network, PerRatio, Tied, blockwise

__all__ = [
    "Blockwise", "Description", "Method", "Network", "PerRatio", "Tied",
    "blockwise", "class_of", "describe", "get", "names",
]  # fmt: skip

__path__ += [folder for folder in os.environ.get("ISTAPP_METHODS", "").split(os.pathsep) if folder]

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
    return _module(name).build(weights=weights, **options)


def class_of(name: str) -> type[Method]:
    """Return the class behind a method's name, for instance to train it from the start.

    Raises:
        UserError: an unknown name.
    """
    return _module(name).METHOD


def _module(name: str) -> ModuleType:
    if name not in names():
        raise UserError(f"no method '{name}'{nearest(name, names())}; known: {', '.join(names())}")
    return import_module(f"istapp.methods.{name.replace('-', '_')}")


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
    module = _module(name)
    try:
        method = module.build()
    except UserError:
        method = module.METHOD()
        return Description(name, method.kind, method.parameter_count, method.ratios, "none: name a file with --weights")
    return Description(name, method.kind, method.parameter_count, method.ratios, method.weights)

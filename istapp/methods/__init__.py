"""The systems of Table 1, one file each, found by name.

A new method is a new file in this folder: ``my_method.py`` with a class ``METHOD``, a `Method`, is `get("my-method")`
everywhere. `loading.build` makes it ready for use; a file that needs more for that has a function
``build(weights=None, **options)``. The environment variable ISTAPP_METHODS names further folders of such files, so that
a method of one's own need not live in this package. One that is damaged takes nothing but itself away; one that is
called like a method of this package is left out, which `faults` tells.
"""

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import torch

from istapp.basics.errors import UserError, nearest, told
from istapp.method import loading
from istapp.method.base import Method, Network, Tied
from istapp.method.options import Option, checked, options_of
from istapp.method.wrapping import Blockwise, PerRatio, blockwise, whole_image

__all__ = [
    "Blockwise", "Description", "Method", "Network", "Option", "PerRatio", "Tied",
    "blamed", "blockwise", "class_of", "describe", "faults", "get", "names", "whole_image",
]  # fmt: skip

__path__ += [folder for folder in os.environ.get("ISTAPP_METHODS", "").split(os.pathsep) if folder]


def names() -> list[str]:
    """Return the names of all methods, sorted; a file of one's own whose name starts with _ is none."""
    return sorted({m.name.replace("_", "-") for m in iter_modules(__path__) if not m.name.startswith("_")})


def faults() -> list[str]:
    """Return a line for each folder of ISTAPP_METHODS that is none, and for each file whose name is taken."""
    lines, taken = [], {m.name: m.module_finder.path for m in iter_modules(__path__[:1])}  # type: ignore[union-attr]
    for folder in __path__[1:]:
        if not os.path.isdir(folder):
            lines.append(f"ISTAPP_METHODS names {folder}, which is no folder")
        elif not os.access(folder, os.R_OK | os.X_OK):
            lines.append(f"ISTAPP_METHODS names {folder}, which may not be read")
        for module in iter_modules([folder]):
            if taken.setdefault(module.name, folder) != folder:
                lines.append(
                    f"{Path(folder) / module.name}.py is left out: there is a {module.name}.py in "
                    f"{taken[module.name]} already; give it another name"
                )
    return lines


def get(name: str, weights: str | Path | None = None, **options: object) -> Method:
    """Build a method by name.

    Args:
        name: one of `names()`.
        weights: a ``.safetensors`` file of this project or an official ``.pkl``; by default the shipped weights.
        options: what `describe` lists, for instance ``lam=0.01``; text is read as on the command line.

    Raises:
        UserError: an unknown name or option, no weights, or weights of another network.
    """
    module = _module(name)
    chosen = checked(module, name, options)
    with blamed(name):
        return _build(module)(weights, **chosen)


def class_of(name: str) -> type[Any]:
    """Return the class behind a method's name, for instance to train it from the start.

    Raises:
        UserError: an unknown name.
    """
    return _module(name).METHOD


def _module(name: str) -> ModuleType:
    if name not in names():
        wrong = "".join(f"; {line}" for line in faults())
        raise UserError(f"no method '{name}'{nearest(name, names())}; known: {', '.join(names())}{wrong}")
    with blamed(name):
        module = import_module(f"istapp.methods.{name.replace('-', '_')}")
        if not isinstance(getattr(module, "METHOD", None), type):
            raise UserError(f"{module.__file__} is no method: it needs a class METHOD")
        own = getattr(module.METHOD, "name", "")
        if own != name:  # its rows would be taken for another method's
            raise UserError(f"{module.__file__} is the method '{name}', but its class is called '{own}': rename either")
    return module


def _build(module: ModuleType) -> Callable[..., Method]:
    """Return what builds a file's method: its own ``build``, or the one of all that have none."""
    return getattr(module, "build", None) or partial(loading.build, module.METHOD)


@contextmanager
def blamed(name: str) -> Iterator[None]:
    """Turn whatever a method's file of ISTAPP_METHODS raises into a UserError that names file and line.

    What any other method raises passes: a method of this package would have a defect, not the user.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        module = name.replace("-", "_")
        folder = next((m.module_finder.path for m in iter_modules(__path__) if m.name == module), "")  # type: ignore
        if isinstance(error, UserError) or (told(error) and not isinstance(error, OSError)):  # it says what to do
            raise
        if folder not in __path__[1:]:
            raise
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename.startswith(folder)]
        line = getattr(error, "lineno", None) or (lines or ["?"])[-1]
        kind = type(error).__name__
        raise UserError(f"{Path(folder, module)}.py cannot be used: {kind} in line {line}: {error}") from error


@dataclass(frozen=True)
class Description:
    """What the command line lists of a method; `ratios` None means any, `weights` is empty for a method without."""

    name: str
    kind: str
    parameters: int
    ratios: tuple[float, ...] | None
    weights: str
    summary: str
    options: tuple[Option, ...]


def describe(name: str) -> Description:
    """Return what is known of a method without running it; a network without weights has its published size.

    Raises:
        UserError: an unknown name, or a file of one's own that cannot be used.
    """
    module = _module(name)
    summary = " ".join((module.__doc__ or "").partition("\n\n")[0].replace(":math:", "").replace("`", "").split())
    options = tuple(options_of(module).values())
    with blamed(name):
        try:
            method, weights = _build(module)(), None
        except UserError:
            with torch.device("meta"):  # only its numbers are counted: no memory, no time for drawing them
                method, weights = module.METHOD(), "none: name a file with --weights"
        source = method.weights if weights is None else weights
        return Description(name, method.kind, method.parameter_count, method.ratios, source, summary, options)

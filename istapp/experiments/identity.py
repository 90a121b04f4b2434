"""What a row of results was made of: the image's pixels, the method's tensors, the code and options that computed it.

Names lie: two folders are called ``val``, a weights file is replaced by another of its name, a tree is edited twice
without a commit in between. These hashes do not. The code's hangs on what the code does: comments, docstrings and
layout are left out of it, and so are files that compute no number.
"""

import ast
import hashlib
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from istapp.basics.provenance import file_hash, tensors_hash
from istapp.methods import Method

#: So many hexadecimal digits of a hash stand in a row.
DIGITS = 16

#: Modules that every number goes through, whatever the method.
_EVERY = ("istapp.metrics", "istapp.images.image", "istapp.sampling")

#: Modules that methods import and that compute nothing.
_NOTHING = {"istapp", "istapp.basics.errors", "istapp.methods", "istapp.basics.paths", "istapp.basics.provenance"}


def short(digest: str) -> str:
    """Return the part of a hash that stands in a row."""
    return digest[:DIGITS]


def weights_key(method: Method, ratio: float) -> str:
    """Return the hash of what a method computes with at a ratio in (0, 1], empty where that is no tensor.

    It is the ``weights_hash`` in the header of a network's weights, as far as it is long.
    """
    tensors = method.tensors(ratio)
    return short(tensors_hash(tensors)) if tensors else ""


def code_key(method: Method, *functions: Callable[..., Any]) -> str:
    """Return the hash of the code and the options behind a method's numbers, empty where its source is not at hand.

    The code is that of the method's classes, of all that they import from this package (or from the folder that their
    file lies in), and of the `functions` that call it; with it counts the content of files that such a module names in
    a constant. A class that was typed into an interpreter has no source: what it computed is never taken for known.
    """
    own = {k.__module__ for each in _layers(method) for k in type(each).__mro__ if issubclass(k, Method)}
    files = {name: _file(name) for name in own}
    if None in files.values():
        return ""
    folders = {path.parent for path in files.values() if path}
    parts = [_module_key(name) for name in sorted(_closure([*own, *_EVERY], folders))]
    parts += [_source_key(inspect.getsource(function)) for function in functions]
    return short(_hash([*parts, repr(_settings(method))]))


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _layers(method: Method) -> list[Method]:
    """Return a method and the methods that it wraps."""
    held = [v for value in vars(method).values() for v in (value.values() if isinstance(value, dict) else [value])]
    inner = [value for value in held if isinstance(value, Method)]
    return [method, *(layer for each in inner for layer in _layers(each))]


def _settings(value: Any) -> Any:
    """Return what was chosen when a method was built, in a form whose text is the same every time.

    Left out are private attributes, which cache and count, what a row tells anyway, and tensors, which have a hash of
    their own; of any other object only its class is told.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_settings(each) for each in value]
    if isinstance(value, dict):
        return sorted((str(key), _settings(each)) for key, each in value.items())
    if isinstance(value, Method):
        public = {k: v for k, v in vars(value).items() if k[0] != "_" and k not in ("weights", "variant", "training")}
        return [type(value).__qualname__, _settings(public)]
    return type(value).__qualname__


@cache
def _file(module: str) -> Path | None:
    """Return the source file of a module, None where it has none."""
    found = sys.modules.get(module)
    origin = getattr(found, "__file__", None)
    if origin is None and found is None:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        origin = spec.origin if spec else None
    return Path(origin).resolve() if origin and origin.endswith(".py") else None


def _closure(modules: Iterable[str], folders: Iterable[Path]) -> set[str]:
    """Return modules and everything that they import, directly or not, from this package or from `folders`."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name) if name not in found | _NOTHING else None
        if path and (name.startswith("istapp.") or path.parent in folders):
            found.add(name)
            waiting += _imports(name)
    return found


@cache
def _tree(module: str) -> ast.Module:
    path = _file(module)
    return ast.parse(path.read_bytes() if path else b"")


def _imports(module: str) -> set[str]:
    """Return the names that a module imports; those that are no modules are told apart by having no file."""
    names: set[str] = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = "." * node.level + (node.module or "")
            parent = importlib.util.resolve_name(parent, module.rpartition(".")[0] or module) if node.level else parent
            names |= {parent, *(f"{parent}.{alias.name}" for alias in node.names)}
    return names


@cache
def _module_key(module: str) -> str:
    """Return the hash of what a module does, and of the files that its constants name."""
    constants = vars(sys.modules[module]).items() if module in sys.modules else ()
    named = sorted((k, v) for k, v in constants if k.isupper() and isinstance(v, Path) and v.is_file())
    return _hash([_tree_key(_tree(module)), *(file_hash(path) for _, path in named)])


def _source_key(source: str) -> str:
    """Return the hash of what a piece of source does: the same whatever its comments, docstrings and layout."""
    return _tree_key(ast.parse(textwrap.dedent(source)))


def _tree_key(tree: ast.AST) -> str:
    return _hash([repr(_plain(tree))])


def _plain(node: Any) -> Any:
    """Return a syntax tree as nested tuples, without docstrings, places, and fields that only some Pythons have."""
    if isinstance(node, list):
        return tuple(_plain(each) for each in node)
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    if documented and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:]
    return (type(node).__name__, *((k, _plain(v)) for k, v in fields.items() if v is not None and v != []))

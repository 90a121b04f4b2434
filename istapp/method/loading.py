"""Building a network with its weights: a file that was named, or the ones shipped in `data/weights`."""

from pathlib import Path
from typing import Any, TypeVar

import torch

from istapp.basics import paths
from istapp.basics.errors import UserError
from istapp.method import weights
from istapp.method.base import Method, Network
from istapp.method.wrapping import PerRatio, as_published

N = TypeVar("N", bound=Network)


def shipped(name: str) -> list[tuple[Path, dict[str, Any]]]:
    """Return files and headers of the weights shipped for a method and meant for use, the largest network first.

    Ablations and other side experiments carry ``"main": false`` in their header and are left out, and so are headers
    alone, whose weights are not shipped.
    """
    files = [file for file in sorted(paths.WEIGHTS.glob(f"{name}-*.safetensors")) if weights.is_whole(file)]
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
        # The queue has runs of this package's methods alone.
        ours = (Path(__file__).parents[1] / "methods" / f"{name.replace('-', '_')}.py").is_file()
        raise UserError(
            f"no weights for {name} are shipped yet: name a file with --weights FILE (Python: weights=FILE), "
            f"or train them: {f'istapp train {name}' if ours else 'istapp.training.train'}"
        )
    return found


def filled(network: type[Network], path: Path) -> Method:
    """Return the network with this project's weights, block by block where its authors run it so.

    Raises:
        UserError: the weights are another method's, or do not fit.
    """
    header = weights.header(path)
    if header.get("method") != network.name:
        raise UserError(f"{path} holds weights of {header.get('method')}, not of {network.name}")
    if "config" not in header:
        raise UserError(f"{path} has a damaged header: it has no config")
    method = believed(network, header["config"], weights.shapes(path), path)
    method.fill(weights.load(path)[1], path.name)
    return as_published(method)


#: The most stages, channels, layers or iterations of a network that is believed to be one.
LARGEST = 1024


def believed(network: type[N], config: dict[str, Any], shapes: dict[str, tuple[int, ...]], source: str | Path) -> N:
    """Return the network of that configuration, to be filled, after it was found to be that of a file's tensors.

    It is built without memory for its numbers, so that a header cannot ask for more than its file holds; and without
    drawing them, which takes time and would change what is drawn next.

    Raises:
        UserError: the configuration is none, or another one than the tensors'.
    """
    for name, value in config.items():
        if not _plausible(name, value):
            raise UserError(f"{source} has a damaged header: {name} is {str(value)[:40]}")
    try:
        with torch.device("meta"):
            built = network(**config)
    except UserError:
        raise
    except Exception as error:  # whatever a constructor makes of a foreign file's words
        raise UserError(f"{source} has a damaged header: no {network.name} is like {config} ({error})") from None
    expected = {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}
    if wrong := sorted(set(expected.items()) ^ set(shapes.items())):
        raise UserError(f"{source} does not fit {network.name} {config}: it differs first at '{wrong[0][0]}'")
    if {name for name, _ in built.named_buffers()} <= set(expected):
        return built.to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):  # what its file does not hold, its constructor has to make
        return network(**config)


def _plausible(name: str, value: Any) -> bool:
    """Tell whether a header's value may be a number, a switch or a short list of numbers of some network."""
    if isinstance(value, list):
        return len(value) <= 32 and all(isinstance(each, (int, float)) and abs(each) <= LARGEST for each in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return 0 <= value < 2**63 if name.endswith("seed") else 1 <= value <= LARGEST
    return value is None or isinstance(value, bool) or isinstance(value, float) and abs(value) <= LARGEST


def build(method: type[Method], path: str | Path | None = None, **options: Any) -> Method:
    """Return a method ready for use, as it is built where its file in `istapp.methods` has no ``build`` of its own.

    Args:
        method: its class.
        path: weights of a network; by default the largest that are shipped, those of every ratio as one method.
        options: of a method without weights.

    Raises:
        UserError: no weights, another network's, or weights for a method that has none.
    """
    if not issubclass(method, Network):
        if path is not None:
            raise UserError(f"{method.name} has no weights: leave out --weights")
        return method(**options)
    if path is not None:
        return filled(method, Path(path))
    largest_last = {header.get("config", {}).get("ratio"): file for file, header in required(method.name)[::-1]}
    built = {ratio: filled(method, file) for ratio, file in largest_last.items()}
    return built[None] if None in built else PerRatio([*built.values()])

"""What the README states in numbers that no cell computes."""

from istapp import sampling
from istapp.paper.claims import claim, text

PAGE = "README.md"


@claim("a network that recovers whole photographs from a tenth of the numbers", 0.1, within=0.001)
def tenth() -> float:
    return sampling.measurements(0.1) / sampling.BLOCK**2


@claim("# whole blocks of 33 x 33 pixels", 33)
def blocks() -> float:
    return sampling.BLOCK


@claim("Python 3.11 or newer")
def python() -> bool:
    return 'requires-python = ">=3.11"' in text("pyproject.toml")

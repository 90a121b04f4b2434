"""What how to use this book states in numbers that no cell computes."""

from istapp import sampling
from istapp.paper.claims import claim

PAGE = "book/how_to_use.md"


@claim("# whole blocks of 33 x 33 pixels", 33)
def blocks() -> float:
    return sampling.BLOCK

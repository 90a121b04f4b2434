"""What the photographs states in numbers that no cell computes."""

from istapp.basics import paths
from istapp.method import weights
from istapp.paper.claims import claim

PAGE = "book/photographs.md"


@claim("No weights that come with the book were trained on them")
def untrained() -> bool:
    sets = {weights.header(file)["training_set"] for file in paths.WEIGHTS.glob("*.safetensors")}
    return sets <= {"Train400", "T91"}

"""The rows of the two untrained networks, on one small crop: they fit a network to every image, which takes a while.

``istapp study untrained`` writes ``data/results/dip.csv`` and ``data/results/nlr-csnet.csv``: the central 128 x 128
pixels of Set11's cameraman at 10 and 30 %, with a network of 32 channels and 500 iterations, as the rows' `variant`
tells. It is resumed where it stopped. The published 128 channels and 2000 iterations are arguments of `run`. These rows
are no cells of Table 1, which is about all of Set11.
"""

from typing import Any

from istapp import methods
from istapp.basics import paths
from istapp.experiments.evaluation import evaluate
from istapp.images import datasets
from istapp.images.registry import centre

CROP = 128
LABEL = f"Set11-cameraman-{CROP}"
RATIOS = (0.1, 0.3)
NAMES = ("dip", "nlr-csnet")


def run(name: str, channels: int = 32, iterations: int = 500, **more: Any) -> list[dict[str, Any]]:
    """Evaluate an untrained network on the crop and return its rows; they are added to its file of results.

    Raises:
        UserError: Set11 is not at hand.
    """
    image = centre(datasets.load("Set11", images=["cameraman"])[0], CROP)
    method = methods.get(name, channels=channels, iterations=iterations, **more)
    out = paths.RESULTS / f"{name}.csv"
    return evaluate(method, [image], RATIOS, out=out, label=LABEL, progress=lambda line: print(line, flush=True))

"""What the page "A network in your browser" loads of this project, and what its words need to know.

python -m demo.payload          print the shipped network's numbers, as JSON
python -m demo.payload FILE     and write network, second moment and the page's worker to one script
"""

import base64
import gzip
import json
import sys
from pathlib import Path

import numpy as np
from demo.graphs import graphs

from istapp import methods
from istapp.method import loading
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.methods.linear import second_moment
from istapp.sampling import BLOCK, measurements

HERE = Path(__file__).parent
WORKER = ("measure.js", "operators.js", "worker.js")
NETWORK = "ista-net-pp"
SEED = 0


def facts() -> dict[str, str]:
    """Return what the page says of the network that is shipped, by the names of its substitutions."""
    header = _header()
    config, ratios = header["config"], header["ratios"]
    return {
        "stages": str(config["stages"]),
        "channels": str(config["channels"]),
        "parameters": f"{header['parameters']:,}",
        "pixels": f"{header['pixels'] / 1e6:,.0f} million",
        "training_set": header["training_set"],
        "least": f"{100 * min(ratios):.0f}",
        "most": f"{100 * max(ratios):.0f}",
    }


def script() -> str:
    """Return the script `network.js`: graphs, second moment, generator and worker, as text."""
    network, header = methods.get(NETWORK), _header()
    if not isinstance(network, ISTANetPP):
        raise TypeError(f"the page is written for ISTA-Net++ itself, not for {type(network).__name__}")
    deviation, correlation = packed_moment(second_moment().numpy())
    state = np.random.PCG64(SEED).state["state"]
    given = {
        "stages": network.config["stages"],
        "trained": [round(100 * end) for end in (min(header["ratios"]), max(header["ratios"]))],
        "measurements": [measurements(percent / 100) for percent in range(1, 51)],
        "generator": {"state": str(state["state"]), "increment": str(state["inc"])},
        "graphs": {name: packed(graph) for name, graph in graphs(network).items()},
        "deviation": packed(deviation.astype("<f4").tobytes()),
        "correlation": packed(correlation.astype("<i2").tobytes()),
        "worker": "\n".join((HERE / name).read_text(encoding="utf-8") for name in WORKER),
    }
    return f"istappDemo.network = {json.dumps(given)};\n"


def packed(content: bytes) -> str:
    """Return bytes as text that JavaScript unpacks: gzip, then base64. The same bytes give the same text."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode("ascii")


def packed_moment(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the second moment C, (1089, 1089), as few numbers: its waves' deviations, and their correlations.

    In the basis of the cosine transform C has no entries between waves of unlike parity, since the blocks were averaged
    over flips. What remains are four symmetric matrices, whose upper triangles follow each other, by (parity down,
    parity across); a correlation, from -1 to 1, is kept in 16 bits.

    Returns:
        Deviations, (1089,) float64, and correlations, (149057,) whole numbers from -32767 to 32767.
    """
    n = np.arange(BLOCK)
    cosines = np.sqrt(2 / BLOCK) * np.cos(np.pi * (n + 0.5) * n[:, None] / BLOCK)
    cosines[0] /= np.sqrt(2)
    basis = np.kron(cosines, cosines)
    waves = basis @ c @ basis.T
    deviation = np.sqrt(waves.diagonal())
    down, across = np.divmod(np.arange(BLOCK**2), BLOCK)
    triangles = []
    for parity in ((0, 0), (0, 1), (1, 0), (1, 1)):
        members = np.flatnonzero((down % 2 == parity[0]) & (across % 2 == parity[1]))
        correlation = waves[np.ix_(members, members)] / deviation[members] / deviation[members, None]
        triangles.append(correlation[np.triu_indices(len(members))])
    return deviation, np.rint(32767 * np.concatenate(triangles)).clip(-32767, 32767).astype(int)


def _header() -> dict:
    return loading.required(NETWORK)[0][1]


if __name__ == "__main__":
    print(json.dumps(facts()))
    for file in sys.argv[1:]:
        Path(file).write_text(script(), encoding="utf-8")

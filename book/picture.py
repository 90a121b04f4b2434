"""Write the README's picture: the figure of the cover, as it was last executed.

    make book && make picture

The picture carries a hash of what computed it, so that a test can tell when it has fallen behind.
"""

import base64
import hashlib
import io
import json
from pathlib import Path

from PIL import Image

from istapp import methods
from istapp.experiments.identity import weights_key

ROOT = Path(__file__).resolve().parents[1]
COVER = ROOT / "notebooks" / "cover.ipynb"
PICTURE = ROOT / "book" / "images" / "reconstruction.jpg"


def cells(notebook: Path) -> dict[str, dict]:
    """Return the cells of a notebook by their ids."""
    return {cell["id"]: cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]}


def key() -> str:
    """Return the hash of what decides the picture: its cell, and the weights that ISTA-Net++ has by default."""
    parts = ["".join(cells(COVER)["cover-picture"]["source"]), weights_key(methods.get("ista-net-pp"), 0.1)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def stored_key() -> str:
    """Return the hash that the picture carries."""
    with Image.open(PICTURE) as image:
        return image.info["comment"].decode()


def write(executed: Path = ROOT / "build" / "executed" / "cover.ipynb") -> None:
    """Take the figure out of an executed cover and store it, with the key, as a small JPEG."""
    outputs = cells(executed)["cover-picture"]["outputs"]
    encoded = next(output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {}))
    PICTURE.parent.mkdir(exist_ok=True)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        image.convert("RGB").save(PICTURE, quality=88, comment=key())


if __name__ == "__main__":
    write()
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size // 1024} KiB")

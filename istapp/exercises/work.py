"""A reader's own copy of a chapter in Colab, whose machines forget: kept on Google Drive or downloaded.

Colab opens a chapter from the book's repository, and what is written into it is gone with the tab. JupyterLab needs
nothing of this: there a notebook is a file of yours.
"""

import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from istapp.basics.errors import UserError

#: Where Colab shows a reader's Drive, and the folder on it.
MOUNT = Path("/content/drive")
FOLDER = Path("MyDrive", "istapp")
PLACES = ("drive", "download")


def save(to: str) -> Path | None:
    """Keep this notebook as it is now, with what was written into it, and say where.

    Args:
        to: "drive", which asks for your consent first; "download"; or "", which does nothing.

    Returns:
        The file that was written; None outside of Colab, where nothing is to be done, and for "".

    Raises:
        UserError: no such place.
    """
    if to not in ("", *PLACES):
        raise UserError(f'no place is called {to!r}: write "drive" or "download"')
    if not to:
        return None
    if "google.colab" not in sys.modules:
        print("Nothing to do: outside of Colab the notebook is a file of yours, and Ctrl+S saves it.")
        return None
    page = notebook()
    folder = _on_drive() if to == "drive" else Path.cwd()
    file = folder / f"{title(page)}-{datetime.now():%Y-%m-%d-%H%M%S}.ipynb"
    file.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if to == "download":
        from google.colab import files  # pyright: ignore[reportMissingImports]

        files.download(str(file))
    print(f"kept as {file}" if to == "drive" else f"sent to your downloads as {file.name}")
    return file


def _on_drive() -> Path:
    from google.colab import drive  # pyright: ignore[reportMissingImports]

    drive.mount(str(MOUNT))
    folder = MOUNT / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def notebook() -> dict[str, Any]:
    """The notebook as it stands in the reader's browser; where Colab does not hand it over, the cells that were run."""
    try:
        from google.colab import _message  # pyright: ignore[reportMissingImports]

        page = _message.blocking_request("get_ipynb", timeout_sec=20)["ipynb"]
        if page["cells"]:
            return page
    except Exception:  # a part of Colab that it promises to nobody: whatever it says, what was run is known here
        pass
    return history()


def history() -> dict[str, Any]:
    """The code cells that were run, in the order in which they were, as a notebook without outputs."""
    from IPython import get_ipython

    ran = [source for source in get_ipython().user_ns["In"] if source.strip()]
    blank = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [blank | {"id": f"ran-{n}", "source": source} for n, source in enumerate(ran, 1)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def title(page: dict[str, Any]) -> str:
    """The first heading of a notebook as the beginning of a file's name; "chapter" where it has none."""
    text = "\n".join("".join(cell["source"]) for cell in page["cells"] if cell["cell_type"] == "markdown")
    heading = re.search(r"^# +(.+)$", text, re.M)
    return re.sub(r"\W+", "-", heading[1].lower()).strip("-") if heading else "chapter"

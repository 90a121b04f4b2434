"""What the chapters need wherever they run: the book's build, JupyterLab or Colab (which has no MyST-NB)."""

from typing import Any


def glue(name: str, value: Any) -> None:
    """Keep `value` in the notebook under `name`, invisibly, so that a page of the book can quote it.

    Whatever behaves as one number (a numpy scalar, a tensor with one element) is kept as a plain int or float, so that
    a page can format it::

        {glue:text}`../notebooks/01_compressive_sensing.ipynb::name:.2f`
    """
    from IPython.display import display

    value = value.item() if hasattr(value, "item") else value
    metadata = {"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}}
    display({"application/papermill.record/text/plain": repr(value)}, raw=True, metadata=metadata)

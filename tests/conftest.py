"""What several tests need: the image sets and official weights of a machine that has them."""

import os
from pathlib import Path

import pytest


def _folder(variable: str) -> Path:
    named = os.environ.get(variable)
    if not named or not Path(named).is_dir():
        pytest.skip(f"{variable} names no folder")
    return Path(named)


@pytest.fixture
def data_dir() -> Path:
    """The folder of image sets that ISTAPP_DATA names; skips where there is none."""
    return _folder("ISTAPP_DATA")


@pytest.fixture
def official_dir() -> Path:
    """The folder of official weights that ISTAPP_OFFICIAL names; skips where there is none."""
    return _folder("ISTAPP_OFFICIAL")

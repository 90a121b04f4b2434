"""Small pictures for the tests of images and sets, and what an error must look like."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from istapp.basics.errors import UserError

GRAY = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9))
COLOUR = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def noise(seed: int, shape=(8, 11)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


def refused(call: Callable, *words: str) -> str:
    """Return the error's one line, in which all the words stand."""
    with pytest.raises(UserError) as error:
        call()
    line = str(error.value)
    assert "\n" not in line
    for word in words:
        assert word in line
    return line

"""Answers to the exercises, a module for each chapter: a right one first, then wrong ones."""

import importlib
from typing import Any

#: The arguments of a check.
Answer = tuple[Any, ...]

CASES: dict[str, list[Answer]] = {}
for _number in range(1, 14):
    CASES |= importlib.import_module(f"answers.chapter_{_number:02}").CASES

"""Training: one trainer, recipes as data, states that any machine can continue."""

from istapp.training.recipe import Recipe, first, of_header, ours, released
from istapp.training.run import Result, Run
from istapp.training.trainer import train
from istapp.training.validation import halved_where_free, split, validation_psnr

__all__ = [
    "Recipe", "Result", "Run", "first", "halved_where_free", "of_header", "ours", "released", "split", "train",
    "validation_psnr",
]  # fmt: skip

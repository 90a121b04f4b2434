"""Training: one trainer, recipes as data, states that any machine can continue."""

from istapp.training.recipe import Recipe, ours, released
from istapp.training.trainer import Result, Run, split, train, validation_psnr

__all__ = ["Recipe", "Result", "Run", "ours", "released", "split", "train", "validation_psnr"]

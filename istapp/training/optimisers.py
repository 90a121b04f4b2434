"""What a recipe does to the weights: the layers that begin silent, and the optimisers that step them."""

import torch

from istapp.method.base import Network
from istapp.training.muon import Muon
from istapp.training.recipe import Recipe


def silence(network: Network) -> None:
    """Set to zero what the network names, so that its stages begin by passing their input on."""
    names = set(network.silent())
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name in names:
                weight.zero_()


def optimisers(network: Network, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return AdamW, and before it Muon for the weights that the network names where the recipe wants it."""
    names = set(network.matrices()) if recipe.optimiser == "muon" else set()
    matrices = [weight for name, weight in network.named_parameters() if name in names]
    others = [weight for name, weight in network.named_parameters() if name not in names]
    found: list[torch.optim.Optimizer] = []
    if matrices:
        found.append(Muon(matrices, recipe.muon_rate, recipe.momentum, recipe.muon_decay))
    if others:
        found.append(torch.optim.AdamW(others, recipe.rate, weight_decay=recipe.weight_decay, fused=True))
    for optimiser in found:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return found

"""Magnitude pruning: the smallest weights of every linear layer are zero, and stay so while the rest trains.

Han et al. 2015 (Learning both Weights and Connections for Efficient Neural Networks), without the retraining cycles;
`torch.nn.utils.prune.l1_unstructured` picks the same weights. Here no parameter is renamed, so that what is saved is
the plain model with zeros in it.
"""

import torch
from torch import Tensor, nn


def magnitude_mask(weight: Tensor, amount: float) -> Tensor:
    """Bool, of the weight's shape: False for the round(amount * size) entries of least absolute value."""
    mask = torch.ones_like(weight, dtype=torch.bool).flatten()
    mask[torch.topk(weight.detach().abs().flatten(), round(amount * weight.numel()), largest=False).indices] = False
    return mask.view_as(weight)


class Pruning:
    """Masks over the weights of every `nn.Linear` of a model.

    Building it zeroes the masked weights and keeps their gradients at zero, so that gradient clipping does not count
    them. `apply` zeroes them again after an optimiser step: momentum and weight decay may have moved them.
    """

    def __init__(self, model: nn.Module, amount: float):
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)] if amount else []
        self.masks = [(module.weight, magnitude_mask(module.weight, amount)) for module in linear]
        for weight, mask in self.masks:
            weight.register_hook(mask.mul)
        self.apply()

    @torch.no_grad()
    def apply(self) -> None:
        for weight, mask in self.masks:
            weight.mul_(mask)

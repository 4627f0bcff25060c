"""Magnitude pruning: the smallest weights of every linear layer are set to zero and stay zero during training.

Han et al. 2015 (Learning both Weights and Connections for Efficient Neural Networks), without the retraining cycles.
`torch.nn.utils.prune.l1_unstructured` prunes the same weights, but it renames parameters. Here no parameter is
renamed, and the saved model is the original architecture with zeros in its weights.
"""

import torch
from torch import Tensor, nn

from pipeline.errors import InputError

LEAST_SHARE = 0.5  # of an encoder's matrices, to be called pruned


def magnitude_mask(weight: Tensor, amount: float) -> Tensor:
    """Bool, of the weight's shape: False for the round(amount * size) entries with the smallest absolute values."""
    mask = torch.ones_like(weight, dtype=torch.bool).flatten()
    mask[torch.topk(weight.detach().abs().flatten(), round(amount * weight.numel()), largest=False).indices] = False
    return mask.view_as(weight)


def _linear_layers(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def check_prunable(encoder: nn.Module, amount: float) -> None:
    """Check that most of an encoder's weights are in `nn.Linear` layers, if an amount is to be pruned.

    GPT-2 and SqueezeBERT have convolutions instead, mixtures of experts have stacked matrices.

    Raises:
        InputError: less than half of its weights, without embeddings, are in linear layers.
    """
    matrices = sum(weight.numel() for weight in encoder.parameters() if weight.dim() > 1)
    matrices -= sum(module.weight.numel() for module in encoder.modules() if isinstance(module, nn.Embedding))
    linear = sum(layer.weight.numel() for layer in _linear_layers(encoder))
    if amount and linear < LEAST_SHARE * matrices:
        raise InputError(
            f"prune.amount {amount}: {linear / matrices:.0%} of the weights of {type(encoder).__name__} are in linear "
            "layers, which alone are pruned; set it to 0, or choose another backbone"
        )


class Pruning:
    """Masks over the weights of every `nn.Linear` of a model.

    The constructor sets the masked weights to zero. It also sets their gradients to zero in every backward pass, so
    that they do not count in gradient clipping. Call `apply` after each optimizer step: it sets the masked weights to
    zero again, since momentum may have changed them.

    Args:
        amount: share of the weights of each layer that is pruned, 0-1.
    """

    def __init__(self, model: nn.Module, amount: float):
        layers = _linear_layers(model) if amount else []
        self.masks = [(layer.weight, magnitude_mask(layer.weight, amount)) for layer in layers]
        for weight, mask in self.masks:
            weight.register_hook(mask.mul)
        self.apply()

    @torch.no_grad()
    def apply(self) -> None:
        for weight, mask in self.masks:
            weight.mul_(mask)

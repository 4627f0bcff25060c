"""Magnitude pruning: the smallest weights of every linear layer are set to zero and stay zero during training.

Han et al. 2015 (Learning both Weights and Connections for Efficient Neural Networks), without the retraining cycles.
`torch.nn.utils.prune.l1_unstructured` prunes the same weights, but it renames parameters. Here no parameter is
renamed, and the saved model is the original architecture with zeros in its weights.
"""

import torch
from torch import Tensor, nn

from pipeline.errors import InputError

LEAST_SHARE = 0.5  # of an encoder's matrices, to be called pruned
RISE_STEPS = 10  # steps between two rises of the share


def magnitude_mask(weight: Tensor, amount: float) -> Tensor:
    """Bool, of the weight's shape: False for the round(amount * size) entries with the smallest absolute values."""
    mask = torch.ones_like(weight, dtype=torch.bool).flatten()
    mask[torch.topk(weight.detach().abs().flatten(), round(amount * weight.numel()), largest=False).indices] = False
    return mask.view_as(weight)


def risen_share(amount: float, progress: float) -> float:
    """The share that is pruned after a part of the rise, 0-1: amount * (1 - (1 - progress)^3)."""
    return amount * (1 - (1 - progress) ** 3)


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

    Pruned weights are zero and get no gradient, so that they do not count in gradient clipping. Call `apply` after each
    optimizer step: it sets them to zero again, since momentum may have changed them. The weights themselves show which
    are pruned, so a resumed training prunes the same ones.

    Args:
        amount: share of the weights of each layer that is pruned, 0-1.
        rise: number of steps in which the share rises from 0 to `amount`; 0 prunes at once.
    """

    def __init__(self, model: nn.Module, amount: float, rise: int = 0):
        self.amount, self.rise = amount, rise
        self.weights = [layer.weight for layer in _linear_layers(model)] if amount else []
        self._masks: dict[int, Tensor] = {}
        for i, weight in enumerate(self.weights):
            weight.register_hook(lambda gradient, i=i: gradient * self._mask(i))
        if not rise:
            self._prune(amount)

    def _mask(self, i: int) -> Tensor:
        if i not in self._masks:
            self._masks[i] = self.weights[i].detach() != 0
        return self._masks[i]

    def _prune(self, share: float) -> None:
        self._masks = {i: magnitude_mask(weight, share) for i, weight in enumerate(self.weights)}
        self._set_to_zero()

    @torch.no_grad()
    def _set_to_zero(self) -> None:
        for i, weight in enumerate(self.weights):
            weight.mul_(self._mask(i))

    def apply(self, step: int) -> None:
        """Set pruned weights to zero after the optimizer step of this number, counted from 1."""
        if step <= self.rise and (step % RISE_STEPS == 0 or step == self.rise):
            self._prune(risen_share(self.amount, step / self.rise))
        self._set_to_zero()

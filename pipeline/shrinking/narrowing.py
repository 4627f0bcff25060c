"""Removes the least important feed-forward units from an encoder; what they did may be fitted to the others."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.shrinking.importance import Units
from pipeline.shrinking.units import keep_units, output_layers, width

MULTIPLE = 32  # of the number of units
# methods after which the weights are fitted: it made units by Fisher information and by activation worse on a trained
# encoder, and the others better (docs/shrinking.md)
FITTED = ("magnitude", "random")
RIDGE = 1e-4  # added to the diagonal of the products, in units of its mean


def steps(units: int, target: int) -> list[int]:
    """The numbers of units after each step from `units` to `target`; a step removes at most about half."""
    found = []
    while units > target:
        half = -(-units // (2 * MULTIPLE)) * MULTIPLE
        units = max(target, half)
        found.append(units)
    return found


def narrowed(
    encoder: PreTrainedModel, target: int, measure: Callable[[PreTrainedModel], Units], fit: bool
) -> PreTrainedModel:
    """An encoder with the `target` most important units of every layer of one that is not used again.

    Args:
        measure: measures the units of an encoder; called before each step.
        fit: whether to change the weights that read the units kept, see `fitted`.
    """
    for size in steps(width(encoder), target):
        units = measure(encoder)
        kept = most_important(units.scores, size)
        layers = output_layers(encoder)
        outputs = [fitted(layer, units.mean[i], units.products[i], kept[i]) for i, layer in enumerate(layers)]
        encoder = keep_units(encoder, kept, outputs if fit else None)
    return encoder


def most_important(scores: Tensor, size: int) -> list[Tensor]:
    """(size,) int64 of each layer: the indices of the units with the highest scores, ascending; ties by the index."""
    return list(scores.argsort(dim=1, descending=True, stable=True)[:, :size].sort(dim=1).values)


def fitted(layer: nn.Linear, mean: Tensor, products: Tensor, kept: Tensor) -> tuple[Tensor, Tensor | None]:
    """The weight (H, k) and the bias (H,) with which the units kept reproduce the layer's output best.

    Least squares over the tokens that were measured, as in K-prune (Park et al. 2024), here with the bias.

    Args:
        mean, products: of the layer's n units, see `Units`.
        kept: (k,) int64.
    """
    weight = layer.weight.detach().double().cpu()
    mean, products = mean.double(), products.double()
    if layer.bias is not None:
        products = products - torch.outer(mean, mean)
    inside = products[kept][:, kept]
    inside = inside + RIDGE * inside.diagonal().mean() * torch.eye(len(kept), dtype=torch.float64)
    # W P[:, K] P[K, K]^-1, with the ridge pulling to the weights as they are
    ahead = products[:, kept].clone()
    ahead[kept] = inside
    new = torch.linalg.solve(inside, (weight @ ahead).T).T
    if layer.bias is None:
        return new.float(), None
    bias = layer.bias.detach().double().cpu() + weight @ mean - new @ mean[kept]
    return new.float(), bias.float()

"""Which sizes an encoder can be given, and which of them to choose."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from pipeline.models.encoders import layer_stack, qa_class
from pipeline.shrinking.narrowing import MULTIPLE
from pipeline.shrinking.units import SETTING, feed_forward, with_width

SHARES = (1, 3 / 4, 1 / 2, 3 / 8, 1 / 4)  # of the units
MOST_DEPTHS = 6  # numbers of layers, evenly spaced
# without a measurement of the units, narrower sizes come after all others
ENOUGH = 1 / 2


class Size(NamedTuple):
    layers: int
    units: int


def sizes(config: PretrainedConfig, all_layers: bool) -> list[Size]:
    """Sizes up to an encoder's own, which is the first.

    Args:
        all_layers: whether all sizes have all layers.
    """
    full = Size(config.num_hidden_layers, getattr(config, feed_forward(config).width))
    depths = np.linspace(full.layers, 1, min(full.layers, MOST_DEPTHS)).round().astype(int).tolist()
    widths = {max(MULTIPLE, int(share * full.units) // MULTIPLE * MULTIPLE) for share in SHARES}
    widths = sorted({full.units, *(units for units in widths if units < full.units)}, reverse=True)
    return [Size(layers, units) for units in widths for layers in (depths[:1] if all_layers else depths)]


def models(config: PretrainedConfig, chosen: list[Size]) -> Iterator[tuple[Size, PreTrainedModel]]:
    """Question-answering models with random weights, in `sizes`; each is valid until the next."""
    for units, group in groupby(chosen, key=lambda size: size.units):
        narrower = with_width(config, units)
        model: Any = qa_class(narrower)(narrower).eval()
        encoder = model.base_model
        stack = layer_stack(encoder, SETTING)
        layers: Any = encoder.get_submodule(stack)
        for size in group:
            encoder.set_submodule(stack, nn.ModuleList(layers[: size.layers]))
            yield size, model


def kept_share(scores: Tensor, size: Size) -> float:
    """The share of the importance of all units that the best units of the first layers have.

    Args:
        scores: (N, n), Fisher information.
    """
    best = scores.sort(dim=1, descending=True).values
    return float(best[: size.layers, : size.units].sum() / scores.sum())


def choose(latencies: dict[Size, float], speedup: float, scores: Tensor | None) -> Size | None:
    """The size to choose among those that are faster than the largest by a factor; None if none is.

    With scores, the size that keeps most of them among those with more than half of the layers; fewer layers only if no
    other is fast enough, since a trained student loses more by them than the scores say (docs/shrinking.md). Without
    scores, the one with most layers among those with half of the units or more, and with most units among these;
    narrower sizes only if no other is fast enough.
    """
    largest = max(latencies)
    fast = [size for size, latency in latencies.items() if latencies[largest] / latency >= speedup and size != largest]
    if scores is not None:
        deep = [size for size in fast if 2 * size.layers > largest.layers]
        return max(deep or fast, key=lambda size: (kept_share(scores, size), size), default=None)
    enough = ENOUGH * largest.units
    return max(fast, key=lambda size: (size.units >= enough, size.layers, size.units), default=None)

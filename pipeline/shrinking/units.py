"""The feed-forward units of an encoder: where each architecture has them, and an encoder with some of them.

A unit is a value between the two linear layers of a feed-forward network, after the activation.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from pipeline import pretrained
from pipeline.errors import InputError
from pipeline.models.encoders import layer_stack, qa_class

SETTING = "shrink.intermediate_size"


@dataclass(frozen=True)
class FeedForward:
    """The feed-forward network of an architecture.

    Attributes:
        up, down: the linear layers from hidden states to units, and from units to hidden states; names in a layer.
        width: the config's key of the number of units.
        gated: whether `up` has two rows a unit, of which the second, in the second half, multiplies its activation.
    """

    up: str
    down: str
    width: str = "intermediate_size"
    gated: bool = False


BERT = FeedForward("intermediate.dense", "output.dense")
FEED_FORWARD = {
    **dict.fromkeys(("bert", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "mpnet"), BERT),
    **dict.fromkeys(("rembert", "roberta", "roberta-prelayernorm", "splinter", "xlm-roberta"), BERT),
    "distilbert": FeedForward("ffn.lin1", "ffn.lin2", width="hidden_dim"),
    "modernbert": FeedForward("mlp.Wi", "mlp.Wo", gated=True),
}


def feed_forward(config: PretrainedConfig) -> FeedForward:
    """The feed-forward network of an encoder with this config.

    Raises:
        InputError: its architecture is not supported.
    """
    if config.model_type not in FEED_FORWARD:
        raise InputError(
            f"{SETTING}: encoders of type {config.model_type} are not supported; set it to null, or choose one of "
            f"type {', '.join(sorted(FEED_FORWARD))}"
        )
    return FEED_FORWARD[config.model_type]


def width(encoder: PreTrainedModel) -> int:
    """The number of units of each layer."""
    return getattr(encoder.config, feed_forward(encoder.config).width)


def output_layers(encoder: PreTrainedModel) -> list[nn.Linear]:
    """The linear layer of each layer that reads its units, the first layer's first."""
    stack: Any = encoder.get_submodule(layer_stack(encoder, SETTING))
    return [layer.get_submodule(feed_forward(encoder.config).down) for layer in stack]


def input_weights(encoder: PreTrainedModel) -> list[Tensor]:
    """(n, rows * H) of each layer: the weights with which a unit, and its gate if it has one, reads hidden states."""
    network = feed_forward(encoder.config)
    stack: Any = encoder.get_submodule(layer_stack(encoder, SETTING))
    weights = [layer.get_submodule(network.up).weight.detach() for layer in stack]
    return [torch.cat(weight.chunk(2), dim=1) if network.gated else weight for weight in weights]


def keep_units(
    encoder: PreTrainedModel, kept: list[Tensor], outputs: list[tuple[Tensor, Tensor | None]] | None = None
) -> PreTrainedModel:
    """A new encoder with only some units.

    Args:
        kept: of each layer, the indices of its units, ascending; the same number in every layer.
        outputs: of each layer, the weight (H, k) and the bias (H,) that read the units kept; None: as they are.
    """
    network, stack, state = feed_forward(encoder.config), layer_stack(encoder, SETTING), encoder.state_dict()
    for i, units in enumerate(kept):
        rows = torch.cat([units, units + width(encoder)]) if network.gated else units
        up, down = (f"{stack}.{i}.{part}" for part in (network.up, network.down))
        for name in (f"{up}.weight", f"{up}.bias"):
            if name in state:
                state[name] = state[name][rows]
        state[f"{down}.weight"] = state[f"{down}.weight"][:, units]
        if outputs:
            state[f"{down}.weight"], bias = outputs[i]
            if bias is not None:
                state[f"{down}.bias"] = bias
    cut: Any = qa_class(encoder.config)(with_width(encoder.config, len(kept[0]))).base_model
    cut.load_state_dict(state)
    return cut


def with_width(config: PretrainedConfig, units: int) -> PretrainedConfig:
    """The config of an encoder with another number of units."""
    cut = copy.deepcopy(config)
    setattr(cut, feed_forward(config).width, units)
    return pretrained.parse_config(type(config), cut.to_dict(), SETTING)

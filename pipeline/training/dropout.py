"""The dropout of any encoder, set for a training and not saved with the model."""

import copy

from torch import nn
from transformers import PreTrainedModel

from pipeline.errors import InputError
from pipeline.models.architectures import own_config

ACTIVATION = "activation_dropout"
# the names that the configs of transformers' question-answering models give it
HIDDEN = (
    "hidden_dropout_prob",
    "hidden_dropout",
    "dropout",
    "dropout_rate",
    ACTIVATION,
    "embedding_dropout",
    "embed_dropout",
    "embd_pdrop",
    "mlp_dropout",
    "qa_dropout",
    "resid_dropout",
    "resid_pdrop",
    "residual_dropout",
)
ATTENTION = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")


def with_dropout(model: PreTrainedModel, dropout: float | None, attention_dropout: float | None) -> PreTrainedModel:
    """The model with the same weights and other dropout; its config says so until the caller puts the old one back.

    Args:
        dropout: of the hidden states, 0-1; None keeps the model's own. A student's span head keeps its own.
        attention_dropout: of the attention weights.

    Raises:
        InputError: the encoder's config has no such dropout.
    """
    changes = {}
    if dropout is not None:
        changes |= _named(model, HIDDEN, dropout, "train.dropout")
    if attention_dropout is not None:
        changes |= _named(model, ATTENTION, attention_dropout, "train.attention_dropout")
    if not changes:
        return model
    config = copy.deepcopy(model.config)
    for name, value in changes.items():
        setattr(own_config(config), name, value)
    changed = type(model)(config)
    changed.load_state_dict(model.state_dict())
    nn.Module.to(changed, model.device, model.dtype)
    return changed


def _named(model: PreTrainedModel, names: tuple[str, ...], value: float, key: str) -> dict[str, float]:
    config = own_config(model.config)
    found = [name for name in names if hasattr(config, name)]
    if not getattr(config, ACTIVATION, None) and ACTIVATION in found:  # most encoders that can have it do not
        found.remove(ACTIVATION)
    if not found:
        raise InputError(f"{key}: the config of {type(model).__name__} has none of {', '.join(names)}; leave it null")
    return dict.fromkeys(found, value)

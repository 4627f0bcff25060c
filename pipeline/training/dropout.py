"""The dropout of any encoder: set for a training and not saved with the model, and computed faster on a CPU."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedConfig, PreTrainedModel

from pipeline.errors import InputError

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
        setattr(_encoder_config(config), name, value)
    changed = type(model)(config)
    changed.load_state_dict(model.state_dict())
    nn.Module.to(changed, model.device, model.dtype)
    return changed


def _named(model: PreTrainedModel, names: tuple[str, ...], value: float, key: str) -> dict[str, float]:
    config = _encoder_config(model.config)
    found = [name for name in names if hasattr(config, name)]
    if not getattr(config, ACTIVATION, None) and ACTIVATION in found:  # most encoders that can have it do not
        found.remove(ACTIVATION)
    if not found:
        raise InputError(f"{key}: the config of {type(model).__name__} has none of {', '.join(names)}; leave it null")
    return dict.fromkeys(found, value)


def _encoder_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """The config that the encoder reads; a student's is inside its own."""
    return getattr(config, "encoder_config", config)


class DropoutMode(TorchFunctionMode):
    """Within it, this thread computes `torch.nn.functional.dropout` on a CPU by `cpu_dropout`.

    It is not for gradient checkpointing, which computes activations again outside of it, with torch's dropout.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (cpu_dropout if func is F.dropout else func)(*args, **kwargs or {})


def cpu_dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    """As `torch.nn.functional.dropout`, several times as fast on a CPU, with other random numbers.

    torch draws them one by one; this draws 64 bits for four values at a time, so that p is a multiple of 1 / 65,536.
    They come from torch's default generator.
    """
    dropped = round(p * 2**16)
    if not training or inplace or not 0 < dropped < 2**16 or input.device.type != "cpu":
        return F.dropout(input, p, training, inplace)
    words = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.int16)[: input.numel()].view(input.shape) >= dropped - 2**15
    return (input * kept.to(input.dtype)).mul_(2**16 / (2**16 - dropped))

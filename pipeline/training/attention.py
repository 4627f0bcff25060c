"""How attention is computed in training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedModel

from pipeline.models.architectures import encoder_config
from pipeline.training.dropout import ATTENTION


def training_attention(model: PreTrainedModel, precision: str) -> tuple[str, str]:
    """The implementation of transformers that computes a model's attention in training, and a note on the choice.

    On a CPU torch's fused attention is faster in float32 and without dropout only. Its backward pass in bfloat16 is
    slower than separate operations (benchmarks/README.md), and it takes no dropout, which `cpu_dropout` computes faster
    among separate operations.
    """
    config: Any = encoder_config(model)
    own: str = config._attn_implementation
    if model.device.type != "cpu" or own != "sdpa":
        return own, ""
    dropout = max((getattr(config, name, None) or 0 for name in ATTENTION), default=0)
    separate = _can_change(model, "eager")
    if separate and precision == "bfloat16":
        return "eager", " (faster in bfloat16 on a CPU)"
    if separate and dropout:
        return "eager", f" (faster on a CPU with its dropout of {dropout:g})"
    return own, f" (not fused because of its dropout of {dropout:g})" if dropout else ""


def _can_change(model: PreTrainedModel, implementation: str) -> bool:
    """Whether transformers can change the model's attention to this; where it cannot, it warns and leaves it."""
    config: Any = encoder_config(model)
    with attention(model, implementation):
        return bool(config._attn_implementation == implementation)


@contextmanager
def attention(model: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Compute a model's attention by one of transformers' implementations within the block."""
    config: Any = encoder_config(model)
    own: str = config._attn_implementation
    if implementation == own:
        yield
        return
    model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.set_attn_implementation(own)

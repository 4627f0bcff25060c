"""What single architectures of transformers need: every branch on a type of model.

Others have a list of their own, in a file that trains alone: the names of their dropouts (`training.dropout`).
"""

import math
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from pipeline import pretrained

PADDING = "padding changes its logits"
INPUTS = "it reads more than tokens"
# question-answering models of transformers that the pipeline cannot use, with the reason; docs/models.md has the table
REFUSED = {
    "canine": PADDING,
    "convbert": PADDING,
    "fnet": PADDING,
    "funnel": PADDING,
    "layoutlmv2": f"{INPUTS}: the page's image and boxes",
    "layoutlmv3": f"{INPUTS}: the page's image and boxes",
    "lilt": f"{INPUTS}: the page's boxes",
    "lxmert": f"{INPUTS}: an image",
    "markuplm": f"{INPUTS}: the page's markup",
    "mra": "its attention is 0 without a CUDA kernel",
    "nystromformer": PADDING,
    "reformer": "its attention hashes at random",
    "roc_bert": f"{INPUTS}: shapes and pronunciations",
    **dict.fromkeys(("t5", "mt5", "umt5"), "its encoder cannot be separated from its output layer"),
    "yoso": PADDING,
}

# encoders whose code in transformers fails where torch's autocast mixes precisions
FLOAT32_ONLY = ("deberta", "xmod")
# lists of a config that can be as long as the encoder has layers, and are not about them: DeBERTa's kinds of attention
NOT_BY_LAYER = {"pos_att_type"}
# names of the modules that embed positions
POSITIONS = {"position_embeddings", "embed_positions", "wpe"}


def encoder_config(model: PreTrainedModel) -> PretrainedConfig:
    """The config of the encoder of a student or another model."""
    return own_config(model.config)


def own_config(config: PretrainedConfig) -> PretrainedConfig:
    """The config that the encoder reads; a student's config contains it."""
    return getattr(config, "encoder_config", config)


def uses_segments(model: PreTrainedModel) -> bool:
    """Whether the model takes segment ids: BERT does, DistilBERT and RoBERTa do not."""
    return pretrained.segment_count(encoder_config(model)) > 1


def made_inputs(config: PretrainedConfig, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """The inputs that a question-answering model of transformers makes for its encoder from (B, L) token ids.

    Longformer's gives the question's tokens global attention, BigBird's the context's tokens segment 1.
    """
    if config.model_type not in ("big_bird", "longformer"):
        return {}
    is_separator = (input_ids == config.sep_token_id).long()
    separators_before = is_separator.cumsum(1) - is_separator
    if config.model_type == "big_bird":
        return {"token_type_ids": (separators_before > 0).long()}
    return {"global_attention_mask": (separators_before + is_separator == 0).long()}


def max_length(model: PreTrainedModel) -> float:
    """The highest number of tokens of a window, by the model's table of positions; infinite if it has none.

    BigBird's sparse attention pads windows to whole blocks. Shorter windows than this function allows get full
    attention, and only their logits do not depend on the batch.
    """
    config = encoder_config(model)
    limits = [math.inf]
    tables: list[Any] = [module for name, module in model.named_modules() if name.split(".")[-1] in POSITIONS]
    for table in tables:
        # RoBERTa's positions start after the padding id, BART's after an offset
        first = 0 if table.padding_idx is None else table.padding_idx + 1
        limits.append(len(table.weight) - getattr(table, "offset", first))
    if getattr(config, "attention_type", None) == "block_sparse":
        limits.append((5 + 2 * config.num_random_blocks) * config.block_size)
    return min(limits)


def needed_separators(model: PreTrainedModel) -> int | None:
    """The number of separators that a window must have; None if any number will do."""
    return 3 if type(model).__name__ == "LongformerForQuestionAnswering" else None


def use_full_attention(model: PreTrainedModel) -> None:
    """Have BigBird compute full attention. It does so itself in its first batches, in several threads at once."""
    modules: list[Any] = list(model.modules())
    for module in modules:
        if hasattr(module, "set_attention_type"):
            module.set_attention_type("original_full")


def computes_by_position(config: PretrainedConfig) -> bool:
    """Whether a layer's formula has its index: DiffLlama's attention, and GPT-2's with an option."""
    return config.model_type == "diffllama" or getattr(config, "scale_attn_by_inverse_layer_idx", False)

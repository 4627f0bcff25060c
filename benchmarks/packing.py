"""Inference without padding: windows are concatenated, and attention stays within each window.

The benchmarks compare it with batches sorted by length. The model is called with transformers' kwargs for flattened
batches (`FlashAttentionKwargs`), so that its `flash_attention_2` computes attention on CUDA where that is installed.
Without it, torch's `varlen_attn` does. On a CPU and in float32 it is one `scaled_dot_product_attention` per window,
which is slow and only for the test of equal logits.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.utils import is_flash_attn_2_available

from pipeline.models.batching import to_device
from pipeline.questions.features import Features

NAME = "packed"


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    scaling: float | None = None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    **_,
) -> tuple[Tensor, None]:
    """(1, heads, T, d) each -> (1, T, heads, d), with attention within each window.

    Args:
        cu_seq_lens_q: (N + 1,) int32, the first of the T tokens of each of N windows, and T.
        max_length_q: tokens of the longest window.
    """
    query, key, value = (one[0].transpose(0, 1) for one in (query, key, value))  # (T, heads, d)
    if query.is_cuda and query.dtype != torch.float32:
        from torch.nn.attention.varlen import varlen_attn

        bounds, longest = (cu_seq_lens_q, cu_seq_lens_q), (max_length_q, max_length_q)
        # pyrefly: ignore [bad-index]  only with return_aux is it a tuple
        return varlen_attn(query, key, value, *bounds, *longest, scale=scaling)[None], None
    each = [
        scaled_dot_product_attention(*(one[begin:end].transpose(0, 1) for one in (query, key, value)), scale=scaling)
        for begin, end in pairwise(cu_seq_lens_q.tolist())
    ]
    return torch.cat(each, dim=1).transpose(0, 1)[None], None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)


def packs(lengths: np.ndarray, max_tokens: int) -> list[np.ndarray]:
    """Split the windows, in order, into packs of at most `max_tokens` tokens; a longer window is a pack by itself."""
    parts, begin, tokens = [], 0, 0
    for i, length in enumerate(lengths):
        if i > begin and tokens + length > max_tokens:
            parts.append(np.arange(begin, i))
            begin, tokens = i, 0
        tokens += length
    return [*parts, np.arange(begin, len(lengths))]


@torch.inference_mode()
def predict(
    model: PreTrainedModel, features: Features, indices: np.ndarray, max_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Like `pipeline.models.inference.predict`, for a BERT of transformers; changes how it computes attention."""
    flash = model.device.type == "cuda" and model.dtype != torch.float32 and is_flash_attn_2_available()
    model.set_attn_implementation("flash_attention_2" if flash else NAME)
    model.eval()
    computed = []
    for part in packs(features.lengths[indices], max_tokens):
        windows = indices[part]
        lengths, places = features.lengths[windows], features.token_indices(windows)
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        position_ids = np.arange(len(places)) - np.repeat(bounds[:-1], lengths)
        ids = (features.input_ids[places], features.token_type_ids[places], position_ids)
        input_ids, token_type_ids, position_ids = (
            to_device(torch.from_numpy(one.astype(np.int64)), model.device)[None] for one in ids
        )
        cu_seq_lens, max_length = to_device(torch.from_numpy(bounds), model.device), int(lengths.max())
        output = model(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            cu_seq_lens_q=cu_seq_lens,
            cu_seq_lens_k=cu_seq_lens,
            max_length_q=max_length,
            max_length_k=max_length,
        )
        computed.append((output.start_logits[0].float(), output.end_logits[0].float()))
    start_logits, end_logits = (torch.cat(end).cpu().numpy() for end in zip(*computed, strict=True))
    return start_logits, end_logits

"""Tiny models with random weights of every question-answering architecture of transformers."""

import numpy as np
import torch
from transformers import CONFIG_MAPPING, MODEL_FOR_QUESTION_ANSWERING_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

from pipeline.questions.features import UNLABELLED
from pipeline.questions.windows import Window, pack

MODEL_TYPES = list(MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES)
CLS, PAD, SEP, QUESTION, VOCABULARY, POSITIONS = 0, 1, 2, 4, 60, 64
# each config takes those of its own keys
SIZES = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
    **dict.fromkeys(("hidden_size", "embedding_size", "d_model", "n_embd", "entity_emb_size"), 16),
    **dict.fromkeys(("num_hidden_layers", "encoder_layers", "decoder_layers", "n_layer", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_head", "num_heads"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "d_inner"), 32),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "head_dim", "d_kv"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "entity_vocab_size"), 8),
    **dict.fromkeys(("num_experts", "num_local_experts"), 4),
    **dict.fromkeys(("initializer_range", "init_std"), 0.3),
    "num_experts_per_tok": 2,
    "block_size": 4,
    "num_random_blocks": 1,
    "pad_token_id": PAD,
    "bos_token_id": CLS,
    "cls_token_id": CLS,
    "decoder_start_token_id": CLS,
    "eos_token_id": SEP,
    "sep_token_id": SEP,
    "question_token_id": QUESTION,
}
OTHERS = {
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "gptj": {"rotary_dim": 4},
    "led": {"attention_window": [8, 8], "max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 64},
    "longformer": {"attention_window": [8, 4]},
    "mobilebert": {"intra_bottleneck_size": 16, "initializer_range": 0.1},
    "reformer": {"axial_pos_embds": False, "lsh_attn_chunk_length": 8, "local_attn_chunk_length": 8},
    "qwen3_next": {"num_hidden_layers": 4, "linear_num_value_heads": 4, "linear_num_key_heads": 2},
    "xmod": {"default_language": "en_XX"},
}
OTHERS |= {name: {"decoder_start_token_id": CLS} for name in ("t5", "mt5", "umt5")}


def config(model_type, **changes):
    kind = CONFIG_MAPPING[model_type]
    known = set(kind().to_dict()) | set(kind.attribute_map)
    values = {key: value for key, value in SIZES.items() if key in known}
    return kind(**values | OTHERS.get(model_type, {}) | changes)


def model(model_type, **changes):
    torch.manual_seed(0)
    made = config(model_type, **changes)
    return MODEL_FOR_QUESTION_ANSWERING_MAPPING[type(made)](made).eval()


def inputs_of(model_type):
    """The names of the inputs that the tokenizer of this model type returns."""
    name = TOKENIZER_MAPPING_NAMES.get(model_type)
    return tokenizer_class_from_name(name).model_input_names if name else ["input_ids", "attention_mask"]


def windows(model_type, lengths, seed=0):
    """Windows of random tokens, as the tokenizer of this model type makes them."""
    rng = np.random.default_rng(seed)
    return pack(_window(model_type, length, rng) for length in lengths)


def _window(model_type, length, rng):
    ids = rng.integers(5, VOCABULARY, length).astype(np.int32)
    question = max(3, length // 3)
    separators = 2 if model_type == "longformer" else 1  # the only one that counts them
    first = question + separators
    ids[0], ids[question:first], ids[-1] = CLS, SEP, SEP
    ids[question - 1] = QUESTION
    segments = np.zeros(length, np.uint8)
    if "token_type_ids" in inputs_of(model_type):
        segments[first:] = 1
    offsets = np.full((length, 2), -1, np.int32)
    return Window(0, ids, segments, offsets, (first, length - 1), UNLABELLED)

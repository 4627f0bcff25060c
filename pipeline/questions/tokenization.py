"""Tokenizers: load one from a hub or a folder, train one on questions, and fingerprint it."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from pipeline.errors import InputError


def load(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerFast:
    """Load the fast tokenizer of a model folder or a hub model.

    Raises:
        InputError: it cannot be loaded, or has no fast version, which `offset_mapping` needs.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
    except Exception as error:  # the library and the hub raise many types of exceptions
        raise InputError(f"cannot load a tokenizer from {source}: {error}") from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(f"the tokenizer of {source} has no fast version, which offset_mapping needs")
    return tokenizer


def train(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train an uncased WordPiece tokenizer like BERT's. Its vocabulary is all characters and the most frequent words.

    A word outside the vocabulary is split into its longest known prefix and single characters. The trainer of
    `tokenizers` is not used: it breaks ties by memory address, so the same texts can give different vocabularies.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = _uncased(special).backend_tokenizer
    words: Counter[str] = Counter()
    for text in texts:
        normal = backend.normalizer.normalize_str(text)
        words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
    characters = sorted(set("".join(words)))
    pieces = special + characters + [f"##{character}" for character in characters]
    frequent = sorted((word for word in words if len(word) > 1), key=lambda word: (-words[word], word))
    pieces += frequent[: max(0, vocab_size - len(pieces))]
    return _uncased(pieces)


def _uncased(pieces: list[str]) -> PreTrainedTokenizerFast:
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, do_lower_case=True)


def definition(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Everything that determines a window's ids: vocabulary, normalizer, pre-tokenizer, special tokens, template."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {name: getattr(tokenizer, f"{name}_id") for name in ("cls_token", "sep_token", "pad_token", "unk_token")}
    return {
        "vocabulary": backend["model"],
        "normaliser": backend["normalizer"],
        "pre-tokenizer": backend["pre_tokenizer"],
        "special tokens": special,
        "added tokens": backend["added_tokens"],
        "template": backend["post_processor"],
        "segments": has_segments(tokenizer),
    }


def has_segments(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether the model takes `token_type_ids`, which separate question and context (BERT does)."""
    return "token_type_ids" in tokenizer.model_input_names


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hexadecimal SHA-256 of the tokenizer's definition; tokenizers with equal fingerprints give equal windows."""
    content = json.dumps(definition(tokenizer), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()

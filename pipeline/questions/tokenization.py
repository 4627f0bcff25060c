"""Tokenizers: from a hub or a folder, or learnt from questions; and what makes two of them the same."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerFast

from pipeline.errors import InputError


def load(source: str, revision: str | None = None) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a model folder or hub model.

    Raises:
        InputError: there is none, or it has no fast version (offsets need one).
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
    except Exception as error:  # the library and the hub raise many kinds, and all of them mean that there is none
        raise InputError(f"no tokenizer in {source}: {error}") from None
    if not tokenizer.is_fast:
        raise InputError(f"the tokenizer of {source} has no fast version, which offsets need")
    return tokenizer


def learn(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """An uncased WordPiece tokenizer, as BERT's, whose vocabulary is all characters and the most frequent words.

    A word outside the vocabulary becomes its characters, but for a longest known beginning. The library's own trainer
    breaks ties by memory address, so that the same texts give another vocabulary each time.
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
    return BertTokenizerFast(vocab={piece: i for i, piece in enumerate(pieces)}, do_lower_case=True)


def definition(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """What turns texts into a window's ids: vocabulary, normaliser, pre-tokenizer, special tokens, template."""
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
    """Whether its model reads segment ids, which tell the question from the context (BERT's does)."""
    return "token_type_ids" in tokenizer.model_input_names


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hexadecimal SHA-256 of the tokenizer's definition; equal where two make the same windows."""
    content = json.dumps(definition(tokenizer), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()

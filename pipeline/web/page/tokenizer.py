"""What the page's tokenizer (tokenizer.js) needs to know of a tokenizer.

The treatment of each character is found by asking the tokenizer, not by reading its options, because browsers and the
`tokenizers` library have tables of different versions of Unicode.
"""

import json
import unicodedata
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from pipeline.errors import InputError
from pipeline.questions.tokenization import has_segments

LETTER, DROPPED, SPACE, ALONE, MAPPED = range(5)  # as in tokenizer.js
# all code points but surrogates and the planes that Unicode has not assigned
CODES = [*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0x110000)]
MARKER = "\U00012000"  # a letter of cuneiform, which no normalizer changes
PARTS = {"model": "WordPiece", "normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}


def describe(tokenizer: PreTrainedTokenizerFast, where: Path) -> dict[str, Any]:
    """The vocabulary, the classes of characters and the special tokens of a tokenizer, as JSON values.

    Args:
        where: the tokenizer's folder, for the error.

    Raises:
        InputError: the page cannot tokenize as this tokenizer does.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    parts = json.loads(backend.to_str())
    _check(parts, where)
    model = parts["model"]
    classes, mapped = characters(backend)
    return {
        "vocabulary": sorted(model["vocab"], key=model["vocab"].get),
        "prefix": model["continuing_subword_prefix"],
        "unknown": model["vocab"][model["unk_token"]],
        "longest_word": model["max_input_chars_per_word"],
        "classes": [next(run) for _, run in groupby(classes, itemgetter(1))],  # where each run begins
        "mapped": mapped,
        "added": [[token["content"], token["id"]] for token in parts["added_tokens"]],
        "special": _special(backend),
        "segments": has_segments(tokenizer),
    }


def _check(parts: dict[str, Any], where: Path) -> None:
    supported = "the page tokenizes only WordPiece with BERT's normalizer and pre-tokenizer"
    for name, expected in PARTS.items():
        kind = (parts[name] or {}).get("type")
        if kind != expected:
            raise InputError(f"{supported}; the {name} in {where / 'tokenizer.json'} is {kind}")
    ids = sorted(parts["model"]["vocab"].values())
    if ids != list(range(len(ids))):
        raise InputError(f"the ids of the vocabulary in {where / 'tokenizer.json'} are not 0 to {len(ids) - 1}")
    for token in parts["added_tokens"]:
        flags = [name for name in ("normalized", "single_word", "lstrip", "rstrip") if token[name]]
        if flags:
            raise InputError(
                f"{supported}; the added token {token['content']!r} in {where / 'tokenizer.json'} is {', '.join(flags)}"
            )


def characters(backend: Tokenizer) -> tuple[list[tuple[int, int]], list[tuple[int, str]]]:
    """(code point, class) of all, and (code point, text) of those that are normalized to another text."""
    normal = _normalized(backend)
    kinds = _kinds(backend, {character for text in normal.values() for character in text})
    classes, mapped = [], []
    for code, text in normal.items():
        character = chr(code)
        if text == "":
            kind = DROPPED
        elif text == f" {character} ":  # a Chinese character
            kind = ALONE
        elif len(text) == 1 and (text == character or kinds.get(text) == SPACE):
            kind = kinds.get(text, LETTER)
        else:
            kind = MAPPED
            mapped.append((code, text))
        classes.append((code, kind))
    return classes, mapped


def _normalized(backend: Tokenizer) -> dict[int, str]:
    """The text that each character is normalized to, by code point, in order.

    BERT's normalizer changes each character by itself, except that it puts combining marks that it neither drops nor
    composes in canonical order. The page does not; such marks are rare, and two of them in another order rarer.
    """
    texts = backend.normalizer.normalize_str("".join(MARKER + chr(code) for code in CODES if chr(code) != MARKER))
    codes = [code for code in CODES if chr(code) != MARKER]
    normal = dict(zip(codes, texts.split(MARKER)[1:], strict=True))
    return dict(sorted({**normal, ord(MARKER): MARKER}.items()))


def _kinds(backend: Tokenizer, characters: set[str]) -> dict[str, int]:
    """SPACE or ALONE for the characters at which the pre-tokenizer splits."""
    categories = {character: unicodedata.category(character) for character in characters}
    candidates = sorted(character for character, kind in categories.items() if kind[0] in "PSZ" or kind in ("Cc", "Cf"))
    text = " ".join(f"a{character}a" for character in candidates)
    words = {word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)}
    return {
        character: ALONE if character in words else SPACE for character in candidates if f"a{character}a" not in words
    }


def _special(backend: Tokenizer) -> dict[str, list[int]]:
    """Ids of the special tokens before, between and after a question and a context."""
    pair = backend.encode("a", "a")
    question, context = map(pair.sequence_ids.index, (0, 1))  # one token each
    return {
        "before": pair.ids[:question],
        "between": pair.ids[question + 1 : context],
        "after": pair.ids[context + 1 :],
    }

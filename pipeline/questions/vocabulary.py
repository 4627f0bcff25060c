"""A tokenizer with a part of its vocabulary: the word pieces that some texts use, and all single characters.

Those texts keep their tokens: WordPiece takes the longest piece that fits, Unigram the likeliest sequence of pieces,
and these pieces are still there. Other texts may be split into shorter pieces; no character is lost.
"""

import json
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from pipeline.errors import InputError
from pipeline.questions.tokenization import with_backend

BATCH = 1000  # texts that are tokenized at a time
BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # with which Unigram writes a character that it does not know


def used_tokens(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> set[int]:
    """The ids of the tokens of texts, without special tokens."""
    used: set[int] = set()
    remaining = iter(texts)
    for batch in iter(lambda: list(islice(remaining, BATCH)), []):
        for ids in tokenizer(list(dict.fromkeys(batch)), add_special_tokens=False)["input_ids"]:
            used.update(ids)
    return used


def reduced(tokenizer: PreTrainedTokenizerFast, used: set[int]) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """A tokenizer with only some word pieces, and the ids that its tokens had, ascending.

    Kept are the tokens in `used`, special and added tokens, single characters, and what comes before the padding token,
    whose id stays.

    Raises:
        InputError: the tokenizer is not WordPiece or Unigram.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    model, kind = backend["model"], backend["model"]["type"]
    if kind not in ("WordPiece", "Unigram"):
        raise InputError(
            f"tokenize.student_vocabulary: a tokenizer of type {kind} is made of merges, not of independent word "
            "pieces; set it to all, or take a backbone with a WordPiece or Unigram tokenizer"
        )
    pieces = model["vocab"] if kind == "WordPiece" else {piece: i for i, (piece, _) in enumerate(model["vocab"])}
    prefix = model["continuing_subword_prefix"] if kind == "WordPiece" else "▁"
    short = {i for piece, i in pieces.items() if len(piece.removeprefix(prefix)) < 2 or BYTE.fullmatch(piece)}
    needed = {token["id"] for token in backend["added_tokens"]} | set(range(tokenizer.pad_token_id + 1))
    if model.get("unk_id") is not None:
        needed.add(model["unk_id"])
    kept = sorted(used | short | needed)
    new = {old: i for i, old in enumerate(kept)}
    if kind == "WordPiece":
        model["vocab"] = {piece: new[i] for piece, i in pieces.items() if i in new}
    else:
        model["vocab"] = [entry for i, entry in enumerate(model["vocab"]) if i in new]
        model["unk_id"] = new.get(model["unk_id"])
    for token in backend["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber(backend["post_processor"], new)
    backend["padding"] = backend["truncation"] = None
    return with_backend(tokenizer, Tokenizer.from_str(json.dumps(backend))), kept


def _renumber(part: Any, new: dict[int, int]) -> None:
    """Change the ids of a post-processor in place: `ids` of templates, `cls` and `sep` of BERT's and RoBERTa's."""
    if isinstance(part, list):
        for each in part:
            _renumber(each, new)
    if not isinstance(part, dict):
        return
    for key, value in part.items():
        if key == "ids":
            part[key] = [new[i] for i in value]
        elif key in ("cls", "sep") and isinstance(value, list):
            part[key] = [value[0], new[value[1]]]
        else:
            _renumber(value, new)

"""Windows of questions about texts of any length: the windows of `windows.windows`, in much less memory.

A long text is tokenized in pieces, so that the work has progress and can be interrupted, and its windows are made one
at a time. Short texts go to `windows.windows`, which holds all windows of a text at once.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Encoding
from transformers import PreTrainedTokenizerFast

from pipeline.questions import offsets
from pipeline.questions.question import Question, unlabeled
from pipeline.questions.windows import Window, encode, windows

PIECE = 100_000  # characters of a piece, at least; a text that is not longer is not cut
INVISIBLE = "".join(map(chr, offsets.INVISIBLE))
# A cut is before a space or a line feed between two words, where normalizers compose no characters and where a
# tokenizer that adds a space to the beginning of a text adds none; or after a sentence of Chinese or Japanese.
CUT = re.compile(rf"(?<=[^\s{INVISIBLE}])[ \n](?=[^\W_])|(?<=[\u3002\uff01\uff1f])(?=[^\W_])")
AROUND = 200  # characters on each side of a cut whose tokens must be the same with and without the cut
TRIES = 20  # a text in which so many cuts fail in succession is not cut any further

Encode = Callable[[list[str]], Sequence[Encoding]]


class Tokens(NamedTuple):
    """The tokens of a text.

    Attributes:
        ids: (n,) int32.
        offsets: (n, 2) int32, first and past-the-last character, as `offsets.complete` has them.
    """

    ids: np.ndarray
    offsets: np.ndarray


def long_windows(
    questions: Sequence[tuple[str, str]],
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    stride: int,
    tokenized: Callable[[int], Any] = lambda characters: None,
    tokens: Mapping[str, Tokens] | None = None,
) -> Iterator[Window]:
    """Yield the windows of each question, in the order of the questions, without labels.

    Args:
        questions: pairs of a question and its context. A context that several questions in succession share is
            tokenized once.
        tokenized: called after each piece of a long text with its number of characters.
        tokens: of long texts, as far as they are known.

    Raises:
        InputError: as `windows.windows`; the ids are the indices of the questions.
    """
    records = [unlabeled(str(i), question, context) for i, (question, context) in enumerate(questions)]
    begin = 0
    for context, group in groupby(records, lambda record: record["context"] if is_long(record["context"]) else None):
        run = list(group)
        if context is None:
            found = windows(run, tokenizer, max_length, stride)
        else:
            known = (tokens or {}).get(context)
            if known is None:
                known = tokenize(context, lambda texts: encode(texts, tokenizer), tokenized)
            found = _windows_of(run, known, tokenizer, max_length, stride)
        for window in found:
            yield replace(window, record=begin + window.record)
        begin += len(run)


def is_long(text: str) -> bool:
    return len(text) > PIECE


def _windows_of(
    records: list[Question], tokens: Tokens, tokenizer: PreTrainedTokenizerFast, max_length: int, stride: int
) -> Iterator[Window]:
    """Yield the windows of questions about one text: a window of each about a short text, with other context tokens."""
    short = windows([{**record, "context": "a"} for record in records], tokenizer, max_length, stride)
    frames = {window.record: window for window in short}
    ids, mapping = tokens
    for frame in frames.values():
        first, past = frame.context
        room = max_length - (len(frame.input_ids) - (past - first))
        for begin in range(0, max(1, len(ids) - stride), room - stride):
            part = slice(begin, begin + room)
            count = len(ids[part])
            segment = np.full(count, frame.token_type_ids[first])
            yield replace(
                frame,
                input_ids=_with_context(frame.input_ids, first, past, ids[part]),
                token_type_ids=_with_context(frame.token_type_ids, first, past, segment),
                offset_mapping=_with_context(frame.offset_mapping, first, past, mapping[part]),
                context=(first, first + count) if count else (0, 0),
            )


def _with_context(values: np.ndarray, first: int, past: int, part: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:first], part, values[past:]])


def tokenize(text: str, encode: Encode, tokenized: Callable[[int], Any] = lambda characters: None) -> Tokens:
    """The tokens of a text, as without cuts.

    Args:
        encode: the tokenizer, without truncation and special tokens.
        tokenized: called after each piece with its number of characters.
    """
    ids, mappings = [np.zeros(0, np.int32)], [np.zeros((0, 2), np.int32)]
    for begin, end in pieces(text, encode):
        piece = _tokens(text[begin:end], *encode([text[begin:end]]))
        ids.append(piece.ids)
        mappings.append(begin + piece.offsets)
        tokenized(end - begin)
    return Tokens(np.concatenate(ids), np.concatenate(mappings))


def pieces(text: str, encode: Encode) -> Iterator[tuple[int, int]]:
    """Yield the first and past-the-last character of pieces of a text that can be tokenized one by one.

    No rule holds for every tokenizer, so each cut is tried on the text around it. A text without places to cut is one
    piece, and so is every text for a tokenizer whose words go on after a space.
    """
    begin = 0
    while len(text) - begin > PIECE and (end := _cut(text, begin + PIECE, encode)):
        yield begin, end
        begin = end
    yield begin, len(text)


def _cut(text: str, first: int, encode: Encode) -> int | None:
    """The first cut of a text from a character on; None if there is none."""
    for match in islice(CUT.finditer(text, first), TRIES):
        place = match.start()
        if _is_seam(text[max(0, place - AROUND) : place], text[place : place + AROUND], encode):
            return place
    return None


def _is_seam(left: str, right: str, encode: Encode) -> bool:
    """Whether two texts have the same tokens one by one and together, and the cut divides no word of the tokenizer."""
    encodings = encode([left + right, left, right])
    together, before, after = map(_tokens, [left + right, left, right], encodings)
    words, place = encodings[0].word_ids, len(before.ids)
    return (
        np.array_equal(together.ids, np.concatenate([before.ids, after.ids]))
        and np.array_equal(together.offsets, np.concatenate([before.offsets, len(left) + after.offsets]))
        and words[place - 1 : place] != words[place : place + 1]
    )


def _tokens(text: str, encoding: Encoding) -> Tokens:
    mapping = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    return Tokens(np.array(encoding.ids, dtype=np.int32), offsets.complete(mapping, text))

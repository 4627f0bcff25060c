"""Tokenize question records into windows with offsets, labels and keys. No files, no model.

A window is [CLS] question [SEP] part of the context [SEP]. Consecutive windows of one context share `stride` tokens,
as in transformers' question-answering example.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
from tokenizers import Encoding
from transformers import PreTrainedTokenizerFast

from pipeline.errors import InputError
from pipeline.questions import offsets
from pipeline.questions.features import UNLABELLED, Features, ranges, window_key, window_keys
from pipeline.questions.question import Question
from pipeline.questions.tokenization import RARE, has_segments

NO_OFFSET = -1
# a batch of records ends at either number: its arrays and the tokenizer's own take about 100 bytes a character
RECORDS_PER_BATCH = 1000
CHARACTERS_PER_BATCH = 2**20
SEPARATOR = "\n"  # white space between joined contexts


@dataclass(frozen=True)
class Window:
    """One window of n tokens. Positions are token positions in the window; [CLS] is at position 0.

    Attributes:
        record: index of its question record.
        input_ids: (n,) int32.
        token_type_ids: (n,) uint8, segment ids; zeros if the tokenizer has none.
        offset_mapping: (n, 2) int32, first and past-the-last character in the context, as `offsets.complete` has them;
            -1 for other tokens.
        context: first and past-the-last position of the context's tokens.
        label: first and last position of the answer; (0, 0), which is [CLS], if the window does not contain all of it
            or the record is unanswerable; `UNLABELLED` if the record has no answer otherwise, or none with a token.
    """

    record: int
    input_ids: np.ndarray
    token_type_ids: np.ndarray
    offset_mapping: np.ndarray
    context: tuple[int, int]
    label: tuple[int, int]

    @property
    def key(self) -> bytes:
        return window_key(self.input_ids, self.token_type_ids)


class Tokens(NamedTuple):
    """The tokens of several texts, concatenated; text i has the tokens starts[i] to starts[i + 1], exclusive.

    Attributes:
        starts: (texts + 1,) int64.
        ids: (m,) int32.
        offsets: (m, 2) int32, first and past-the-last character.
    """

    starts: np.ndarray
    ids: np.ndarray
    offsets: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.starts)


class Part(NamedTuple):
    """A part of each window: a special token, or the tokens of the question (0) or the context (1)."""

    sequence: int | None
    token: int
    segment: int


def windows(
    records: Iterable[Question], tokenizer: PreTrainedTokenizerFast, max_length: int, stride: int
) -> Iterator[Window]:
    """Yield the windows of each record, in the order of the records.

    Raises:
        InputError: as `feature_batches`.
    """
    for features in feature_batches(records, tokenizer, max_length, stride):
        pairs = zip(features.context.tolist(), features.labels.tolist(), strict=True)
        for i, (context, label) in enumerate(pairs):
            tokens = features.tokens(i)
            yield Window(
                record=int(features.record[i]),
                input_ids=features.input_ids[tokens],
                token_type_ids=features.token_type_ids[tokens],
                offset_mapping=features.offset_mapping[tokens],
                context=(context[0], context[1]),
                label=(label[0], label[1]),
            )


def feature_batches(
    records: Iterable[Question], tokenizer: PreTrainedTokenizerFast, max_length: int, stride: int
) -> Iterator[Features]:
    """Yield the windows of the records in batches, in the order of the records; `record` counts over all batches.

    Raises:
        InputError: questions leave the context at most `stride` tokens of a window, or the tokenizer does not put [CLS]
            first. The message has the ids of the first 20 of these questions, and the longest length allowed.
    """
    parts = _template(tokenizer)
    done = 0
    for batch in _batches(records):
        questions = tokenize([record["question"].strip() for record in batch], tokenizer)
        _check_question_lengths(batch, questions.counts, tokenizer, max_length, stride)
        places = {context: i for i, context in enumerate(dict.fromkeys(record["context"] for record in batch))}
        text_of = np.array([places[record["context"]] for record in batch])
        yield _features(batch, questions, list(places), text_of, parts, tokenizer, max_length, stride, done)
        done += len(batch)


def _batches(records: Iterable[Question]) -> Iterator[list[Question]]:
    batch: list[Question] = []
    characters = 0
    for record in records:
        batch.append(record)
        characters += len(record["context"])
        if len(batch) == RECORDS_PER_BATCH or characters > CHARACTERS_PER_BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def longest_question(tokenizer: PreTrainedTokenizerFast, max_length: int, stride: int) -> int:
    """The most tokens that a question may have: a window needs room for more than `stride` tokens of the context."""
    return max_length - tokenizer.num_special_tokens_to_add(pair=True) - stride - 1


def encode(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> list[Encoding]:
    """The tokens of each text, whole, as they are before the tokenizer's post-processor."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    processor, backend.post_processor = backend.post_processor, None
    try:
        return backend.encode_batch(texts, add_special_tokens=False)
    finally:
        backend.post_processor = processor


def tokenize(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> Tokens:
    """The tokens of each text, as `encode` has them."""
    encodings = encode(texts, tokenizer)
    starts = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(encoding) for encoding in encodings], out=starts[1:])
    ids = chain.from_iterable(encoding.ids for encoding in encodings)
    pairs = chain.from_iterable(chain.from_iterable(encoding.offsets for encoding in encodings))
    count = int(starts[-1])
    mapping = np.fromiter(pairs, np.int32, 2 * count).reshape(-1, 2)  # faster than np.array for lists of pairs
    return Tokens(starts, np.fromiter(ids, np.int32, count), mapping)


def _template(tokenizer: PreTrainedTokenizerFast) -> list[Part]:
    """The parts of a window in order, from the tokenizer's post-processor. Segments are 0 if the tokenizer has none.

    Raises:
        InputError: the window does not begin with [CLS], or lacks the question or the context.
    """
    question, context = encode([RARE, RARE], tokenizer)
    window = tokenizer.backend_tokenizer.post_process(question, context)
    parts: list[Part] = []
    for sequence, token, segment in zip(window.sequence_ids, window.ids, window.type_ids, strict=True):
        if sequence is None or not parts or parts[-1].sequence != sequence:
            parts.append(Part(sequence, token, segment if has_segments(tokenizer) else 0))
    if not parts or parts[0].sequence is not None or parts[0].token != tokenizer.cls_token_id:
        raise InputError("the tokenizer does not put [CLS] first; labels need it there")
    if {part.sequence for part in parts} != {None, 0, 1}:
        raise InputError("the tokenizer's windows lack the question or the context")
    return parts


def _check_question_lengths(
    records: list[Question], lengths: np.ndarray, tokenizer: PreTrainedTokenizerFast, max_length: int, stride: int
) -> None:
    longest = longest_question(tokenizer, max_length, stride)
    problems = [f"\n  question {records[i]['id']}: {lengths[i]} tokens" for i in np.flatnonzero(lengths > longest)]
    if problems:
        raise InputError(
            f"{len(problems)} questions are too long to leave room for their context: with tokenize.max_length "
            f"{max_length} and stride {stride} a question may have at most {longest} tokens; "
            "raise max_length, lower stride, or shorten them:" + "".join(problems[:20])
        )


def _features(
    records: list[Question],
    questions: Tokens,
    texts: list[str],
    text_of: np.ndarray,
    parts: list[Part],
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    stride: int,
    first_record: int,
) -> Features:
    """The windows of a batch of records.

    Args:
        texts: the contexts, each once.
        text_of: (records,) the index of each record's context in `texts`.
        first_record: number of the batch's first record.
    """
    contexts = tokenize(texts, tokenizer)
    bases, joined = _joined(texts, contexts)
    specials = sum(part.sequence is None for part in parts)
    room = max_length - specials - questions.counts
    of, begin, size = _cuts(contexts.counts[text_of], room, stride)
    source = contexts.starts[text_of[of]] + begin

    starts = np.concatenate([[0], np.cumsum(specials + questions.counts[of] + size)])
    input_ids = np.empty(starts[-1], dtype=np.int32)
    token_type_ids = np.empty(starts[-1], dtype=np.uint8)
    offset_mapping = np.full((starts[-1], 2), NO_OFFSET, dtype=np.int32)
    place, first = starts[:-1], np.zeros_like(size)  # where the next part begins, and where the context does
    for sequence, token, segment in parts:
        if sequence is None:
            target, lengths = place, np.ones_like(size)
            input_ids[target] = token
        elif sequence == 0:
            lengths = questions.counts[of]
            target = ranges(place, lengths)
            input_ids[target] = questions.ids[ranges(questions.starts[of], lengths)]
        else:
            target, lengths = ranges(place, size), size
            tokens = ranges(source, size)
            input_ids[target] = contexts.ids[tokens]
            offset_mapping[target] = joined[tokens] - np.repeat(bases[text_of[of]], size)[:, None]
            first = np.where(size > 0, place - starts[:-1], 0)
        token_type_ids[target] = segment
        place = place + lengths

    answered, spans = _answers(records, joined, contexts.starts, text_of, bases)
    labels = _labels(joined, spans[of], source, size)
    labels = np.where(answered[of, None] & (labels >= 0), first[:, None] + labels, 0).astype(np.int32)
    impossible = np.array([bool(record.get("is_impossible")) for record in records])
    labels[~(answered | impossible)[of]] = UNLABELLED
    return Features(
        starts=starts,
        input_ids=input_ids,
        token_type_ids=token_type_ids,
        offset_mapping=offset_mapping,
        context=np.stack([first, first + size], axis=1).astype(np.int32),
        labels=labels,
        record=(first_record + of).astype(np.int32),
        keys=window_keys(starts, input_ids, token_type_ids),
    )


def _joined(texts: list[str], tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """The first character of each text in the joined text, and the complete offsets of all tokens in it."""
    lengths = np.array([len(text) for text in texts])
    bases = np.cumsum(lengths + len(SEPARATOR)) - lengths - len(SEPARATOR)
    base, length = np.repeat(bases, tokens.counts), np.repeat(lengths, tokens.counts)
    return bases, offsets.complete(tokens.offsets + base[:, None], SEPARATOR.join(texts), base, base + length)


def _cuts(tokens: np.ndarray, room: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The windows of contexts: each window's record, its first token of the context, and how many it has.

    Args:
        tokens: (records,) in the context of each record.
        room: (records,) for tokens of the context in a window.
    """
    counts = np.maximum(1, -((stride - tokens) // (room - stride)))
    of = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = number * (room - stride)[of]
    return of, begin, np.minimum(room[of], tokens[of] - begin)


def _answers(
    records: list[Question], tokens: np.ndarray, starts: np.ndarray, text_of: np.ndarray, bases: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which records have an answer with a token, (records,) bool, and what of it belongs to tokens, (records, 2).

    Args:
        tokens: (m, 2) offsets of the contexts' tokens in the joined text.
        starts: (texts + 1,) the first token of each context.
        text_of: (records,) the index of each record's context.
        bases: (texts,) the first character of each context in the joined text.
    """
    found = [record["answers"] for record in records]
    answered = np.array([bool(answers["text"]) for answers in found])
    first_characters = np.array([answers["answer_start"][0] if answers["text"] else 0 for answers in found])
    lengths = np.array([len(answers["text"][0]) if answers["text"] else 0 for answers in found])
    wanted = (bases[text_of] + first_characters)[:, None] + np.stack([np.zeros_like(lengths), lengths], axis=1)
    after = np.searchsorted(tokens[:, 1], wanted[:, 0], side="right")
    before = np.searchsorted(tokens[:, 0], wanted[:, 1], side="left")
    padded = np.append(tokens, [[0, 0]], axis=0)
    begins, ends = np.maximum(wanted[:, 0], padded[after, 0]), np.minimum(wanted[:, 1], padded[before - 1, 1])
    has_token = (after < starts[text_of + 1]) & (before > starts[text_of]) & (begins < ends)
    return answered & has_token, np.stack([begins, ends], axis=1)


def _labels(tokens: np.ndarray, spans: np.ndarray, first: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(W, 2) the tokens of each window that contain the first and last character of a span, counted from its first.

    -1, -1 unless both are in the window. If no token contains the first character, the span starts at the next token;
    if none contains the last, it ends at the previous one.

    Args:
        tokens: (m, 2) offsets, neither begins nor ends decreasing.
        spans: (W, 2) first and past-the-last character.
        first, size: (W,) each window's first token, and how many it has.
    """
    past = first + size
    padded = np.append(tokens, [[0, 0]], axis=0)
    begin = np.clip(np.searchsorted(tokens[:, 1], spans[:, 0], side="right"), first, past)
    end = np.clip(np.searchsorted(tokens[:, 0], spans[:, 1], side="left"), first, past) - 1
    inside = (padded[first, 0] <= spans[:, 0]) & (padded[past - 1, 1] >= spans[:, 1])
    whole = (size > 0) & inside & (begin <= end)
    return np.where(whole[:, None], np.stack([begin, end], axis=1) - first[:, None], -1)


def pack(windows: Iterable[Window]) -> Features:
    """Concatenate windows.

    Raises:
        ValueError: there are no windows.
    """
    windows = list(windows)
    if not windows:
        raise ValueError("no windows")
    return Features(
        starts=np.concatenate([[0], np.cumsum([len(w.input_ids) for w in windows])]).astype(np.int64),
        input_ids=np.concatenate([w.input_ids for w in windows]),
        token_type_ids=np.concatenate([w.token_type_ids for w in windows]),
        offset_mapping=np.concatenate([w.offset_mapping for w in windows]),
        context=np.array([w.context for w in windows], dtype=np.int32),
        labels=np.array([w.label for w in windows], dtype=np.int32),
        record=np.array([w.record for w in windows], dtype=np.int32),
        keys=np.stack([np.frombuffer(w.key, dtype=np.uint8) for w in windows]),
    )

"""Tokenize question records into windows with offsets, labels and keys. No files, no model.

A window is [CLS] question [SEP] part of the context [SEP]. Consecutive windows of one context share `stride` tokens,
as in transformers' question-answering example.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Encoding
from transformers import PreTrainedTokenizerFast

from pipeline.errors import InputError
from pipeline.questions import offsets
from pipeline.questions.features import UNLABELLED, Features, window_key
from pipeline.questions.question import Question
from pipeline.questions.tokenization import has_segments

NO_OFFSET = -1
RECORDS_PER_BATCH = 1000


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


def windows(
    records: list[Question],
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    stride: int,
    progress: Callable[[int], Any] = lambda questions: None,
) -> Iterator[Window]:
    """Yield the windows of each record, in the order of the records.

    Args:
        progress: called with 1 after the windows of each record.

    Raises:
        InputError: questions leave the context at most `stride` tokens of a window, or the tokenizer does not put [CLS]
            first. The message has the ids of the first 20 of these questions, and the longest length allowed.
    """
    for begin in range(0, len(records), RECORDS_PER_BATCH):
        batch = records[begin : begin + RECORDS_PER_BATCH]
        questions = encode([record["question"].strip() for record in batch], tokenizer)
        _check_question_lengths(batch, [len(question) for question in questions], tokenizer, max_length, stride)
        texts = list(dict.fromkeys(record["context"] for record in batch))  # each is tokenized once
        contexts = dict(zip(texts, encode(texts, tokenizer), strict=True))
        for index, (record, question) in enumerate(zip(batch, questions, strict=True), begin):
            encodings = _joined(question, contexts[record["context"]], tokenizer, max_length, stride)
            yield from _windows_of(encodings, index, record, tokenizer)
            progress(1)


def longest_question(tokenizer: PreTrainedTokenizerFast, max_length: int, stride: int) -> int:
    """The most tokens that a question may have: a window needs room for more than `stride` tokens of the context."""
    return max_length - tokenizer.num_special_tokens_to_add(pair=True) - stride - 1


def question_lengths(records: list[Question], tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """(N,) the number of tokens of each record's question."""
    lengths: list[int] = []
    for begin in range(0, len(records), RECORDS_PER_BATCH):
        batch = records[begin : begin + RECORDS_PER_BATCH]
        lengths += map(len, encode([record["question"].strip() for record in batch], tokenizer))
    return np.array(lengths)


def encode(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> list[Encoding]:
    """The tokens of each text, whole, as they are before the tokenizer's post-processor, which `_joined` applies."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    processor, backend.post_processor = backend.post_processor, None
    try:
        return backend.encode_batch(texts, add_special_tokens=False)
    finally:
        backend.post_processor = processor


def _joined(
    question: Encoding, context: Encoding, tokenizer: PreTrainedTokenizerFast, max_length: int, stride: int
) -> list[Encoding]:
    """The windows of a question and a context, as the tokenizer returns them for both texts together."""
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(max_length, stride=stride, strategy="only_second")
    first = backend.post_process(question, context)
    backend.no_truncation()
    return [first, *first.overflowing]


def _check_question_lengths(
    records: list[Question], lengths: list[int], tokenizer: PreTrainedTokenizerFast, max_length: int, stride: int
) -> None:
    longest = longest_question(tokenizer, max_length, stride)
    problems = [
        f"\n  question {record['id']}: {length} tokens"
        for record, length in zip(records, lengths, strict=True)
        if length > longest
    ]
    if problems:
        raise InputError(
            f"{len(problems)} questions are too long to leave room for their context: with tokenize.max_length "
            f"{max_length} and stride {stride} a question may have at most {longest} tokens; "
            "raise max_length, lower stride, or shorten them:" + "".join(problems[:20])
        )


def _windows_of(
    encodings: list[Encoding], index: int, record: Question, tokenizer: PreTrainedTokenizerFast
) -> Iterator[Window]:
    """Yield the windows of one record, from its encodings."""
    mappings = _offset_mappings(encodings, record["context"])
    answer = _answer(record, mappings)
    without = (0, 0) if record.get("is_impossible") else UNLABELLED
    for encoding, mapping in zip(encodings, mappings, strict=True):
        input_ids = np.array(encoding.ids, dtype=np.int32)
        if input_ids[0] != tokenizer.cls_token_id:
            raise InputError(f"the tokenizer does not put [CLS] first (question {record['id']}); labels need it there")
        in_context = _in_context(mapping)
        first = int(in_context.argmax())
        context = (first, first + int(in_context.sum()))
        yield Window(
            record=index,
            input_ids=input_ids,
            token_type_ids=_segment_ids(encodings[0], first, len(input_ids), tokenizer),
            offset_mapping=mapping,
            context=context,
            label=label(mapping, context, *answer) if answer else without,
        )


def _segment_ids(window: Encoding, first: int, length: int, tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """(length,) uint8 of any window of a record. `tokenizers` gives the right ones to the first window alone.

    Args:
        window: the first of the record, with at least one token of the context.
        first: position of the context's first token, which is the same in each window.
    """
    if not has_segments(tokenizer):
        return np.zeros(length, dtype=np.uint8)
    ids = np.full(length, window.type_ids[first], dtype=np.uint8)
    ids[:first], ids[-1] = window.type_ids[:first], window.type_ids[-1]
    return ids


def _offset_mappings(encodings: list[Any], context: str) -> list[np.ndarray]:
    """(n, 2) offsets of each window of a record, complete. One window alone does not show what no token holds."""
    mapping = np.array([offset for encoding in encodings for offset in encoding.offsets], dtype=np.int32)
    in_context = np.array([sequence == 1 for encoding in encodings for sequence in encoding.sequence_ids])
    mapping[in_context] = offsets.complete(mapping[in_context], context)
    mapping[~in_context] = NO_OFFSET
    return np.split(mapping, np.cumsum([len(encoding) for encoding in encodings])[:-1])


def _in_context(mapping: np.ndarray) -> np.ndarray:
    return mapping[:, 0] != NO_OFFSET


def _answer(record: Question, mappings: list[np.ndarray]) -> tuple[int, int] | None:
    """First and past-the-last character of the record's answer that belong to a token; None if there are none."""
    if not record["answers"]["text"]:
        return None
    start, text = record["answers"]["answer_start"][0], record["answers"]["text"][0]
    tokens = offsets.all_tokens([mapping[_in_context(mapping)] for mapping in mappings])
    start, end = offsets.nearest_covered(np.array([[start, start + len(text)]]), tokens)[0].tolist()
    return (start, end) if offsets.NO_CHARACTER < start < end else None


def label(offset_mapping: np.ndarray, context: tuple[int, int], start: int, end: int) -> tuple[int, int]:
    """Positions of the tokens that contain characters `start` and `end - 1`; (0, 0) unless both are in the window.

    If no token contains the first character, the answer starts at the next token; if none contains the last, the answer
    ends at the previous one.
    """
    first, past = context
    begins, ends = offset_mapping[first:past, 0], offset_mapping[first:past, 1]
    if past == first or begins[0] > start or ends[-1] < end:
        return 0, 0
    start_token = int(np.searchsorted(ends, start, side="right"))
    end_token = int(np.searchsorted(begins, end, side="left")) - 1
    if start_token > end_token:
        return 0, 0
    return first + start_token, first + end_token


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

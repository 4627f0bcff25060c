"""Tokenized windows as concatenated, unpadded arrays, in one safetensors file with a checksum.

A file is written part by part, and read by mapping it into memory: no step holds the windows of a whole split.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from safetensors import SafetensorError

from pipeline.checksums import seal, verified
from pipeline.errors import InputError, rebuild
from pipeline.questions.question import Question
from pipeline.tensors import Layout, map_tensors, mapped_writer

UNLABELLED = (-1, -1)
KEY_BYTES = 16
WINDOWS_PER_BLOCK = 65536  # of an array that is read from one end to the other
# the type of each array in a file, and its size along the second axis
ARRAYS = {
    "starts": ("int64", ()),
    "input_ids": ("int32", ()),
    "token_type_ids": ("uint8", ()),
    "offset_mapping": ("int32", (2,)),
    "context": ("int32", (2,)),
    "labels": ("int32", (2,)),
    "record": ("int32", ()),
    "keys": ("uint8", (KEY_BYTES,)),
}
OF_TOKENS = {"input_ids", "token_type_ids", "offset_mapping"}
Values = TypeVar("Values")


class SpanLogits(NamedTuple, Generic[Values]):
    """A value for the start and one for the end of an answer, for example logits: two arrays of one shape."""

    start: Values
    end: Values


@dataclass(frozen=True)
class Features:
    """N windows with T tokens in total; window i holds tokens starts[i] to starts[i + 1], exclusive.

    Attributes:
        starts: (N + 1,) int64, offset of each window's first token.
        input_ids: (T,) int32.
        token_type_ids: (T,) uint8.
        offset_mapping: (T, 2) int32, first and past-the-last character in the context, as `offsets.complete` has them;
            -1 for other tokens.
        context: (N, 2) int32, first and past-the-last position of the context's tokens in the window.
        labels: (N, 2) int32, first and last position of the answer in the window; (0, 0), which is [CLS], if the window
            does not contain it or the record is unanswerable; `UNLABELLED` if the record has no answer otherwise, or
            none with a token.
        record: (N,) int32, index of the question record.
        keys: (N, 16) uint8, `window_key` of each window.
    """

    starts: np.ndarray
    input_ids: np.ndarray
    token_type_ids: np.ndarray
    offset_mapping: np.ndarray
    context: np.ndarray
    labels: np.ndarray
    record: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.record)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64, number of tokens in each window."""
        return np.diff(self.starts)

    def lengths_of(self, windows: np.ndarray) -> np.ndarray:
        """Number of tokens in each of some windows."""
        return self.starts[windows + 1] - self.starts[windows]

    @property
    def labelled(self) -> np.ndarray:
        """(N,) bool, whether each window's question has an answer or is unanswerable."""
        return self.labels[:, 0] >= 0

    @property
    def answer_mask(self) -> np.ndarray:
        """(T,) bool, tokens where an answer may start or end: the context's tokens and [CLS]."""
        return np.concatenate([self.answer_mask_of(block) for block in blocks(len(self))])

    def answer_mask_of(self, windows: np.ndarray) -> np.ndarray:
        """Like `answer_mask`, for the tokens of some windows, in the order of `windows`."""
        lengths = self.lengths_of(windows)
        positions = ranges(np.zeros_like(lengths), lengths)
        first, past = np.repeat(self.context[windows], lengths, axis=0).T
        return (positions == 0) | ((positions >= first) & (positions < past))

    def token_indices(self, windows: np.ndarray) -> np.ndarray:
        """Indices into the (T,) arrays of the tokens of some windows, in the order of `windows`."""
        return ranges(self.starts[windows], self.lengths_of(windows))

    def select(self, windows: np.ndarray) -> "Features":
        """The windows with these indices, in this order."""
        tokens = self.token_indices(windows)
        return Features(
            starts=np.concatenate([[0], np.cumsum(self.lengths_of(windows))]),
            **{name: getattr(self, name)[tokens] for name in ("input_ids", "token_type_ids", "offset_mapping")},
            **{name: getattr(self, name)[windows] for name in ("context", "labels", "record", "keys")},
        )

    def between(self, begin: int, end: int) -> "Features":
        """The windows from `begin` up to, but not including, `end`, without a copy of their tokens."""
        tokens = slice(self.starts[begin], self.starts[end])
        return Features(
            starts=self.starts[begin : end + 1] - self.starts[begin],
            **{name: getattr(self, name)[tokens] for name in ("input_ids", "token_type_ids", "offset_mapping")},
            **{name: getattr(self, name)[begin:end] for name in ("context", "labels", "record", "keys")},
        )

    def recomputed_keys(self, windows: np.ndarray) -> np.ndarray:
        """(len(windows), 16) uint8, the keys of some windows, hashed from their token ids and segment ids."""
        tokens = map(self.tokens, windows)
        keys = b"".join(window_key(self.input_ids[window], self.token_type_ids[window]) for window in tokens)
        return np.frombuffer(keys, dtype=np.uint8).reshape(-1, KEY_BYTES)

    def tokens(self, i: int) -> slice:
        """The slice of the (T,) arrays that holds window i."""
        return slice(int(self.starts[i]), int(self.starts[i + 1]))


def window_key(input_ids: np.ndarray, token_type_ids: np.ndarray) -> bytes:
    """Hash of a model's input: 16 bytes of BLAKE2b over the token ids and segment ids of a window, each (n,)."""
    content = input_ids.astype("<i4").tobytes() + token_type_ids.astype("u1").tobytes()
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()


def window_keys(starts: np.ndarray, input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
    """(N, 16) uint8, `window_key` of each window; the arguments are arrays of `Features`."""
    ids, segments = input_ids.astype("<i4", copy=False).data, token_type_ids.data
    keys = bytearray()
    for begin, end in pairwise(starts.tolist()):
        digest = hashlib.blake2b(ids[begin:end], digest_size=KEY_BYTES)
        digest.update(segments[begin:end])
        keys += digest.digest()
    return np.frombuffer(keys, dtype=np.uint8).reshape(-1, KEY_BYTES)


def ranges(begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The integers begins[i] to begins[i] + counts[i], exclusive, for each i in turn."""
    ends = np.cumsum(counts)
    return np.repeat(begins - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)


def blocks(count: int, size: int = WINDOWS_PER_BLOCK) -> Iterator[np.ndarray]:
    """The integers from 0 to `count`, exclusive, in consecutive blocks of `size`; the last may be shorter."""
    for begin in range(0, count, size):
        yield np.arange(begin, min(begin + size, count))


def question_ids(features: Features, records: Sequence[Question], windows: np.ndarray | None = None) -> Sequence[str]:
    """The id of each window's question, looked up in the records when it is asked for: for errors.

    Args:
        records: all records of the split.
        windows: indices of some windows; None for all.
    """
    return _QuestionIds(features.record if windows is None else features.record[windows], records)


class _QuestionIds(Sequence[str]):
    def __init__(self, record: np.ndarray, records: Sequence[Question]):
        self.record, self.records = record, records

    def __len__(self) -> int:
        return len(self.record)

    def __getitem__(self, i):
        return self.records[int(self.record[i])]["id"]


def write_features(features: Features, path: Path) -> None:
    """Save features as safetensors with a checksum; equal features give equal bytes."""
    write_parts(lambda: iter([features]), path)
    seal(path)


def write_parts(parts: Callable[[], Iterator[Features]], path: Path) -> None:
    """Save the windows of all parts, in their order, as safetensors; how they are divided does not change the bytes.

    Args:
        parts: returns the parts; called once for each array.
    """
    windows, tokens = sum(len(part) for part in parts()), sum(len(part.input_ids) for part in parts())
    counts = {name: tokens if name in OF_TOKENS else windows for name in ARRAYS} | {"starts": windows + 1}
    layout: Layout = {name: (dtype, (counts[name], *row)) for name, (dtype, row) in ARRAYS.items()}
    with mapped_writer(path, layout) as written:
        for name in ARRAYS:
            done = 0
            for values in _starts(parts()) if name == "starts" else (getattr(part, name) for part in parts()):
                written[name][done : done + len(values)] = values
                done += len(values)


def _starts(parts: Iterable[Features]) -> Iterator[np.ndarray]:
    """`starts` of all parts together, part by part."""
    yield np.zeros(1, dtype=np.int64)
    tokens = 0
    for part in parts:
        yield tokens + part.starts[1:]
        tokens += len(part.input_ids)


def read_features(path: Path) -> Features:
    """The features of a file, compared with its checksum. Its arrays are mapped, so they take no memory of their own.

    Raises:
        InputError: the file is missing, damaged, or of another version of this module.
    """
    return map_features(verified(path, "tokenize"))


def map_features(path: Path) -> Features:
    """Like `read_features`, of a file without a checksum."""
    try:
        arrays = map_tensors(path)[1]
        found = {name: (str(array.dtype), array.shape[1:]) for name, array in arrays.items()}
        if found != ARRAYS:
            raise TypeError(f"it has other tensors: {found}")
        features = Features(**arrays)
        windows, starts = {len(array) for array in (features.context, features.labels, features.keys)}, features.starts
        if windows | {len(starts) - 1} != {len(features)} or starts[0] != 0:
            raise TypeError("its tensors have different numbers of windows")
        if {len(features.token_type_ids), len(features.offset_mapping), int(starts[-1])} != {len(features.input_ids)}:
            raise TypeError("its tensors have different numbers of tokens")
    except (SafetensorError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}; {rebuild(path, 'tokenize')}") from None
    return features


def equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are equal, compared block by block."""
    if one.shape != other.shape:
        return False
    size = WINDOWS_PER_BLOCK
    return all(np.array_equal(one[i : i + size], other[i : i + size]) for i in range(0, len(one), size))

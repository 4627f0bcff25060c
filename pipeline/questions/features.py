"""Tokenized windows as concatenated, unpadded arrays, saved in one safetensors file with a checksum."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from safetensors.numpy import load_file, save_file

from pipeline.checksums import seal, verified
from pipeline.errors import InputError
from pipeline.questions.question import Question

UNLABELLED = (-1, -1)
KEY_BYTES = 16
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

    @property
    def labelled(self) -> np.ndarray:
        """(N,) bool, whether each window's question has an answer or is unanswerable."""
        return self.labels[:, 0] >= 0

    @property
    def answer_mask(self) -> np.ndarray:
        """(T,) bool, tokens where an answer may start or end: the context's tokens and [CLS]."""
        lengths = self.lengths
        positions = np.arange(len(self.input_ids)) - np.repeat(self.starts[:-1], lengths)
        first, past = np.repeat(self.context, lengths, axis=0).T
        return (positions == 0) | ((positions >= first) & (positions < past))

    def token_indices(self, windows: np.ndarray) -> np.ndarray:
        """Indices into the (T,) arrays of the tokens of some windows, in the order of `windows`."""
        return np.concatenate([np.arange(0), *(np.arange(*self.starts[i : i + 2]) for i in windows)])

    def select(self, windows: np.ndarray) -> "Features":
        """The windows with these indices, in this order."""
        tokens = self.token_indices(windows)
        return Features(
            starts=np.concatenate([[0], np.cumsum(self.lengths[windows])]),
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


def question_ids(features: Features, records: list[Question]) -> list[str]:
    """The id of each window's question."""
    return [records[i]["id"] for i in features.record]


def write_features(features: Features, path: Path) -> None:
    """Save features as safetensors with a checksum; equal features give equal bytes."""
    save_file(dict(vars(features)), path)
    seal(path)


def read_features(path: Path) -> Features:
    """Load features saved by `write_features`.

    Raises:
        InputError: the file is missing, damaged, or of another version of this module.
    """
    try:
        return Features(**load_file(verified(path, "tokenize")))
    except TypeError as error:
        raise InputError(f"{path} has other tensors ({error}); `dvc repro tokenize` rebuilds it") from None

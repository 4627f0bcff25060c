"""Token windows, laid end to end, and on disk: ragged arrays in one safetensors file, which is mapped, not read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pipeline.errors import InputError

UNLABELLED = (-1, -1)
KEY_BYTES = 16


@dataclass(frozen=True)
class Features:
    """N windows, T tokens in all; window i has the tokens starts[i] to starts[i + 1].

    Attributes:
        starts: (N + 1,) int64, where each window's tokens begin.
        input_ids: (T,) int32.
        token_type_ids: (T,) uint8.
        offset_mapping: (T, 2) int32, characters of the context; -1 outside it.
        context: (N, 2) int32, first and past-the-last context position in the window.
        labels: (N, 2) int32, first and last answer position in the window; 0, 0 where the window does not hold the
            answer, `UNLABELLED` where no answer is known.
        record: (N,) int32, index of the question record.
        keys: (N, 16) uint8, hash of token ids and segment ids.
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
        """(N,) int64, tokens of each window."""
        return np.diff(self.starts)

    @property
    def labelled(self) -> np.ndarray:
        """(N,) bool, whether the answer to each window's question is known."""
        return self.labels[:, 0] >= 0

    @property
    def answer_mask(self) -> np.ndarray:
        """(T,) bool, tokens that an answer may start or end at: the context's and [CLS]."""
        lengths = self.lengths
        positions = np.arange(len(self.input_ids)) - np.repeat(self.starts[:-1], lengths)
        first, past = np.repeat(self.context, lengths, axis=0).T
        return (positions == 0) | ((positions >= first) & (positions < past))

    def places(self, windows: np.ndarray) -> np.ndarray:
        """Where the tokens of some windows lie in the flat arrays, window after window."""
        return np.concatenate([np.arange(0), *(np.arange(*self.starts[i : i + 2]) for i in windows)])

    def select(self, windows: np.ndarray) -> "Features":
        """Some of the windows, by their indices, in that order."""
        tokens = self.places(windows)
        return Features(
            starts=np.concatenate([[0], np.cumsum(self.lengths[windows])]),
            **{name: getattr(self, name)[tokens] for name in ("input_ids", "token_type_ids", "offset_mapping")},
            **{name: getattr(self, name)[windows] for name in ("context", "labels", "record", "keys")},
        )

    def tokens(self, i: int) -> slice:
        """Where window i's tokens lie in the flat arrays."""
        return slice(int(self.starts[i]), int(self.starts[i + 1]))


def key_list(keys: np.ndarray) -> list[bytes]:
    """The rows of (N, 16) uint8 keys, as bytes."""
    return np.ascontiguousarray(keys).view(f"V{KEY_BYTES}").ravel().tolist()


def write_features(features: Features, path: Path) -> None:
    """Write features; the same features give the same bytes."""
    save_file(dict(vars(features)), path)


def read_features(path: Path) -> Features:
    """Read what `write_features` wrote.

    Raises:
        InputError: it is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return Features(**{name: file.get_tensor(name) for name in file.keys()})
    except (SafetensorError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); `dvc repro tokenize` makes it anew") from None

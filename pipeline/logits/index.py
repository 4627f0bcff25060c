"""A sorted index of keys in an unnamed temporary file, mapped into memory: 24 bytes a key, and no Python object."""

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pipeline.questions.features import KEY_BYTES

NO_ROW = -1
ROW_BYTES = 8
ENTRY = KEY_BYTES + ROW_BYTES
# entries are compared as byte strings: by the key, then by the row number, whose bytes have the highest first
ENTRY_TYPE = f"S{ENTRY}"
# the keys that are handled at a time where a data set may have millions
CHUNK = 65536


class Index:
    """The row number of each key. Rows are numbered in the order in which they are given; a key may occur repeatedly.

    Args:
        keys: (n, 16) uint8 arrays, read once, one after another.
        folder: where the file is; it has no name, and disappears with the index.
    """

    def __init__(self, keys: Iterable[np.ndarray], folder: Path):
        count = 0
        with tempfile.TemporaryFile(dir=folder) as file:
            for part in keys:
                for chunk in np.split(part, range(CHUNK, len(part), CHUNK)):
                    file.write(_entries(chunk, np.arange(count, count + len(chunk))).data)
                    count += len(chunk)
            file.flush()
            mapped = mmap.mmap(file.fileno(), count * ENTRY) if count else bytearray()
        self._bytes = np.ndarray((count, ENTRY), np.uint8, mapped)
        self._sorted = self._bytes.reshape(-1).view(ENTRY_TYPE)
        self._sorted.sort()

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._sorted)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """(n,) int64, the last row of each of the (n, 16) keys; `NO_ROW` for a key without one."""
        last = _entries(keys, np.full(len(keys), -1))  # as an unsigned number, above every row number
        places = np.searchsorted(self._sorted, last.reshape(-1).view(ENTRY_TYPE), side="right") - 1
        rows = np.full(len(keys), NO_ROW)
        candidates = np.flatnonzero(places >= 0)
        entries = self._bytes[places[candidates]]
        equal = (entries[:, :KEY_BYTES] == keys[candidates]).all(axis=1)
        rows[candidates[equal]] = _row_numbers(entries[equal])
        return rows

    def is_first(self) -> np.ndarray:
        """(N,) bool, for each row whether it is the first with its key."""
        first = np.zeros(len(self), dtype=bool)
        previous = b""
        for entries in self._chunks():
            keys = np.ascontiguousarray(entries[:, :KEY_BYTES]).reshape(-1).view(f"S{KEY_BYTES}")
            new = np.concatenate([[keys[0].ljust(KEY_BYTES, b"\0") != previous], keys[1:] != keys[:-1]])
            first[_row_numbers(entries[new])] = True
            previous = entries[-1, :KEY_BYTES].tobytes()
        return first

    def _chunks(self) -> Iterator[np.ndarray]:
        for begin in range(0, len(self), CHUNK):
            yield self._bytes[begin : begin + CHUNK]


def unique(splits: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """The indices of the rows to keep so that each key is kept once, where it is first; ascending, for each split.

    Args:
        splits: (N, 16) keys by name; a key of one split is not kept in the later ones.
        folder: for the temporary index.
    """
    first = Index(splits.values(), folder).is_first()
    ends = np.cumsum([len(keys) for keys in splits.values()])
    return dict(zip(splits, map(np.flatnonzero, np.split(first, ends[:-1])), strict=True))


def _entries(keys: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(n, 24) uint8: the keys, each followed by its row number."""
    numbers = rows.astype(">u8").view(np.uint8).reshape(-1, ROW_BYTES)
    return np.concatenate([keys, numbers], axis=1)


def _row_numbers(entries: np.ndarray) -> np.ndarray:
    """(n,) int64, the row numbers of (n, 24) entries."""
    return np.ascontiguousarray(entries[:, KEY_BYTES:]).reshape(-1).view(">u8").astype(np.int64)

"""The rows of a folder of shards, mapped from its files and found by their keys."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.errors import InputError
from pipeline.logits.index import NO_ROW, Index
from pipeline.logits.shards import Identity, Rows, map_shard, read_shard

# shards that are mapped at a time; each takes a file descriptor
OPEN_SHARDS = 64


class StoredRows:
    """The rows of several shards, numbered across all of them. Every shard is read and verified once, here.

    Args:
        paths: of the shards; if a key occurs in several, the row of the last one counts.
        on_fault: called with each shard that is missing or damaged, and the reason; its rows count as missing.

    Attributes:
        paths: of the intact shards.

    Raises:
        OSError: a shard cannot be opened or read; it may be intact.
    """

    def __init__(
        self, paths: list[Path], identity: Identity, folder: Path, on_fault: Callable[[Path, InputError], None]
    ):
        self.paths: list[Path] = []
        counts: list[int] = []

        def keys() -> Iterator[np.ndarray]:
            for path in paths:
                try:
                    rows = read_shard(path, identity)
                except InputError as error:
                    on_fault(path, error)
                    continue
                self.paths.append(path)
                counts.append(len(rows))
                yield rows.keys

        self.identity = identity
        self._index = Index(keys(), folder)
        self._first_rows = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._shard = lru_cache(maxsize=OPEN_SHARDS)(lambda i: map_shard(self.paths[i]))

    def __len__(self) -> int:
        return len(self._index)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """(n,) int64, the row of each of the (n, 16) keys; `NO_ROW` for a key that is not stored."""
        return self._index.find(keys)

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """(n,) int64, the number of tokens of rows; `NO_ROW` for a missing row."""
        lengths = np.full(len(rows), NO_ROW)
        stored = np.flatnonzero(rows != NO_ROW)
        if len(stored):
            lengths[stored] = np.concatenate(
                [np.diff(shard.starts[first : last + 1]) for shard, first, last in self._runs(rows[stored])]
            )
        return lengths

    def take(self, rows: np.ndarray, keys: np.ndarray) -> Rows:
        """The rows with these numbers, in this order.

        Args:
            keys: (n, 16) the keys of the rows.
        """
        lengths, start_logits, end_logits, precision = [np.zeros(1, np.int64)], [], [], set()
        for shard, first, last in self._runs(rows):
            tokens = slice(shard.starts[first], shard.starts[last])
            lengths.append(np.diff(shard.starts[first : last + 1]))
            start_logits.append(shard.start_logits[tokens])
            end_logits.append(shard.end_logits[tokens])
            precision.update(shard.precision)
        return Rows(
            keys=np.ascontiguousarray(keys),
            starts=np.cumsum(np.concatenate(lengths)),
            start_logits=np.concatenate([np.zeros(0, self.identity.dtype), *start_logits]),
            end_logits=np.concatenate([np.zeros(0, self.identity.dtype), *end_logits]),
            precision=tuple(sorted(precision)),
        )

    def _runs(self, rows: np.ndarray) -> Iterator[tuple[Rows, int, int]]:
        """The shards of rows that are consecutive in one: with the first row's number in it, and past the last's."""
        shards = np.searchsorted(self._first_rows, rows, side="right") - 1
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(shards) != 0)) + 1
        for begin, end in pairwise([0, *breaks.tolist(), len(rows)]):
            if begin < end:
                first = int(rows[begin] - self._first_rows[shards[begin]])
                yield self._shard(int(shards[begin])), first, first + end - begin

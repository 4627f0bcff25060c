"""Writes and reads a teacher's folder in data/logits, which holds exactly the rows of the data set and a manifest."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.errors import InputError, rebuild
from pipeline.logits.manifest import MANIFEST, Manifest
from pipeline.logits.shards import (
    FORMAT,
    Identity,
    Rows,
    as_json,
    parse_description,
    read_shard,
    write_atomically,
    write_shard,
)
from pipeline.questions.features import Features, SpanLogits, key_list

NO_ROW = -1


def chunks(items: list, size: int) -> Iterator[list]:
    """Consecutive chunks of `size` items; the last may be shorter."""
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def write_store(
    folder: Path,
    identity: Identity,
    rows: Callable[[list[bytes]], Rows],
    splits: dict[str, list[bytes]],
    shard_size: int,
) -> None:
    """Write the rows of `splits` to `folder`, as shards of up to `shard_size` rows and a manifest.

    A shard holds rows of one split. A key in two splits is stored once, with the first. The bytes depend only on the
    rows, their order and `shard_size`.

    Args:
        rows: returns the rows of some keys, in their order; `RowCache.rows`.
        splits: the keys of each split's windows, by the split's name.
    """
    shards, seen = [], set()
    for split, keys in splits.items():
        new = [key for key in keys if key not in seen]
        seen.update(new)
        for chunk in chunks(new, shard_size):
            shard = rows(chunk)
            name = write_shard(folder, identity, shard)
            shards.append({"file": name, "split": split, "rows": len(shard), "precision": shard.precision})
    manifest = {"format": FORMAT, **asdict(identity), "rows": len(seen), "shards": shards}
    write_atomically(folder / MANIFEST, as_json(manifest))


class LogitStore:
    """A teacher's folder in data/logits, opened for reading. The rows of a missing or damaged shard count as missing.

    Raises:
        InputError: the manifest is missing, damaged, of another format, or of another tokenizer.
    """

    def __init__(self, folder: Path, tokenizer: str):
        try:
            manifest = parse_description(Manifest, (folder / MANIFEST).read_bytes(), folder / MANIFEST)
        except FileNotFoundError:
            raise InputError(f"{folder} has no logits; `dvc repro logits` rebuilds it") from None
        except InputError as error:
            raise InputError(f"{error}; {rebuild(folder / MANIFEST, 'logits')}") from None
        self.identity = manifest.identity
        if self.identity.tokenizer != tokenizer:
            raise InputError(f"{folder} was built with another tokenizer; `dvc repro logits` rebuilds it")
        self.folder = folder
        self._shards: list[Rows] = []
        self._faults: list[str] = []
        for shard in manifest.shards:
            try:
                self._shards.append(read_shard(folder / shard.file, self.identity))
            except InputError as error:
                self._faults.append(f"{error}; {rebuild(folder / shard.file, 'logits')}")
        # row numbers run across all shards
        self._rows = {key: row for row, key in enumerate(key for shard in self._shards for key in key_list(shard.keys))}
        counts = [len(shard) for shard in self._shards]
        self._first_rows = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._shard_of = np.repeat(np.arange(len(counts)), counts)
        self._lengths = np.concatenate([*(np.diff(shard.starts) for shard in self._shards), [NO_ROW]])

    def __len__(self) -> int:
        return len(self._rows)

    def aligned(self, features: Features, names: Sequence[str]) -> SpanLogits[np.ndarray]:
        """Start and end logits of all windows, each (T,), in the order of the features' tokens.

        Args:
            names: the question id of each window, for the error.

        Raises:
            InputError: windows lack a row of their length; the error has their number and the first question id.
        """
        rows = np.array([self._rows.get(key, NO_ROW) for key in key_list(features.keys)])
        missing = np.flatnonzero(self._lengths[rows] != features.lengths)
        if len(missing):
            raise InputError(
                f"{self.folder} has no logits for {len(missing)} of {len(features)} windows, the first of question "
                f"{names[missing[0]]}; {[*self._faults, '`dvc repro logits` computes them'][0]}"
            )
        start_logits = np.empty(len(features.input_ids), dtype=self.identity.dtype)
        end_logits = np.empty_like(start_logits)
        # windows whose rows are consecutive in a shard are copied together
        shards = self._shard_of[rows]
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(shards) != 0)) + 1
        for begin, end in pairwise([0, *breaks.tolist(), len(rows)]):
            shard, row = self._shards[shards[begin]], rows[begin] - self._first_rows[shards[begin]]
            target = slice(features.starts[begin], features.starts[end])
            source = slice(shard.starts[row], shard.starts[row + end - begin])
            start_logits[target] = shard.start_logits[source]
            end_logits[target] = shard.end_logits[source]
        return SpanLogits(start_logits, end_logits)

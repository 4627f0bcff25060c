"""The user's cache of logits: one folder per teacher.

Every shard is added as soon as it is computed, and stays until it is pruned. data/logits is written from the cache.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.errors import InputError
from pipeline.files import remove_unfinished
from pipeline.locks import hold
from pipeline.log import log
from pipeline.logits.manifest import IDENTITY
from pipeline.logits.shards import (
    FORMAT,
    Identity,
    Rows,
    as_json,
    read_shard,
    shard_files,
    write_atomically,
    write_shard,
)
from pipeline.questions.features import Features, key_list


def locked(folder: Path, identity: Identity) -> AbstractContextManager[None]:
    """Hold the lock of a teacher's folder in the cache. If another run holds it, print which one, and wait."""
    return hold(folder / identity.name, "it computes this teacher's logits")


class RowCache:
    """The cached rows of one teacher, in the shards of all earlier runs.

    `identity.json` beside the shards names teacher, tokenizer and dtype. Opening the cache repairs it: damaged shards
    are deleted with a warning, so that their rows are recomputed, and so are the unfinished files of killed runs. Hold
    its `lock` while the cache is open for adding.
    """

    def __init__(self, folder: Path, identity: Identity):
        self.folder = folder / identity.name
        self.identity = identity
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.folder)
        description, path = as_json({"format": FORMAT, **asdict(identity)}), self.folder / IDENTITY
        if not path.exists() or path.read_bytes() != description:
            write_atomically(path, description)
        os.utime(self.folder)  # the time of the last use
        self._shards: list[Rows] = []
        self._locations: dict[bytes, tuple[int, int]] = {}  # key: shard, row in the shard
        for path in shard_files(self.folder):
            try:
                self._index(read_shard(path, identity))
            except InputError as error:
                log.warning("%s; its rows will be recomputed", error)
                path.unlink()

    def _index(self, rows: Rows) -> None:
        self._locations |= {key: (len(self._shards), i) for i, key in enumerate(key_list(rows.keys))}
        self._shards.append(rows)

    def __len__(self) -> int:
        return len(self._locations)

    def __contains__(self, key: bytes) -> bool:
        return key in self._locations

    def add(self, rows: Rows) -> None:
        """Write rows to disk as a shard, then make them available."""
        write_shard(self.folder, self.identity, rows)
        self._index(rows)

    def add_all(self, shards: Iterable[Rows]) -> None:
        """Add the rows of each shard. A shard is written while the next one is computed."""
        with ThreadPoolExecutor(1) as writer:
            writing = None
            for rows in shards:
                if writing:
                    writing.result()
                writing = writer.submit(self.add, rows)
            if writing:
                writing.result()

    def import_shards(self, folder: Path) -> None:
        """Add the rows of a folder of shards, such as data/logits after `dvc pull`.

        Shards that are damaged, or of another teacher, are skipped.
        """
        for path in shard_files(folder):
            if (self.folder / path.name).exists():
                continue
            try:
                rows = read_shard(path, self.identity)
            except InputError:
                continue
            if not all(key in self for key in key_list(rows.keys)):
                self.add(rows)

    def rows(self, keys: list[bytes]) -> Rows:
        """The rows of `keys`, in that order.

        Raises:
            KeyError: a key is not cached.
        """
        start_logits, end_logits, precision = [], [], set()
        for key in keys:
            shard, row = self._locations[key]
            precision.update(self._shards[shard].precision)
            tokens = slice(*self._shards[shard].starts[row : row + 2])
            start_logits.append(self._shards[shard].start_logits[tokens])
            end_logits.append(self._shards[shard].end_logits[tokens])
        return Rows(
            keys=np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1),
            starts=np.concatenate([[0], np.cumsum([len(row) for row in start_logits])]).astype(np.int64),
            start_logits=np.concatenate(start_logits),
            end_logits=np.concatenate(end_logits),
            precision=tuple(sorted(precision)),
        )


def unique_keys(features: Features) -> dict[bytes, int]:
    """Unique keys in order, each with the index of the first window that has it."""
    keys: dict[bytes, int] = {}
    for i, key in enumerate(key_list(features.keys)):
        keys.setdefault(key, i)
    return keys

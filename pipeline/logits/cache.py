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
from pipeline.logits.index import NO_ROW
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
from pipeline.logits.stored import StoredRows


def locked(folder: Path, identity: Identity) -> AbstractContextManager[None]:
    """Hold the lock of a teacher's folder in the cache. If another run holds it, print which one, and wait."""
    return hold(folder / identity.name, "it computes this teacher's logits")


class RowCache:
    """The cached rows of one teacher, in the shards of all earlier runs.

    `identity.json` beside the shards names teacher, tokenizer and dtype. Opening the cache repairs it: damaged shards
    are deleted with a warning, so that their rows are recomputed, and so are the unfinished files of killed runs. Hold
    its `lock` while the cache is open for adding.

    Attributes:
        added: the number of rows added since the cache was opened.
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
        self.added = 0
        self._load()

    def _load(self) -> None:
        self._stored = StoredRows(shard_files(self.folder), self.identity, self.folder, _delete)
        self._stale = False

    @property
    def stored(self) -> StoredRows:
        """All rows, also those added since the cache was opened."""
        if self._stale:
            self._load()
        return self._stored

    def add(self, rows: Rows) -> None:
        """Write rows to disk as a shard."""
        write_shard(self.folder, self.identity, rows)
        self._stale = True
        self.added += len(rows)

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
        known = self.stored
        for path in shard_files(folder):
            if (self.folder / path.name).exists():
                continue
            try:
                rows = read_shard(path, self.identity)
            except InputError:
                continue
            if (known.find(rows.keys) == NO_ROW).any():
                self.add(rows)

    def has(self, keys: np.ndarray) -> np.ndarray:
        """(n,) bool, whether each of the (n, 16) keys has a row."""
        return self.stored.find(keys) != NO_ROW

    def rows(self, keys: np.ndarray) -> Rows:
        """The rows of the (n, 16) keys, in that order.

        Raises:
            KeyError: a key is not cached.
        """
        rows = self.stored.find(keys)
        missing = np.flatnonzero(rows == NO_ROW)
        if len(missing):
            raise KeyError(keys[missing[0]].tobytes().hex())
        return self.stored.take(rows, keys)


def _delete(path: Path, fault: InputError) -> None:
    log.warning("%s; its rows will be recomputed", fault)
    path.unlink()

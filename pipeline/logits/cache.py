"""The user's cache of logits: one folder a teacher, which gets a shard as soon as it is computed and forgets nothing.

data/logits is written from it in one go.
"""

import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from pipeline.errors import InputError
from pipeline.logits.manifest import IDENTITY, MANIFEST
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


def lock(folder: Path) -> FileLock:
    """Held by whoever adds to a teacher's folder of the cache, or deletes it."""
    return FileLock(f"{folder}.lock")


@contextmanager
def locked(folder: Path, identity: Identity) -> Iterator[None]:
    """Hold the lock of a teacher's folder; while another run holds it, say so and wait."""
    held = lock(folder / identity.name)
    try:
        held.acquire(timeout=0)
    except Timeout:
        print("another run computes this teacher's logits; waiting for it", flush=True)
        held.acquire()
    try:
        yield
    finally:
        held.release()


class RowCache:
    """The rows of one teacher that are kept in a folder, in shards of whatever run wrote them.

    `identity.json` beside the shards says whose they are. A shard that is damaged is deleted with a warning, and so
    its rows are computed again; what a killed run had begun to write is deleted too. Whoever opens it for adding holds
    its `lock`.
    """

    def __init__(self, folder: Path, identity: Identity):
        self.folder = folder / identity.name
        self.identity = identity
        self.folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self.folder.glob(".*.safetensors.*"):
            unfinished.unlink()
        write_atomically(self.folder / IDENTITY, as_json({"format": FORMAT, **asdict(identity)}))
        self._shards: list[Rows] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        for path in shard_files(self.folder):
            try:
                self._index(read_shard(path, identity))
            except InputError as error:
                print(f"warning: {error}; its rows are computed again", file=sys.stderr)
                path.unlink()

    def _index(self, rows: Rows) -> None:
        self._places |= {key: (len(self._shards), i) for i, key in enumerate(key_list(rows.keys))}
        self._shards.append(rows)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def add(self, rows: Rows) -> None:
        """Keep rows, on disk first."""
        write_shard(self.folder, self.identity, rows)
        self._index(rows)

    def add_all(self, shards: Iterable[Rows]) -> None:
        """Keep the rows of each shard; it is written while the next one is computed."""
        with ThreadPoolExecutor(1) as writer:
            writing = None
            for rows in shards:
                if writing:
                    writing.result()
                writing = writer.submit(self.add, rows)
            if writing:
                writing.result()

    def import_shards(self, folder: Path) -> None:
        """Keep the rows of a folder of shards too, of data/logits as `dvc pull` brought it say.

        Shards that are damaged, or of another teacher, are passed over.
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
            KeyError: a key has no row.
        """
        start_logits, end_logits, precision = [], [], set()
        for key in keys:
            shard, row = self._places[key]
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
    """Each different key, in order, with the index of the first window that has it."""
    keys: dict[bytes, int] = {}
    for i, key in enumerate(key_list(features.keys)):
        keys.setdefault(key, i)
    return keys


def chunks(items: list, size: int) -> Iterator[list]:
    """Consecutive stretches of `size` items; the last may be shorter."""
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def write_store(folder: Path, cache: RowCache, splits: dict[str, list[bytes]], shard_size: int) -> None:
    """Write the rows of `splits` from the cache to `folder`: shards of `shard_size` rows of a split, and a manifest.

    A key that occurs in two splits is stored once. The bytes depend on the rows, their order and `shard_size` alone.
    """
    shards, seen = [], set()
    for split, keys in splits.items():
        new = [key for key in keys if key not in seen]
        seen.update(new)
        for chunk in chunks(new, shard_size):
            rows = cache.rows(chunk)
            name = write_shard(folder, cache.identity, rows)
            shards.append({"file": name, "split": split, "rows": len(rows), "precision": rows.precision})
    manifest = {"format": FORMAT, **asdict(cache.identity), "rows": len(seen), "shards": shards}
    write_atomically(folder / MANIFEST, as_json(manifest))

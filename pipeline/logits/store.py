"""Writes and reads a teacher's folder in data/logits, which holds exactly the rows of the data set and a manifest."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
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
    read_checksum,
    write_atomically,
    write_shard,
)
from pipeline.logits.stored import StoredRows
from pipeline.questions.features import Features, SpanLogits


def write_store(
    folder: Path,
    identity: Identity,
    rows: Callable[[np.ndarray], Rows],
    splits: Mapping[str, Iterable[np.ndarray]],
) -> None:
    """Write rows to `folder`, as shards and a manifest. The bytes depend only on the rows and their order.

    Args:
        rows: returns the rows of (n, 16) keys, in their order; `RowCache.rows`.
        splits: the keys of each shard, (n, 16), by the split's name. No key occurs twice.
    """
    shards, total = [], 0
    for split, parts in splits.items():
        for keys in parts:
            shard = rows(keys)
            name = write_shard(folder, identity, shard)
            total += len(shard)
            shards.append({"file": name, "split": split, "rows": len(shard), "precision": shard.precision})
    manifest = {"format": FORMAT, **asdict(identity), "rows": total, "shards": shards}
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
        self._faults: list[str] = []
        paths = [folder / shard.file for shard in manifest.shards]
        self._stored = StoredRows(paths, self.identity, folder, self._note)

    def _note(self, path: Path, fault: InputError) -> None:
        self._faults.append(f"{fault}; {rebuild(path, 'logits')}")

    def checksums(self) -> list[str]:
        """The checksum of each shard that is intact; equal keys may have other logits, of another precision."""
        return [read_checksum(path) for path in self._stored.paths]

    def __len__(self) -> int:
        return len(self._stored)

    def aligned(self, features: Features, question_id: Callable[[int], str]) -> SpanLogits[np.ndarray]:
        """Start and end logits of all windows, each (T,), in the order of the features' tokens.

        Args:
            question_id: returns the id of a record, an entry of `features.record`, for the error.

        Raises:
            InputError: windows lack a row of their length; the error has their number and the first question id.
        """
        rows = self._stored.find(features.keys)
        missing = np.flatnonzero(self._stored.lengths(rows) != features.lengths)
        if len(missing):
            first = question_id(int(features.record[missing[0]]))
            raise InputError(
                f"{self.folder} has no logits for {len(missing)} of {len(features)} windows, the first of question "
                f"{first}; {[*self._faults, '`dvc repro logits` computes them'][0]}"
            )
        found = self._stored.take(rows, features.keys)
        return SpanLogits(found.start_logits, found.end_logits)

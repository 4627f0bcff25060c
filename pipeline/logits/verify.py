"""Reads a whole folder of shards and says what is wrong with it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.errors import InputError
from pipeline.logits.manifest import MANIFEST, Manifest, read_description
from pipeline.logits.shards import Identity, Rows, read_shard, shard_files, shard_name


def problems(folder: Path) -> Iterator[str]:
    """Read a whole folder of shards, of data/logits or of the cache; one line for each thing that is wrong.

    Looks for shards that are damaged, missing, foreign or under a wrong name, keys that are missing or doubled, and
    values that are not finite.
    """
    try:
        description = read_description(folder)
    except (InputError, OSError) as error:
        yield str(error)
        return
    there = {path.name for path in shard_files(folder)}
    listed = {}
    if isinstance(description, Manifest):
        listed = {shard.file: shard.rows for shard in description.shards}
        for name in sorted(set(listed) - there):
            yield f"{folder / name}: the manifest names it, and it is not there"
        for name in sorted(there - set(listed)):
            yield f"{folder / name}: the manifest does not name it"
    seen: dict[bytes, str] = {}
    for name in sorted(there):
        try:
            rows = read_shard(folder / name, description.identity)
        except (InputError, OSError) as error:
            yield str(error)
            continue
        expected = listed.get(name, len(rows))
        yield from _row_problems(folder / name, rows, description.identity, expected, seen if listed else {})
    if listed and len(listed) != len(description.shards):
        yield f"{folder / MANIFEST}: names a shard twice"
    if listed and not there ^ set(listed) and len(seen) != description.rows:
        yield f"{folder / MANIFEST}: says {description.rows} rows, there are {len(seen)} different ones"


def _row_problems(path: Path, rows: Rows, identity: Identity, expected: int, seen: dict[bytes, str]) -> Iterator[str]:
    if path.stem != shard_name(identity, rows):
        yield f"{path}: its name is not the hash of its content"
    if len(rows) != expected:
        yield f"{path}: {len(rows)} rows, the manifest says {expected}"
    for i, key in enumerate(rows.keys):
        name = key.tobytes()
        if name in seen:
            yield f"{path}: key {name.hex()} of row {i} is in {seen[name]} too"
        seen[name] = path.name
        tokens = slice(*rows.starts[i : i + 2])
        if not (np.isfinite(rows.start_logits[tokens]).all() and np.isfinite(rows.end_logits[tokens]).all()):
            yield f"{path}: row {i}, key {name.hex()}, is not finite"

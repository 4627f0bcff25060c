"""Verifies a folder of shards."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pipeline.checksums import fault
from pipeline.errors import InputError
from pipeline.logits.gaps import GAPS
from pipeline.logits.manifest import MANIFEST, Manifest, read_description
from pipeline.logits.shards import Identity, Rows, read_shard, shard_files, shard_name


def problems(folder: Path, progress: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Read every row of a folder of shards, in data/logits or in the cache, and yield one line per problem.

    Problems are shards that are damaged, missing, not in the manifest, of another teacher or misnamed; keys that are
    missing or duplicated; logits that are not finite; and a damaged file of windows without a target.

    Args:
        progress: called after each shard.
    """
    try:
        description = read_description(folder)
    except (InputError, OSError) as error:
        yield str(error)
        return
    if (folder / GAPS).exists() and (damage := fault(folder, GAPS)):
        yield damage
    found = {path.name for path in shard_files(folder)}
    listed: dict[str, int] = {}
    if isinstance(description, Manifest):
        listed = {shard.file: shard.rows for shard in description.shards}
        for name in sorted(set(listed) - found):
            yield f"{folder / name}: listed in the manifest, but missing"
        for name in sorted(found - set(listed)):
            yield f"{folder / name}: not listed in the manifest"
    seen: dict[bytes, str] = {}
    for name in sorted(found):
        try:
            rows = read_shard(folder / name, description.identity)
        except (InputError, OSError) as error:
            yield str(error)
        else:
            expected = listed.get(name, len(rows))
            yield from _row_problems(folder / name, rows, description.identity, expected, seen if listed else {})
        progress()
    if not isinstance(description, Manifest):
        return
    if len(listed) != len(description.shards):
        yield f"{folder / MANIFEST}: lists a shard twice"
    if found == set(listed) and len(seen) != description.rows:
        yield f"{folder / MANIFEST}: says {description.rows} rows, the shards hold {len(seen)} unique keys"


def _row_problems(path: Path, rows: Rows, identity: Identity, expected: int, seen: dict[bytes, str]) -> Iterator[str]:
    if path.stem != shard_name(identity, rows):
        yield f"{path}: its name is not the hash of its content"
    if len(rows) != expected:
        yield f"{path}: {len(rows)} rows, the manifest says {expected}"
    for i, row_key in enumerate(rows.keys):
        key = row_key.tobytes()
        if key in seen:
            yield f"{path}: key {key.hex()} of row {i} is also in {seen[key]}"
        seen[key] = path.name
        tokens = slice(*rows.starts[i : i + 2])
        if not (np.isfinite(rows.start_logits[tokens]).all() and np.isfinite(rows.end_logits[tokens]).all()):
            yield f"{path}: the logits of row {i}, key {key.hex()}, are not finite"

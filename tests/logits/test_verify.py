from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.logits.shards import Identity, count_rows, read_shard, write_shard
from pipeline.logits.verify import problems
from tests.logits.rows import IDENTITY, rows


def test_an_intact_store_has_no_problems(store, tmp_path):
    assert list(problems(store)) == []
    assert list(problems(tmp_path / "cache" / IDENTITY.name)) == []


def replace_with_another_teachers_shard(path):
    write_shard(path.parent, Identity("u" * 64, "k" * 64, "float16"), rows("ab"))
    next(
        p for p in path.parent.glob("*.safetensors") if "u" * 64 in p.read_bytes()[:999].decode(errors="ignore")
    ).replace(path)


def rewrite(path, **changes):
    """Replace a shard with one whose checksum is right and whose tensors are not."""
    intact = read_shard(path, IDENTITY)
    path.unlink()
    write_shard(path.parent, IDENTITY, replace(intact, **{name: change(intact) for name, change in changes.items()}))
    max(path.parent.glob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns).replace(path)


def flip(path, index):
    damaged = bytearray(path.read_bytes())
    damaged[index] ^= 1
    path.write_bytes(damaged)


def add_nan(path):
    intact = read_shard(path, IDENTITY)
    start_logits = intact.start_logits.copy()
    start_logits[intact.starts[1]] = np.nan
    write_shard(path.parent, IDENTITY, replace(intact, start_logits=start_logits))


FAULTS = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-9]), ["damaged"]),
    "empty": (lambda path: path.write_bytes(b""), ["damaged"]),
    "flipped bit": (lambda path: flip(path, -9), ["checksum"]),
    "flipped dtype": (
        lambda path: path.write_bytes(
            path.read_bytes().replace(b'"start_logits":{"dtype":"F16"', b'"start_logits":{"dtype":"I16"')
        ),
        ["damaged", "I16"],
    ),
    "decreasing starts": (
        lambda path: rewrite(path, starts=lambda rows: rows.starts[::-1]),
        ["starts"],
    ),
    "a start too few": (lambda path: rewrite(path, starts=lambda rows: rows.starts[:-1]), ["starts is int64"]),
    "short end logits": (
        lambda path: rewrite(path, end_logits=lambda rows: rows.end_logits[:-1]),
        ["end_logits is float16"],
    ),
    "float32": (
        lambda path: rewrite(path, start_logits=lambda rows: rows.start_logits.astype(np.float32)),
        ["start_logits is float32"],
    ),
    "invalid header": (lambda path: save_file({"keys": np.zeros(3)}, path, {"span_distill": "[1]"}), ["damaged"]),
    "another teacher": (replace_with_another_teachers_shard, ["uuu"]),
    "deleted": (lambda path: path.unlink(), ["missing"]),
    "renamed": (lambda path: path.rename(path.with_stem("0" * 32)), ["missing", "not listed", "hash"]),
    "added": (lambda path: write_shard(path.parent, IDENTITY, rows("a")), ["not listed", "row 0"]),
    "not finite": (add_nan, ["row 1"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_reports_each_fault_with_its_file(store, fault):
    path = next(p for p in store.glob("*.safetensors") if count_rows(p) == 3)
    damage, expected = FAULTS[fault]
    damage(path)
    found = list(problems(store))
    for text in expected:
        assert [line for line in found if text in line and str(store) in line], found

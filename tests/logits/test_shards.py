import numpy as np
import pytest
from safetensors.numpy import load_file

from pipeline import files
from pipeline.errors import InputError
from pipeline.logits.shards import read_shard, write_shard
from tests.logits.rows import IDENTITY, rows


def test_rejects_a_shard_with_a_changed_header(store):
    path = next(store.glob("*.safetensors"))
    path.write_bytes(path.read_bytes().replace(b"float32", b"bfloat1", 1))
    with pytest.raises(InputError, match="checksum"):
        read_shard(path, IDENTITY)


def test_a_failed_write_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        write_shard(tmp_path, IDENTITY, rows("a"))
    assert list(tmp_path.iterdir()) == []


def test_a_shard_is_plain_safetensors(store):
    tensors = load_file(next(store.glob("*.safetensors")))
    assert set(tensors) == {"keys", "starts", "start_logits", "end_logits"}
    assert tensors["start_logits"].dtype == np.float16

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.errors import InputError
from pipeline.logits.cache import RowCache
from pipeline.logits.shards import Identity, count_rows
from pipeline.logits.store import LogitStore
from tests.logits.rows import features, rows
from tests.words import refused


@pytest.mark.parametrize("names", ["fac", "abcdef", "aabb", "bcbcde", "fedcba"])
def test_finds_rows_in_any_order(store, names):
    start_logits, end_logits = LogitStore(store, "k" * 64).aligned(features(names), names.__getitem__)
    expected = rows(names)
    assert np.array_equal(start_logits, expected.start_logits)
    assert np.array_equal(end_logits, expected.end_logits)


def test_a_missing_row_names_its_question_and_the_command(store):
    with refused("2 of 3 windows", "question q2", "`dvc repro logits`"):
        LogitStore(store, "k" * 64).aligned(features("axy"), ["q1", "q2", "q3"].__getitem__)


def test_a_row_of_another_length_counts_as_missing(store):
    windows = features("ab")
    windows.keys[1] = windows.keys[0]
    with pytest.raises(InputError, match="question second"):
        LogitStore(store, "k" * 64).aligned(windows, ["first", "second"].__getitem__)


def test_rejects_another_tokenizer(store):
    with pytest.raises(InputError, match="another tokenizer"):
        LogitStore(store, "z" * 64)


def test_rejects_a_folder_without_a_manifest(tmp_path):
    with refused(tmp_path, "no logits", "`dvc repro logits`"):
        LogitStore(tmp_path, "k" * 64)


@pytest.mark.parametrize("where", [0.2, 0.9, 0.99])
def test_detects_one_flipped_bit(store, where):
    path = max(store.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    damaged = bytearray(path.read_bytes())
    damaged[int(where * len(damaged))] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=path.name):
        LogitStore(store, "k" * 64).aligned(features("abcdef"), "abcdef".__getitem__)


def test_detects_a_truncated_shard(store):
    path = next(store.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-5])
    with refused(path.name, "damaged", "`dvc repro logits`"):
        LogitStore(store, "k" * 64).aligned(features("abcdef"), "abcdef".__getitem__)


def test_rejects_a_shard_of_another_teacher(store, tmp_path):
    other = RowCache(tmp_path / "cache", Identity("u" * 64, "k" * 64, "float16"))
    other.add(rows("abc"))
    name = next(store.glob("*.safetensors"))
    name.write_bytes(next(other.folder.glob("*.safetensors")).read_bytes())
    with pytest.raises(InputError, match=r"teacher .*uuuu"):
        LogitStore(store, "k" * 64).aligned(features("abcdef"), "abcdef".__getitem__)


def test_rejects_a_file_that_is_not_a_shard(store):
    path = next(store.glob("*.safetensors"))
    save_file({"keys": np.zeros(3)}, path)
    with pytest.raises(InputError, match=path.name):
        LogitStore(store, "k" * 64).aligned(features("abcdef"), "abcdef".__getitem__)


def test_names_a_missing_shard_and_the_first_question(store):
    path = next(path for path in store.glob("*.safetensors") if count_rows(path) == 2)  # ef
    path.unlink()
    with refused("2 of 6 windows", "question e", path.name, "missing"):
        LogitStore(store, "k" * 64).aligned(features("abcdef"), "abcdef".__getitem__)

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline import files
from pipeline.logits.cache import RowCache
from pipeline.logits.shards import Identity, count_rows, write_shard
from pipeline.logits.store import write_store
from tests.logits.rows import IDENTITY, content, keys, rows


def test_a_shard_without_read_permission_does_not_count_as_damaged(tmp_path, monkeypatch):
    cache = RowCache(tmp_path, IDENTITY)
    cache.add(rows("ab"))

    original = Path.open

    def denied(path, *arguments, **options):
        if path.suffix == ".safetensors":
            raise PermissionError("permission denied")
        return original(path, *arguments, **options)

    with monkeypatch.context() as context, pytest.raises(PermissionError):
        context.setattr(Path, "open", denied)
        RowCache(tmp_path, IDENTITY)
    assert RowCache(tmp_path, IDENTITY).has(keys("a"))


def test_removes_unfinished_files_of_a_killed_run(tmp_path):
    cache = RowCache(tmp_path, IDENTITY)
    before = content(cache.folder)
    for name in (f"{'0' * 32}.safetensors", "identity.json"):
        (cache.folder / f".{name}.123.abc").write_bytes(b"half")
    RowCache(tmp_path, IDENTITY)
    assert content(cache.folder) == before


def test_stored_bytes_do_not_depend_on_how_the_rows_were_computed(store, tmp_path):
    cache = RowCache(tmp_path / "other", IDENTITY)
    for part in ("db", "a", "xecy", "f"):
        cache.add(rows(part))
    again = tmp_path / "again"
    again.mkdir()
    write_store(again, IDENTITY, cache.rows, {"train": [keys("abc"), keys("d")], "validation": [keys("ef")]})
    assert content(again) == content(store)


def test_loads_rows_that_earlier_runs_added(tmp_path):
    RowCache(tmp_path, IDENTITY).add(rows("ab"))
    RowCache(tmp_path, IDENTITY).add(rows("c"))
    cache = RowCache(tmp_path, IDENTITY)
    assert cache.has(keys("abcd")).tolist() == [True, True, True, False]
    assert np.array_equal(cache.rows(keys("ca")).start_logits, rows("ca").start_logits)
    assert not RowCache(tmp_path, Identity("u" * 64, "k" * 64, "float16")).has(keys("a"))


def test_deletes_a_damaged_shard_with_a_warning(tmp_path, capsys):
    cache = RowCache(tmp_path, IDENTITY)
    cache.add(rows("ab"))
    cache.add(rows("c"))
    path = cache.folder / write_shard(cache.folder, IDENTITY, rows("ab"))
    path.write_bytes(path.read_bytes()[:-1])
    again = RowCache(tmp_path, IDENTITY)
    assert again.has(keys("abc")).tolist() == [False, False, True]
    assert path.name in capsys.readouterr().err


def test_imports_a_store_except_damaged_shards_and_other_teachers(store, tmp_path):
    cache_of = partial(RowCache, tmp_path / "new")
    other = cache_of(Identity("u" * 64, "k" * 64, "float16"))
    other.import_shards(store)
    assert other.added == 0 and not list(other.folder.glob("*.safetensors"))
    damaged = next(path for path in store.glob("*.safetensors") if count_rows(path) == 1)  # d
    damaged.write_bytes(damaged.read_bytes()[:-1])
    cache_of(IDENTITY).import_shards(store)
    again = cache_of(IDENTITY)
    assert again.has(keys("abcdef")).tolist() == [True, True, True, False, True, True]
    shards = content(again.folder)
    again.import_shards(store)
    assert content(again.folder) == shards


def test_rows_computed_before_an_error_are_cached(tmp_path):
    def computed():
        yield rows("ab")
        yield rows("c")
        raise ValueError("the teacher broke")

    with pytest.raises(ValueError, match="the teacher broke"):
        RowCache(tmp_path, IDENTITY).add_all(computed())
    assert RowCache(tmp_path, IDENTITY).has(keys("abc")).tolist() == [True] * 3


def test_stops_computing_when_a_shard_cannot_be_written(tmp_path, monkeypatch):
    computed_letters = []

    def computed():
        for letter in "abcdef":
            computed_letters.append(letter)
            yield rows(letter)

    cache = RowCache(tmp_path, IDENTITY)
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        cache.add_all(computed())
    assert computed_letters == ["a", "b"]  # b was computed while a was written


def test_lists_the_precisions_of_rows_from_several_runs(tmp_path):
    cache = RowCache(tmp_path, IDENTITY)
    cache.add(rows("ab", precision=("float32",)))
    cache.add(rows("cd", precision=("bfloat16",)))
    again = RowCache(tmp_path, IDENTITY)
    assert [again.rows(keys(names)).precision for names in ("ab", "d", "da")] == [
        ("float32",), ("bfloat16",), ("bfloat16", "float32"),
    ]  # fmt: skip

import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipeline import files
from pipeline.errors import InputError
from pipeline.logits import store as logit_store
from pipeline.logits.cache import RowCache, write_store
from pipeline.logits.manifest import MANIFEST, stores
from pipeline.logits.shards import Identity, Rows, count_rows, read_shard, write_shard
from pipeline.logits.store import LogitStore
from pipeline.logits.verify import problems
from pipeline.questions.features import Features

IDENTITY = Identity(teacher="t" * 64, tokenizer="k" * 64, dtype="float16")


def features(names):
    """Windows named by one letter each; the letter decides key and length."""
    lengths = [5 + ord(name) % 4 for name in names]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    n, t = len(names), int(starts[-1])
    digests = [hashlib.blake2b(name.encode(), digest_size=16).digest() for name in names]
    keys = np.array([np.frombuffer(digest, np.uint8) for digest in digests])
    zeros = np.zeros
    return Features(
        starts, zeros(t, np.int32), zeros(t, np.uint8), zeros((t, 2), np.int32),
        zeros((n, 2), np.int32), zeros((n, 2), np.int32), np.arange(n, dtype=np.int32), keys,
    )  # fmt: skip


def rows(names, precision=("float32",)):
    """The row of a letter holds its code, then 1, 2, 3, ...; ends are the negated starts."""
    windows = features(names)
    starts = np.concatenate([[ord(n), *range(1, length)] for n, length in zip(names, windows.lengths, strict=True)])
    return Rows(windows.keys, windows.starts, starts.astype(np.float16), -starts.astype(np.float16), precision)


def keys(names):
    return [key.tobytes() for key in features(names).keys]


@pytest.fixture
def store(tmp_path):
    """data/logits of the windows abcdef, train abcd in shards of three and validation ef."""
    cache = RowCache(tmp_path / "cache", IDENTITY)
    cache.add(rows("fedcba"))
    folder = tmp_path / "logits"
    folder.mkdir()
    write_store(folder, cache, {"train": keys("abcd"), "validation": keys("ef")}, shard_size=3)
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("names", ["fac", "abcdef", "aabb", "bcbcde", "fedcba"])
def test_rows_are_found_in_any_order(store, names):
    start_logits, end_logits = LogitStore(store, "k" * 64).aligned(features(names), list(names))
    expected = rows(names)
    assert np.array_equal(start_logits, expected.start_logits)
    assert np.array_equal(end_logits, expected.end_logits)


def test_a_missing_row_names_its_question_and_the_command(store):
    with pytest.raises(InputError, match=r"2 of 3 windows, the first of question q2; `dvc repro logits`"):
        LogitStore(store, "k" * 64).aligned(features("axy"), ["q1", "q2", "q3"])


def test_a_row_of_another_length_is_missing(store):
    windows = features("ab")
    windows.keys[1] = windows.keys[0]
    with pytest.raises(InputError, match="question second"):
        LogitStore(store, "k" * 64).aligned(windows, ["first", "second"])


def test_another_tokenizer_is_refused(store):
    with pytest.raises(InputError, match="another tokenizer"):
        LogitStore(store, "z" * 64)


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match="`dvc repro logits` makes it"):
        LogitStore(tmp_path, "k" * 64)


@pytest.mark.parametrize("where", [0.2, 0.9, 0.99])
def test_one_flipped_bit_is_found(store, where):
    path = max(store.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    damaged = bytearray(path.read_bytes())
    damaged[int(where * len(damaged))] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=path.name):
        LogitStore(store, "k" * 64).aligned(features("abcdef"), list("abcdef"))


def test_a_truncated_shard_is_found(store):
    path = next(store.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match=rf"{path.name} is not a shard of logits, or is damaged.*`dvc repro logits`"):
        LogitStore(store, "k" * 64).aligned(features("abcdef"), list("abcdef"))


def test_a_shard_of_another_teacher_is_refused(store, tmp_path):
    other = RowCache(tmp_path / "cache", Identity("u" * 64, "k" * 64, "float16"))
    other.add(rows("abc"))
    name = next(store.glob("*.safetensors"))
    name.write_bytes(next(other.folder.glob("*.safetensors")).read_bytes())
    with pytest.raises(InputError, match="teacher is uuuu"):
        LogitStore(store, "k" * 64).aligned(features("abcdef"), list("abcdef"))


def test_a_file_that_is_no_shard_is_refused(store):
    path = next(store.glob("*.safetensors"))
    save_file({"keys": np.zeros(3)}, path)
    with pytest.raises(InputError, match=path.name):
        LogitStore(store, "k" * 64).aligned(features("abcdef"), list("abcdef"))


def test_a_shard_that_is_missing_is_named_with_the_first_question(store):
    path = next(path for path in store.glob("*.safetensors") if count_rows(path) == 2)  # ef
    path.unlink()
    with pytest.raises(InputError, match=rf"2 of 6 windows, the first of question e; .*{path.name} is missing"):
        LogitStore(store, "k" * 64).aligned(features("abcdef"), list("abcdef"))


def test_a_shard_that_may_not_be_read_is_not_taken_for_damaged(tmp_path, monkeypatch):
    cache = RowCache(tmp_path, IDENTITY)
    cache.add(rows("ab"))

    as_usual = logit_store.Path.open

    def refused(path, *arguments, **more):
        if path.suffix == ".safetensors":
            raise PermissionError("not yours")
        return as_usual(path, *arguments, **more)

    with monkeypatch.context() as context, pytest.raises(PermissionError):
        context.setattr(logit_store.Path, "open", refused)
        RowCache(tmp_path, IDENTITY)
    assert keys("a")[0] in RowCache(tmp_path, IDENTITY)


def test_what_a_killed_run_began_to_write_is_removed(tmp_path):
    cache = RowCache(tmp_path, IDENTITY)
    rest = cache.folder / f".{'0' * 32}.safetensors.123.abc"
    rest.write_bytes(b"half")
    RowCache(tmp_path, IDENTITY)
    assert not rest.exists()


def test_the_bytes_do_not_depend_on_how_the_rows_were_computed(store, tmp_path):
    cache = RowCache(tmp_path / "other", IDENTITY)
    for part in ("db", "a", "xecy", "f"):
        cache.add(rows(part))
    again = tmp_path / "again"
    again.mkdir()
    write_store(again, cache, {"train": keys("abcd"), "validation": keys("ef")}, shard_size=3)
    assert content(again) == content(store)


def test_a_key_in_both_splits_is_stored_once(tmp_path):
    cache = RowCache(tmp_path / "cache", IDENTITY)
    cache.add(rows("ab"))
    write_store(tmp_path, cache, {"train": keys("aba"), "validation": keys("b")}, shard_size=9)
    assert len(LogitStore(tmp_path, "k" * 64)) == 2
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_whole_shards_stay_as_they_are_when_a_split_grows(tmp_path):
    cache = RowCache(tmp_path / "cache", IDENTITY)
    cache.add(rows("abcdefg"))
    folders = [tmp_path / name for name in ("small", "large")]
    for folder, train in zip(folders, ("abc", "abcdef"), strict=True):
        folder.mkdir()
        write_store(folder, cache, {"train": keys(train), "validation": keys("g")}, shard_size=2)
    small, large = ({path.name for path in folder.glob("*.safetensors")} for folder in folders)
    assert len(small & large) == 2  # ab, and the validation shard


def test_the_cache_remembers_what_earlier_runs_added(tmp_path):
    RowCache(tmp_path, IDENTITY).add(rows("ab"))
    RowCache(tmp_path, IDENTITY).add(rows("c"))
    cache = RowCache(tmp_path, IDENTITY)
    assert [key in cache for key in keys("abcd")] == [True, True, True, False]
    assert np.array_equal(cache.rows(keys("ca")).start_logits, rows("ca").start_logits)
    assert keys("a")[0] not in RowCache(tmp_path, Identity("u" * 64, "k" * 64, "float16"))


def test_a_damaged_shard_of_the_cache_is_dropped_with_a_warning(tmp_path, capsys):
    cache = RowCache(tmp_path, IDENTITY)
    cache.add(rows("ab"))
    cache.add(rows("c"))
    path = cache.folder / write_shard(cache.folder, IDENTITY, rows("ab"))
    path.write_bytes(path.read_bytes()[:-1])
    again = RowCache(tmp_path, IDENTITY)
    assert [key in again for key in keys("abc")] == [False, False, True]
    assert path.name in capsys.readouterr().err


def test_what_a_store_holds_is_adopted_unless_it_is_damaged_or_anothers(store, tmp_path):
    cache_of = partial(RowCache, tmp_path / "new")
    other = cache_of(Identity("u" * 64, "k" * 64, "float16"))
    other.import_shards(store)
    assert len(other) == 0 and not list(other.folder.glob("*.safetensors"))
    damaged = next(path for path in store.glob("*.safetensors") if count_rows(path) == 1)  # d
    damaged.write_bytes(damaged.read_bytes()[:-1])
    cache_of(IDENTITY).import_shards(store)
    again = cache_of(IDENTITY)
    assert [key in again for key in keys("abcdef")] == [True, True, True, False, True, True]
    shards = content(again.folder)
    again.import_shards(store)
    assert content(again.folder) == shards


def test_rows_that_came_before_an_error_are_kept(tmp_path):
    def computed():
        yield rows("ab")
        yield rows("c")
        raise ValueError("the teacher broke")

    with pytest.raises(ValueError, match="the teacher broke"):
        RowCache(tmp_path, IDENTITY).add_all(computed())
    assert [key in RowCache(tmp_path, IDENTITY) for key in keys("abc")] == [True] * 3


def test_a_shard_that_cannot_be_written_ends_the_computing(tmp_path, monkeypatch):
    asked = []

    def computed():
        for letter in "abcdef":
            asked.append(letter)
            yield rows(letter)

    cache = RowCache(tmp_path, IDENTITY)
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        cache.add_all(computed())
    assert asked == ["a", "b"]  # b was on its way while a was written


def test_the_precisions_of_rows_from_several_runs_are_all_named(tmp_path):
    cache = RowCache(tmp_path, IDENTITY)
    cache.add(rows("ab", precision=("float32",)))
    cache.add(rows("cd", precision=("bfloat16",)))
    again = RowCache(tmp_path, IDENTITY)
    assert [again.rows(keys(names)).precision for names in ("ab", "d", "da")] == [
        ("float32",), ("bfloat16",), ("bfloat16", "float32"),
    ]  # fmt: skip


def test_a_shard_whose_header_was_changed_is_refused(store):
    path = next(store.glob("*.safetensors"))
    path.write_bytes(path.read_bytes().replace(b"float32", b"bfloat1", 1))
    with pytest.raises(InputError, match="checksum"):
        read_shard(path, IDENTITY)


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        write_shard(tmp_path, IDENTITY, rows("a"))
    assert list(tmp_path.iterdir()) == []


def test_a_sound_store_has_no_problems(store, tmp_path):
    assert list(problems(store)) == []
    assert list(problems(tmp_path / "cache" / IDENTITY.name)) == []


def swap_in_another_teachers_shard(path):
    write_shard(path.parent, Identity("u" * 64, "k" * 64, "float16"), rows("ab"))
    next(
        p for p in path.parent.glob("*.safetensors") if "u" * 64 in p.read_bytes()[:999].decode(errors="ignore")
    ).replace(path)


def reformed(path, **changes):
    """Put a shard in the place of another whose checksum is right and whose form is not."""
    sound = read_shard(path, IDENTITY)
    path.unlink()
    write_shard(path.parent, IDENTITY, replace(sound, **{name: change(sound) for name, change in changes.items()}))
    max(path.parent.glob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns).replace(path)


def flip(path, place):
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)


FAULTS = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-9]), ["damaged"]),
    "empty": (lambda path: path.write_bytes(b""), ["damaged"]),
    "flipped bit": (lambda path: flip(path, -9), ["checksum"]),
    "flipped dtype": (
        lambda path: path.write_bytes(
            path.read_bytes().replace(b'"start_logits":{"dtype":"F16"', b'"start_logits":{"dtype":"I16"')
        ),
        ["start_logits is int16"],
    ),
    "falling starts": (lambda path: reformed(path, starts=lambda rows: rows.starts[::-1]), ["starts do not rise"]),
    "one start less": (lambda path: reformed(path, starts=lambda rows: rows.starts[:-1]), ["starts is int64"]),
    "short ends": (
        lambda path: reformed(path, end_logits=lambda rows: rows.end_logits[:-1]),
        ["end_logits is float16"],
    ),
    "float32": (
        lambda path: reformed(path, start_logits=lambda rows: rows.start_logits.astype(np.float32)),
        ["start_logits is float32"],
    ),
    "other header": (lambda path: save_file({"keys": np.zeros(3)}, path, {"span_distill": "[1]"}), ["damaged"]),
    "another teacher": (swap_in_another_teachers_shard, ["teacher is uuu"]),
    "deleted": (lambda path: path.unlink(), ["not there"]),
    "renamed": (lambda path: path.rename(path.with_stem("0" * 32)), ["not there", "does not name it", "hash of its"]),
    "added": (lambda path: write_shard(path.parent, IDENTITY, rows("a")), ["does not name it", "row 0 is in"]),
    "not finite": (lambda path: with_nan(path), ["row 1, key"]),
}


def with_nan(path):
    damaged = read_shard(path, IDENTITY)
    damaged.start_logits[damaged.starts[1]] = np.nan
    write_shard(path.parent, IDENTITY, damaged)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_of_the_problems_and_names_the_file(store, fault):
    path = next(p for p in store.glob("*.safetensors") if count_rows(p) == 3)
    damage, expected = FAULTS[fault]
    damage(path)
    found = list(problems(store))
    for text in expected:
        assert [line for line in found if text in line and str(store) in line], found


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"format": 3', '"format": 2'),
        lambda text: text.replace('"shards"', '"chards"'),
        lambda text: text.replace('"rows": 3', '"rows": "3"', 1),
        lambda text: text.replace(".safetensors", "/../x.safetensors", 1),
        lambda text: text.replace("teacher", "t\ud800", 1),
        lambda text: "[1]",
        lambda text: "",
    ],
)
def test_a_damaged_manifest_is_one_problem_and_refused(store, change):
    manifest = store / MANIFEST
    manifest.write_text(change(manifest.read_text()), errors="surrogatepass")
    (line,) = problems(store)
    assert str(manifest) in line
    with pytest.raises(InputError, match=r"manifest\.json .*`dvc repro logits` makes it anew"):
        LogitStore(store, "k" * 64)


def test_a_folder_beside_stores_that_is_none_is_looked_at_too(store):
    (store.parent / "logits of all").mkdir()
    store.rename(store.parent / "logits of all" / "large")
    (store.parent / "logits of all" / "other").mkdir()
    found = [line for folder in stores(store.parent / "logits of all") for line in problems(folder)]
    assert len(found) == 1 and "other has no manifest.json" in found[0]


def test_a_shard_is_plain_safetensors(store):
    tensors = load_file(next(store.glob("*.safetensors")))
    assert set(tensors) == {"keys", "starts", "start_logits", "end_logits"}
    assert tensors["start_logits"].dtype == np.float16

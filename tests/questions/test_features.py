from itertools import pairwise

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.checksums import seal
from pipeline.errors import InputError
from pipeline.models.batching import pad
from pipeline.questions.features import (
    blocks,
    question_ids,
    ranges,
    read_features,
    write_features,
    write_parts,
)
from tests.words import refused


def test_features_survive_a_save_and_a_load(features, tmp_path):
    write_features(features, tmp_path / "f.safetensors")
    loaded = read_features(tmp_path / "f.safetensors")
    for name, value in vars(features).items():
        actual = getattr(loaded, name)
        assert actual.dtype == value.dtype, name
        np.testing.assert_array_equal(actual, value)


def test_equal_features_give_equal_bytes(features, tmp_path):
    for name in ("a", "b"):
        write_features(features, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_damaged_file_raises_and_no_windows_have_no_tokens(features, tmp_path):
    write_features(features, tmp_path / "windows")
    (tmp_path / "windows").write_bytes((tmp_path / "windows").read_bytes()[:-1])
    with refused(tmp_path / "windows", "`dvc repro tokenize`"):
        read_features(tmp_path / "windows")
    assert len(features.token_indices(np.array([], dtype=int))) == 0


def test_lengths_and_slices_cover_all_tokens(features):
    assert features.lengths.sum() == len(features.input_ids)
    ids = np.concatenate([features.input_ids[features.tokens(i)] for i in range(len(features))])
    np.testing.assert_array_equal(ids, features.input_ids)


def test_select_returns_whole_windows_in_the_given_order(features):
    order = [3, 0, 2]
    some = features.select(np.array(order))
    assert len(some) == 3
    for i, j in enumerate(order):
        for name in ("input_ids", "token_type_ids", "offset_mapping"):
            actual, expected = getattr(some, name)[some.tokens(i)], getattr(features, name)[features.tokens(j)]
            np.testing.assert_array_equal(actual, expected)
    for name in ("context", "labels", "record", "keys"):
        np.testing.assert_array_equal(getattr(some, name), getattr(features, name)[order])


def test_the_answer_mask_equals_the_batchs(features):
    flat, batch = features.answer_mask, pad(features, np.arange(len(features)), pad_token_id=0)
    for i, length in enumerate(features.lengths):
        np.testing.assert_array_equal(flat[features.tokens(i)], batch.answer_mask[i, :length])
        assert flat[features.tokens(i)].sum() == 1 + np.diff(features.context[i])[0]


def test_the_bytes_are_those_of_save_file_however_the_windows_are_divided(features, tmp_path):
    save_file(dict(vars(features)), tmp_path / "whole")
    n = len(features)
    for name, cuts in (("one", [0, n]), ("several", [0, 1, 1, 3, n])):
        parts = [features.select(np.arange(*ends)) for ends in pairwise(cuts)]
        write_parts(lambda parts=parts: iter(parts), tmp_path / name)
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole").read_bytes()


def test_no_windows_are_a_file_too(features, tmp_path):
    write_features(features.select(np.arange(0)), tmp_path / "windows")
    assert len(read_features(tmp_path / "windows")) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"starts": np.arange(3)},
        {"record": np.zeros(3, dtype=np.int32)},
        {"input_ids": np.zeros(3, dtype=np.int32)},
        {"input_ids": np.zeros(3, dtype=np.int64)},
        {"keys": np.zeros((3, 8), dtype=np.uint8)},
        {"more": np.zeros(3)},
    ],
)
def test_tensors_that_do_not_fit_raise_with_the_file(features, tmp_path, change):
    save_file({**vars(features), **change}, tmp_path / "windows")
    seal(tmp_path / "windows")
    with pytest.raises(InputError, match=r"windows .*`dvc repro tokenize` rebuilds it"):
        read_features(tmp_path / "windows")


def test_question_ids_are_looked_up_when_they_are_needed(features, records):
    read = []

    class Counted(list):
        def __getitem__(self, i):
            read.append(i)
            return super().__getitem__(i)

    ids = question_ids(features, Counted(records))
    assert len(ids) == len(features) and read == []
    assert ids[np.int64(5)] == records[features.record[5]]["id"] and len(read) == 1
    some = question_ids(features, records, np.array([7, 2]))
    assert list(some) == [ids[7], ids[2]]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_answer_mask_is_made_block_by_block(features, monkeypatch, size):
    expected = features.answer_mask
    monkeypatch.setattr("pipeline.questions.features.blocks", lambda count: blocks(count, size))
    np.testing.assert_array_equal(features.answer_mask, expected)
    np.testing.assert_array_equal(features.answer_mask_of(np.array([4])), expected[features.tokens(4)])


def test_the_ranges_of_no_and_of_empty_ranges_are_empty():
    assert ranges(np.array([], dtype=int), np.array([], dtype=int)).tolist() == []
    assert ranges(np.array([5, 0, 2]), np.array([2, 0, 3])).tolist() == [5, 6, 2, 3, 4]

import numpy as np

from pipeline.models.batching import pad
from pipeline.questions.features import read_features, write_features
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

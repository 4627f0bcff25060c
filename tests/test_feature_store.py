import numpy as np

from pipeline import feature_store


def test_features_come_back_as_they_were(features, tmp_path):
    feature_store.write(features, tmp_path / "f.safetensors")
    again = feature_store.read(tmp_path / "f.safetensors")
    for name, value in vars(features).items():
        read = getattr(again, name)
        assert read.dtype == value.dtype, name
        np.testing.assert_array_equal(read, value)


def test_the_same_features_give_the_same_bytes(features, tmp_path):
    for name in ("a", "b"):
        feature_store.write(features, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_lengths_and_slices_cover_the_tokens(features):
    assert features.lengths.sum() == len(features.input_ids)
    ids = np.concatenate([features.input_ids[features.tokens(i)] for i in range(len(features))])
    np.testing.assert_array_equal(ids, features.input_ids)

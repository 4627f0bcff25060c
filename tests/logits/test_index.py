import numpy as np
import pytest

from pipeline.logits import index
from pipeline.logits.index import Index, unique


def random_keys(n, seed=0):
    keys = np.random.default_rng(seed).integers(0, 3, (n, 16), dtype=np.uint8)
    keys[:, 4:12] = 0  # few values, zeros at the end of some and in the middle of all
    return keys


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(index, "CHUNK", 7)


def test_finds_the_last_row_of_each_key(tmp_path):
    keys = random_keys(5000)
    last = {key.tobytes(): row for row, key in enumerate(keys)}
    assert len(last) < 5000  # some keys occur twice
    found = Index([keys[:1000], keys[1000:1000], keys[1000:]], tmp_path)
    assert found.find(keys).tolist() == [last[key.tobytes()] for key in keys]
    others = random_keys(500, seed=1)
    assert found.find(others).tolist() == [last.get(key.tobytes(), -1) for key in others]
    assert not list(tmp_path.iterdir())


def test_an_empty_index_finds_nothing(tmp_path):
    assert Index([], tmp_path).find(random_keys(2)).tolist() == [-1, -1]


def test_unique_keeps_the_first_of_equal_keys_over_all_splits(tmp_path):
    train, validation = random_keys(3000), random_keys(3000, seed=1)
    seen, expected = set(), {"train": [], "validation": []}
    for split, keys in (("train", train), ("validation", validation)):
        for i, key in enumerate(keys):
            if key.tobytes() not in seen:
                seen.add(key.tobytes())
                expected[split].append(i)
    assert len(expected["validation"]) < 3000
    kept = unique({"train": train, "validation": validation}, tmp_path)
    assert {split: indices.tolist() for split, indices in kept.items()} == expected

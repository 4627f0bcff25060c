import numpy as np
import pytest

from pipeline.logits.extraction import as_rows
from tests.words import refused


def rows(features, indices):
    tokens = features.lengths[indices].sum()
    return as_rows(features, np.array(indices), (np.zeros(tokens), np.zeros(tokens)), "float16", "float32")


def test_rows_have_the_keys_of_their_windows(features):
    assert np.array_equal(rows(features, [2, 0]).keys, features.keys[[2, 0]])


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids", "keys"])
def test_logits_of_other_tokens_are_not_stored_under_a_windows_key(features, name):
    array = getattr(features, name)
    array[1 if name == "keys" else features.starts[1] + 3] ^= 1
    with refused("window 1", "damaged", "delete data/features", "`dvc repro tokenize`"):
        rows(features, [0, 1])
    rows(features, [0, 2])

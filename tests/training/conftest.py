import numpy as np
import pytest

from pipeline.questions.features import Features


@pytest.fixture
def features():
    """64 windows; the answer is token 9, at a random position."""
    rng = np.random.default_rng(0)
    n, length = 64, 10
    ids = rng.integers(10, 30, (n, length)).astype(np.int32)
    ids[:, 0] = 2
    answers = rng.integers(3, length, n)
    ids[np.arange(n), answers] = 9
    return Features(
        starts=np.arange(n + 1, dtype=np.int64) * length,
        input_ids=ids.ravel(),
        token_type_ids=np.zeros(n * length, np.uint8),
        offset_mapping=np.zeros((n * length, 2), np.int32),
        context=np.tile(np.array([3, length], np.int32), (n, 1)),
        labels=np.stack([answers, answers], axis=1).astype(np.int32),
        record=np.arange(n, dtype=np.int32),
        keys=np.zeros((n, 16), np.uint8),
    )

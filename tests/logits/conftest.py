import pytest

from pipeline.logits.cache import RowCache
from pipeline.logits.store import write_store
from tests.logits.rows import IDENTITY, keys, rows


@pytest.fixture
def store(tmp_path):
    """data/logits of the windows abcdef: train abcd and validation ef, in shards of up to three rows."""
    cache = RowCache(tmp_path / "cache", IDENTITY)
    cache.add(rows("fedcba"))
    folder = tmp_path / "logits"
    folder.mkdir()
    write_store(folder, IDENTITY, cache.rows, {"train": [keys("abc"), keys("d")], "validation": [keys("ef")]})
    return folder

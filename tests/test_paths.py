from pathlib import Path

import pytest

from pipeline import paths
from pipeline.errors import InputError


def test_the_cache_folder_is_expanded(monkeypatch):
    monkeypatch.setenv(paths.CACHE_VARIABLE, " ~/cache ")
    assert paths.cache() == Path.home() / "cache"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("~nobody-here/x", "SPAN_DISTILL_CACHE is '~nobody-here/x', but ~nobody-here is not a home folder"),
        ("cache", "SPAN_DISTILL_CACHE is 'cache', a relative path.*; give an absolute path, such as '{here}/cache'"),
        ("$HOME/x", r"SPAN_DISTILL_CACHE is '\$HOME/x', a relative path"),
    ],
)
def test_a_cache_folder_that_is_not_absolute_is_refused(tmp_path, monkeypatch, value, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(paths.CACHE_VARIABLE, value)
    with pytest.raises(InputError, match=message.format(here=tmp_path)):
        paths.cache()


def test_a_folder_is_written_on_trial_and_nothing_stays(tmp_path):
    assert paths.writable(tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"the cache folder .*/file/logits cannot be written \(Not a directory\)"):
        paths.writable(tmp_path / "file" / "logits")

from pathlib import Path

import pytest

from pipeline import paths
from tests.words import refused


def test_the_cache_folder_is_expanded(monkeypatch):
    monkeypatch.setenv(paths.CACHE_VARIABLE, " ~/cache ")
    assert paths.cache() == Path.home() / "cache"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("~nobody-here/x", "'~nobody-here/x' ~nobody-here home"),
        ("cache", "'cache' relative absolute '{here}/cache'"),
        ("$HOME/x", "'$HOME/x' relative"),
    ],
)
def test_a_cache_folder_that_is_not_absolute_is_refused(tmp_path, monkeypatch, value, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(paths.CACHE_VARIABLE, value)
    with refused("SPAN_DISTILL_CACHE", *words.format(here=tmp_path).split()):
        paths.cache()


def test_a_folder_is_written_on_trial_and_nothing_stays(tmp_path):
    assert paths.writable(tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").touch()
    with refused(tmp_path / "file/logits", "written", "Not a directory"):
        paths.writable(tmp_path / "file" / "logits")

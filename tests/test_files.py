import os

import pytest

from pipeline.files import atomic_write, remove_unfinished


def test_a_file_that_is_not_complete_is_not_there(tmp_path):
    with pytest.raises(ValueError), atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    others = {tmp_path / name for name in ("identity.json", ".hidden", ".identity.json.copy", "a.123.0123abcd")}
    for path in others:
        path.touch()
    child = os.fork()
    if child == 0:
        with atomic_write(tmp_path / "identity.json") as temporary:
            temporary.write_text("half")
            os._exit(1)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == len(others) + 1
    remove_unfinished(tmp_path)
    assert set(tmp_path.iterdir()) == others

import os
import re
import threading

import pytest

from pipeline import locks
from pipeline.locks import Held, hold, hold_if_free


@pytest.fixture(autouse=True)
def poll(monkeypatch):
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.001)


class Holder(threading.Thread):
    """Holds the lock of a folder, from when it gets it until `release` is set."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.holds, self.release = folder, threading.Event(), threading.Event()
        self.start()

    def run(self):
        with hold(self.folder, "it writes here"):
            self.holds.set()
            self.release.wait(10)


def test_the_second_waits_and_says_for_whom(tmp_path, capsys):
    first = Holder(tmp_path / "folder")
    assert first.holds.wait(10)
    second = Holder(tmp_path / "folder")
    assert not second.holds.wait(0.05)
    first.release.set()
    assert second.holds.wait(10)
    second.release.set()
    second.join()
    line = rf"waiting for process {os.getpid()} \(.* in .*, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\): it writes here\n"
    assert re.fullmatch(line, capsys.readouterr().out)


def test_a_lock_file_deleted_by_its_holder_never_lets_two_in(tmp_path):
    """Those who wait have the deleted file open; one of them gets the lock, and a newcomer sees it."""
    holders = [Holder(tmp_path / "folder") for _ in range(4)]
    for _ in range(4):
        while not (current := [holder for holder in holders if holder.holds.is_set()]):
            pass
        assert len(current) == 1
        with pytest.raises(Held), hold_if_free(tmp_path / "folder"):
            pass
        assert current == [holder for holder in holders if holder.holds.is_set()]
        holders.remove(current[0])
        current[0].release.set()
        current[0].join()
    assert list(tmp_path.iterdir()) == []


def test_a_dead_holder_does_not_block(tmp_path, capsys):
    child = os.fork()
    if child == 0:
        with hold(tmp_path / "folder", "it writes here"):
            os._exit(1)
    os.waitpid(child, 0)
    assert f"process {child} " in (tmp_path / "folder.lock").read_text()
    with hold(tmp_path / "folder", "it writes here"):
        assert f"process {os.getpid()} " in (tmp_path / "folder.lock").read_text()
    assert capsys.readouterr().out == ""


def test_a_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(ValueError), hold(tmp_path / "folder", "it writes here"):
        raise ValueError
    with hold_if_free(tmp_path / "folder"):
        pass

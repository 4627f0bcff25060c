import os
import queue
import re
import threading

import pytest

from pipeline import locks
from pipeline.locks import Held, hold, hold_if_free


@pytest.fixture(autouse=True)
def poll(monkeypatch):
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.001)


class Holder(threading.Thread):
    """Holds the lock of a folder from when it gets it until `release` is set; tells the queue `holders` about it."""

    def __init__(self, folder, holders):
        super().__init__(daemon=True)
        self.folder, self.holders, self.release = folder, holders, threading.Event()
        self.start()

    def run(self):
        with hold(self.folder, "it writes here"):
            self.holders.put(self)
            self.release.wait(60)


def test_the_second_waits_and_says_for_whom(tmp_path, monkeypatch):
    holders, messages = queue.Queue(), queue.Queue()
    monkeypatch.setattr(locks.log, "info", lambda line, *values: messages.put(line % values))
    first = Holder(tmp_path / "folder", holders)
    assert holders.get(timeout=60) is first
    second = Holder(tmp_path / "folder", holders)
    line = rf".*process {os.getpid()} .* \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d.*it writes here"
    assert re.fullmatch(line, messages.get(timeout=60))
    assert holders.empty()
    first.release.set()
    assert holders.get(timeout=60) is second
    second.release.set()
    second.join()


def test_a_lock_file_deleted_by_its_holder_never_lets_two_in(tmp_path):
    """Those who wait have the deleted file open; one of them gets the lock, and a newcomer sees it."""
    holders = queue.Queue()
    waiting = {Holder(tmp_path / "folder", holders) for _ in range(4)}
    while waiting:
        current = holders.get(timeout=60)
        with pytest.raises(Held), hold_if_free(tmp_path / "folder"):
            raise AssertionError("two hold the lock")
        assert holders.empty()
        waiting.remove(current)
        current.release.set()
        current.join()
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

"""Locks of folders: one process writes, the others say whom they wait for."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.log import log

POLL_SECONDS = 0.2


class Held(Exception):
    """Another process holds the lock; the message says which one."""


@contextmanager
def hold(folder: Path, reason: str) -> Iterator[None]:
    """Hold the lock of a folder, which need not exist. If another process holds it, log which one, and wait.

    The operating system releases the lock of a process that ends, however it ends.

    Args:
        reason: logged after the other process.
    """
    try:
        lock = _acquired(folder)
    except Held as held:
        log.info("waiting for %s: %s", held, reason)
        lock = FileLock(_lock_file(folder))
        lock.acquire(poll_interval=POLL_SECONDS)
    with _released(lock):
        yield


@contextmanager
def hold_if_free(folder: Path) -> Iterator[None]:
    """Like `hold`, but does not wait.

    Raises:
        Held: another process holds the lock.
    """
    with _released(_acquired(folder)):
        yield


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _acquired(folder: Path) -> FileLock:
    path = _lock_file(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Held(_holder(path)) from None
    return lock


@contextmanager
def _released(lock: FileLock) -> Iterator[None]:
    """Name this process in the lock file. Delete the file at the end, before the lock is released.

    A process that waits with the deleted file open sees that it is deleted (filelock checks st_nlink), and opens the
    file that is there then.
    """
    path = Path(lock.lock_file)
    try:
        with suppress(OSError):  # a full disk; the lock is held without a name in it
            path.write_text(_this_process(), encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8") or "another process"
    return "another process"


def _this_process() -> str:
    command = " ".join([Path(sys.argv[0]).stem, *sys.argv[1:]])
    return f"process {os.getpid()} ({command} in {Path.cwd()}, since {time.strftime('%Y-%m-%d %H:%M:%S')})"

"""A module that is killed, interrupted or paused when it is about to change a file.

    python -m tests.stopping SIGKILL 7 '*/cache/*' pipeline.stages.logits

sends itself SIGKILL before the seventh change of a path that matches the pattern: a file is opened for writing, renamed
or deleted, or a folder made. The changes of a stage are the same in each run. PAUSE instead of a signal prints a line
and waits to be killed. Of several processes of a stage, the one of rank STOPPED_RANK stops, by default 0.
"""

import os
import runpy
import signal
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def stop_at(action: str, number: int, pattern: str) -> None:
    left = number

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in CHANGES or (event == "open" and arguments[2] & WRITING):
            path = arguments[0]
            if not isinstance(path, int) and fnmatch(str(Path(os.fsdecode(path)).absolute()), pattern):
                left -= 1
                if left == 0:
                    stop(action)

    sys.addaudithook(audit)


def stop(action: str) -> None:
    if action == "PAUSE":
        print("paused", flush=True)
        signal.pause()
    else:
        os.kill(os.getpid(), signal.Signals[action])


if __name__ == "__main__":
    action, number, pattern, module, *sys.argv[1:] = sys.argv[1:]
    if os.environ.get("RANK", "0") == os.environ.get("STOPPED_RANK", "0"):
        stop_at(action, int(number), pattern)
    runpy.run_module(module, run_name="__main__", alter_sys=True)

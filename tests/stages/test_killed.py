"""A training that is killed under DVC."""

import contextlib
import os
import re
import signal
import time

import psutil
import pytest

pytestmark = pytest.mark.slow


def wait_for_a_checkpoint(cache, process):
    while not list(cache.glob("training/*/checkpoint.safetensors")):
        assert process.poll() is None, "it ended before it wrote a checkpoint"
        time.sleep(0.01)


def training_processes(cache):
    """The train stages with this cache; other processes of the machine are not in it."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, IndexError):
            ours = process.environ().get("SPAN_DISTILL_CACHE") == str(cache)
            if ours and process.cmdline()[-1] == "pipeline.stages.train":
                yield process


def test_a_killed_training_resumes_in_the_workspace_and_in_a_queue(repository):
    cache = repository.cache
    repository.change(train={"epochs": 80, "checkpoint_minutes": 0.1 / 60})
    repository.commit()
    process = repository.start("dvc", "repro", "train")
    wait_for_a_checkpoint(cache, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert re.search(r"resuming from a checkpoint of step \d+ of", repository("dvc", "repro", "train"))
    repository.commit()

    for _ in range(2):
        repository("dvc", "exp", "run", "--queue", "-S", "seed=1", "train")
    process = repository.start("dvc", "exp", "run", "--run-all")
    wait_for_a_checkpoint(cache, process)
    (training,) = training_processes(cache)
    training.kill()  # the second experiment has the same parameters and resumes
    assert process.wait(timeout=600) == 0
    first, second = re.findall(r"(\w{7}) .*(?:Failed|Success)", repository("dvc", "queue", "status"))
    logs = [repository("dvc", "queue", "logs", name) for name in (first, second)]
    assert sum("resuming from a checkpoint of step" in log for log in logs) == 1
    assert not list(cache.glob("training/*"))

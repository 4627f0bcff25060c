"""A training that is killed under DVC."""

import contextlib
import os
import re
import signal
import subprocess
import time

import psutil
import pytest

pytestmark = pytest.mark.slow


def wait_for_a_checkpoint(cache, process):
    while not list(cache.glob("training/*/checkpoint.safetensors")):
        assert process.poll() is None, "it ended before it wrote a checkpoint"
        time.sleep(0.01)


def stage_processes(cache, *command):
    """The processes of a stage, `python -m COMMAND`, with this cache."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("SPAN_DISTILL_CACHE") == str(cache)
            if ours and process.cmdline()[-len(command) - 1 :] == ["-m", *command]:
                yield process


def test_a_killed_training_resumes_in_the_workspace_and_in_a_queue(repository):
    cache = repository.cache
    repository.change(train={"epochs": 80, "checkpoint_minutes": 0.1 / 60})
    repository.commit()
    process = repository.start("dvc", "repro", "train")
    wait_for_a_checkpoint(cache, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert re.search(r"resuming .*step \d+ of", repository("dvc", "repro", "train"))
    repository.commit()

    for _ in range(2):
        repository("dvc", "exp", "run", "--queue", "-S", "seed=1", "train")
    process = repository.start("dvc", "exp", "run", "--run-all")
    wait_for_a_checkpoint(cache, process)
    (training,) = stage_processes(cache, "pipeline.stages.train")
    training.kill()  # the second experiment has the same parameters and resumes
    assert process.wait(timeout=600) == 0
    first, second = re.findall(r"(\w{7}) .*(?:Failed|Success)", repository("dvc", "queue", "status"))
    logs = [repository("dvc", "queue", "logs", name) for name in (first, second)]
    assert sum("resuming" in log for log in logs) == 1
    assert not list(cache.glob("training/*"))


def test_a_stage_that_outlived_dvc_and_the_next_one_do_not_write_at_once(repository):
    # the teacher's: a student's training ends by itself when DVC removes data/curves
    training = {"epochs": 3000, "checkpoint_minutes": 0.1 / 60, "learning_rate": 1e-3, "keep": "last"}
    repository.change(teacher={"train": training})
    process = repository.start("dvc", "repro", "teacher@large")
    wait_for_a_checkpoint(repository.cache, process)
    process.kill()  # DVC alone
    process.wait()
    (orphan,) = stage_processes(repository.cache, "pipeline.stages.teacher", "large")
    again = repository.start("dvc", "repro", "teacher@large", stdout=subprocess.PIPE, text=True)
    try:
        holder = f"teacher large in {repository.folder}"
        assert any("waiting" in line and holder in line for line in again.stdout)
        orphan.kill()
        assert any("resuming" in line for line in again.stdout)
    finally:
        for group in (process, again):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group.pid, signal.SIGKILL)
        again.wait()

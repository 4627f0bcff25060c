"""The sweep with DVC itself: experiments in temporary folders, interrupted and resumed."""

import signal
import time

import pytest

from tests.repositories import ran

pytestmark = pytest.mark.slow
SWEEP = ("python", "-m", "pipeline", "sweep", "--heads", "linear", "cnn3", "--seeds", "0")


def rows(path):
    """Of a curve; 0 while there is none. Before an experiment trains, its folder has the curves of HEAD."""
    try:
        return len(path.read_text().splitlines())
    except FileNotFoundError:
        return 0


def test_a_sweep_runs_what_is_missing_and_leaves_the_workspace_alone(repository):
    repository.environment["LAUNCH"] = "false"  # starts no stage
    failing = repository.start(*SWEEP)
    assert failing.wait() == 1
    assert repository("dvc", "exp", "list", "--name-only") == ""
    del repository.environment["LAUNCH"]

    out = repository(*SWEEP)
    assert ran(out) == ["train", "evaluate"]
    assert "linear-seed0: finished before" in out and "2 of 2 experiments" in out
    assert repository("dvc", "exp", "list", "--name-only").split() == ["cnn3-seed0"]
    assert repository("git", "status", "--short") == ""
    assert ran(repository(*SWEEP)) == []

    board = repository("python", "-m", "pipeline", "compare")
    assert "| cnn3 " in board and "linear" in board


def test_an_interrupt_reaches_the_stage_which_saves_a_checkpoint(repository):
    repository.change(train={"epochs": 5000})
    before = (repository.folder / "params.yaml").read_bytes()
    finished = rows(repository.folder / "data/curves/train.tsv")
    folders = repository.folder / ".dvc/tmp/exps"
    sweep = repository.start(*SWEEP)
    try:
        while all(rows(path) <= finished for path in folders.glob("*/*/data/curves/train.tsv")):
            assert sweep.poll() is None
            time.sleep(0.1)
        sweep.send_signal(signal.SIGTERM)
        assert sweep.wait() == 130
    finally:
        sweep.kill()
    assert list((repository.cache / "training").glob("*/*.safetensors"))
    assert (repository.folder / "params.yaml").read_bytes() == before
    assert repository("git", "status", "--short").split() == ["M", "params.yaml"]
    assert repository("git", "stash", "list") == ""

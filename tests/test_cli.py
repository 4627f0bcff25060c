import sys
import threading

import pytest

from pipeline import cli, locks, paths
from pipeline.locks import hold


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Runs a stage as its command line does; returns the events, to which the stage adds `works`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage.py"])
    events = []

    def stage():
        cli.run_stage(lambda: events.append("works"), cli.parser("pipeline.stages.stage", "A stage."))
        return events

    return stage


@pytest.fixture
def other(stage, monkeypatch):
    """Another stage that writes in this workspace; it ends once somebody says that he waits for it."""
    holds, ends = threading.Event(), threading.Event()

    def said(line, **_):
        assert line.startswith("waiting for process ") and line.endswith(": one stage at a time writes to data")
        ends.set()

    monkeypatch.setattr(locks, "print", said, raising=False)

    def work():
        with hold(paths.DATA, "it writes"):
            holds.set()
            ends.wait(10)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert holds.wait(10)
    yield ends
    ends.set()
    thread.join()


def test_a_stage_waits_for_another_one_in_its_workspace(stage, other):
    assert stage() == ["works"]
    assert other.is_set()


def test_only_the_main_process_of_a_stage_waits(stage, other, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert stage() == ["works"]
    assert not other.is_set()


def test_a_stage_leaves_no_lock_file(stage, tmp_path):
    assert stage() == ["works"]
    assert list(tmp_path.iterdir()) == []

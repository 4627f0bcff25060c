"""How threads wait for each other in the stages."""

import importlib
import os

from pipeline import stages


def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY")  # it was set when the stages were imported
    importlib.reload(stages)
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    importlib.reload(stages)
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"

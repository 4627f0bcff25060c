"""Queued experiments, run by two workers of DVC."""

import re
import time

import pytest

from tests.repositories import clone

pytestmark = pytest.mark.slow

# A stage that writes its outputs at once. What is tested is how DVC runs this dvc.yaml.
STAGE = """
import sys
from pathlib import Path

import yaml

name = Path(__file__).stem
stage = yaml.safe_load(Path("dvc.yaml").read_text())["stages"][name]
stage = stage.get("do", stage)
for output in [*stage["outs"], *stage.get("metrics", [])]:
    output = output if isinstance(output, str) else next(iter(output))
    path = Path(output.replace("${key}", sys.argv[-1]))
    for file in [path] if path.suffix else [path / "large" / "text", path / "student" / "text"]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
"""


@pytest.fixture
def fresh(reproduced, tmp_path):
    """A clone with an empty DVC cache, other code than that of its dvc.lock, and stages that take no time."""
    fresh = clone(reproduced, tmp_path / "clone", tmp_path / "cache")
    for stage in (fresh.folder / "pipeline/stages").glob("[a-z]*.py"):
        stage.write_text(STAGE)
    fresh.commit()
    yield fresh
    fresh("dvc", "queue", "stop", "--kill")


def statuses(repository):
    """The status of each experiment."""
    return re.findall(r"Queued|Running|Failed|Success", repository("dvc", "queue", "status"))


def test_two_workers_run_all_experiments_of_a_queue_in_a_fresh_clone(fresh):
    fresh("dvc", "exp", "run", "--queue", "-S", "seed=1,2,3,4")
    assert "Started '2' new experiments task queue workers" in fresh("dvc", "queue", "start", "-j", "2")
    end = time.monotonic() + 120
    while {"Queued", "Running"} & set(statuses(fresh)) and time.monotonic() < end:
        time.sleep(1)
    assert statuses(fresh) == ["Success"] * 4
    assert fresh("git", "status", "--porcelain") == ""

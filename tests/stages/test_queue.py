"""Queued experiments, run by a worker of DVC."""

import re

import pytest

from tests.repositories import clone

pytestmark = pytest.mark.slow

# A stage that writes its outputs at once. What is tested is how DVC runs this dvc.yaml.
STAGE = """
from pathlib import Path

import yaml

stages = yaml.safe_load(Path("dvc.yaml").read_text().replace("${key}", "large"))["stages"]
stages = {name: stage.get("do", stage) for name, stage in stages.items()}
stage, deps = stages[Path(__file__).stem], [Path(dep) for stage in stages.values() for dep in stage["deps"]]
for output in [*stage["outs"], *stage.get("metrics", [])]:
    path = Path(output if isinstance(output, str) else next(iter(output)))
    for part in [path, *(dep for dep in deps if path in dep.parents)]:
        file = part if part.suffix else part / "text"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
"""


@pytest.fixture
def fresh(reproduced, tmp_path):
    """A clone with an empty DVC cache, other code than that of its dvc.lock, and stages that take no time."""
    fresh = clone(reproduced, tmp_path / "clone", tmp_path / "cache")
    for stage in (fresh.folder / "pipeline/stages").glob("[a-z]*.py"):
        stage.write_text(STAGE)
    fresh.use_new_interpreters()
    fresh.commit()
    yield fresh
    fresh("dvc", "queue", "stop", "--kill")


def test_a_queue_runs_all_experiments_in_a_fresh_clone(fresh):
    fresh("dvc", "exp", "run", "--queue", "-S", "seed=1,2,3,4")
    # one worker: with two, DVC may lose an experiment where both reach the same stage at once, see docs/sharing.md
    fresh("dvc", "exp", "run", "--run-all", "--jobs", "1")
    statuses = re.findall(r"Queued|Running|Failed|Success", fresh("dvc", "queue", "status"))
    assert statuses == ["Success"] * 4
    assert fresh("git", "status", "--porcelain") == ""

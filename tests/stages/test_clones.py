"""Clones that get the teacher's logits from a DVC remote or from the user's cache, and do not run the teacher."""

import re

import pytest

from tests.repositories import WITHOUT_TEACHER, clone, ran

pytestmark = pytest.mark.slow
NOTHING_TO_COMPUTE = re.compile(r"large: (\d+) unique windows: \1 cached, 0 to compute")


@pytest.fixture
def pushed(repository, tmp_path):
    """A repository whose outputs are in a DVC remote."""
    repository("dvc", "remote", "add", "-d", "team", str(tmp_path / "remote"))
    repository.commit()
    repository("dvc", "push", "-q")
    return repository


def test_a_pulled_clone_changes_the_head_without_the_teacher(pushed, tmp_path):
    pulled = clone(pushed, tmp_path / "a colleague's clone", tmp_path / "empty cache")
    pulled("dvc", "pull", "-q")
    assert ran(pulled("dvc", "exp", "run", "-S", "head=mlp")) == ["train", "evaluate"]
    # the logits stage uses the pulled logits as well
    output = pulled("dvc", "repro", "-s", "-f", "logits")
    assert NOTHING_TO_COMPUTE.search(output)


def test_a_clone_without_the_teacher_trains_students(pushed, tmp_path):
    partial = clone(pushed, tmp_path / "a partial clone", tmp_path / "empty cache")
    partial("dvc", "pull", "-q", *WITHOUT_TEACHER)
    partial.change(head="cnn3")
    assert ran(partial("dvc", "repro", "--allow-missing")) == ["train", "evaluate"]
    assert not (partial.folder / "data/teacher").exists()


def test_experiments_in_a_temporary_folder_use_the_cached_logits(repository):
    output = repository("dvc", "exp", "run", "--temp", "-S", "logits.shard_size=3", "logits")
    assert "logits" in ran(output) and NOTHING_TO_COMPUTE.search(output)


def test_another_clone_on_the_machine_uses_the_cached_logits(repository, tmp_path):
    second = clone(repository, tmp_path / "a second clone", repository.cache)
    assert NOTHING_TO_COMPUTE.search(second("dvc", "repro", "logits"))

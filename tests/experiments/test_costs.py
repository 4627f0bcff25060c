import json
import shutil

import pytest
from dvc.repo import Repo

from pipeline import paths
from pipeline.experiments import costs
from pipeline.experiments.run import read_run
from tests.commands import scored
from tests.words import refused

pytestmark = pytest.mark.usefixtures("repository")

NEW = {"model": "new", "revision": None}


def run_with(*names, scores=None):
    """A run of the workspace whose student has 4,000 bytes and each teacher 12,000, with these F1 of teachers."""
    values = scored.params(teacher={"models": {name: NEW for name in names}})
    scored.write_run(values, scored.records(), scored.scores(scored.records(), 0.5))
    for name in names:
        (paths.TEACHER / name).mkdir(parents=True)
        (paths.TEACHER / name / "model.safetensors").write_bytes(bytes(12_000))
    if scores is not None:
        paths.TEACHER_METRICS.write_text(json.dumps(scores))
    return read_run("workspace")


def test_the_gain_over_one_teacher():
    run = run_with("large", scores={"large": {"f1": 80.0}})
    assert costs.gain_of(run, 60.0) == "3.0x smaller, keeps 75 % of the teacher's F1"


def test_several_teachers_are_compared_with_together():
    run = run_with("a", "b", scores={"a": {"f1": 50.0}, "b": {"f1": 90.0}, "mean": {"f1": 80.0}})
    assert costs.gain_of(run, 60.0) == "6.0x smaller, keeps 75 % of the teachers' F1"


def test_a_teacher_named_mean_is_one():
    assert "75 %" in costs.gain_of(run_with("mean", scores={"mean": {"f1": 80.0}}), 60.0)


@pytest.mark.parametrize("unscored", [None, {"f1": 100.0, "answered": 40.0}])
def test_a_file_of_answers_has_no_size_and_counts_only_if_it_answers_all_questions(unscored):
    run = run_with("file", "large", scores={"file": unscored, "large": {"f1": 80.0}})
    (paths.TEACHER / "file/model.safetensors").unlink()
    assert costs.gain_of(run, 60.0) == "3.0x smaller, keeps 75 % of the teacher's F1"
    paths.TEACHER_METRICS.write_text(json.dumps({"file": {"f1": 80.0, "answered": 100.0}, "large": None}))
    assert costs.gain_of(run, 60.0) == "keeps 75 % of the teacher's F1"


@pytest.mark.parametrize("scores", [None, {"large": None}, {}])
def test_without_scores_of_teachers_nothing_is_said(scores):
    assert costs.gain_of(run_with("large", scores=scores), 60.0) == ""


def test_the_size_of_a_commits_teacher_is_that_of_its_file():
    run_with("large", scores={"large": {"f1": 80.0}})
    scored.git("add", "-A")
    scored.git("commit", "-qm", "weights")
    (paths.TEACHER / "large/model.safetensors").write_bytes(bytes(4000))
    assert costs.gain_of(read_run("HEAD"), 60.0).startswith("3.0x smaller")
    assert costs.gain_of(read_run("workspace"), 60.0).startswith("as large")
    assert costs.figures(read_run("cnn3-seed0"), "large") == costs.Figures(None, None)


def test_the_size_of_a_file_in_a_folder_of_dvc_is_known():
    """DVC stores the size of the folder alone."""
    folder = paths.TEACHER / "large"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(12_345))
    (folder / "config.json").write_text("{}")
    with Repo() as repo:
        repo.add(str(folder))
    scored.git("add", "-A")
    scored.git("commit", "-qm", "tracked")
    shutil.rmtree(folder)
    assert read_run("HEAD").size(folder / "model.safetensors") == 12_345
    with refused("data/teacher/large/config.yaml"):
        read_run("HEAD").size(folder / "config.yaml")

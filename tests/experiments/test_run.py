import json

import pytest

from pipeline import paths
from pipeline.errors import InputError
from pipeline.experiments.run import (
    Run,
    experiments,
    fetch,
    read_params,
    read_questions,
    read_run,
    refuse_other_questions,
    scored_runs,
)
from pipeline.scores.question_scores import write_question_scores
from tests.commands import scored
from tests.words import mentions, refused

pytestmark = pytest.mark.usefixtures("repository")


def test_reads_a_revision_an_experiment_and_the_workspace():
    scored.write_run(scored.params("mlp"), scored.records(), scored.scores(scored.records(), 0.9))
    assert [read_run(name).params["head"] for name in ("HEAD", "main", "cnn3-seed1", "workspace")] == [
        "linear", "linear", "cnn3", "mlp",
    ]  # fmt: skip
    run = read_run("cnn3-seed1")
    assert run.params["seed"] == 1
    assert run.metrics["parameters"] == 1000
    assert run.scores.equals(scored.scores(scored.records(), 0.95, 1))
    assert read_params("HEAD")["head"] == "linear"


def test_the_newest_of_two_experiments_has_their_common_name(monkeypatch):
    before = experiments()
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2090-01-01T00:00:00")
    newer = scored.git(
        "commit-tree",
        scored.git("rev-parse", f"{before['linear-seed1']}^{{tree}}").strip(),
        "-p",
        "HEAD",
        "-m",
        "newer",
    ).strip()
    scored.git("commit", "-qm", "another base", "--allow-empty")
    other = scored.git("rev-parse", "HEAD").strip()
    for name, experiment in (("cnn3-seed0", newer), ("cnn3-seed1", before["cnn3-seed1"])):
        scored.git("update-ref", f"refs/exps/{other[:2]}/{other[2:]}/{name}", experiment)
    older = before["cnn3-seed0"]
    assert experiments() == {**before, "cnn3-seed0": newer, older[:7]: older}
    assert read_run("cnn3-seed0").params["head"] == "linear"
    assert read_run(older[:7]).params["head"] == "cnn3"


def test_scored_runs_says_what_it_leaves_out(capsys):
    names = [run.name for run in scored_runs([])]
    assert names[:2] == ["HEAD", "workspace"]
    assert sorted(names[2:]) == ["cnn3-seed0", "cnn3-seed1", "linear-seed1", "other-questions"]
    (line,) = capsys.readouterr().err.splitlines()
    mentions(line, "warning", "left out", "unscored", "no scores", "`dvc repro`")


def test_settings_are_equal_where_the_seed_alone_differs():
    def setting(**values):
        return Run("a", scored.params(**values), {}, scored.scores(scored.records(), 1)).setting

    assert setting(seed=1) == setting(seed=2)
    assert setting(train={"optimizer": "adamw"}) == setting()  # the default
    assert setting(head="cnn3") != setting()
    assert setting(train={"epochs": 9}) != setting()


def test_reads_the_questions_that_were_scored():
    assert read_questions(read_run("cnn3-seed0")) == scored.records()
    run = read_run("workspace")
    scored.write_run(scored.params(), scored.records(3), scored.scores(scored.records(3), 1))
    with refused("validation.parquet", "workspace", "other questions", "`dvc repro`"):
        read_questions(run)


def test_errors_name_what_is_wrong_and_what_would_be_right(monkeypatch, tmp_path):
    with refused("experiment 'nobody'", "`dvc exp list --all-commits`"):
        read_run("nobody")
    with refused("revision 'nobody'"):
        read_params("nobody")
    with refused("unscored", "no scores", "`dvc repro`"):
        read_run("unscored")
    with refused("cnn3-seed0", "data/student", "`dvc repro`"):
        read_run("cnn3-seed0").read(paths.STUDENT)
    paths.EVAL_METRICS.write_text("{")
    with refused("workspace", "damaged", "scores"):
        read_run("workspace")
    monkeypatch.chdir(tmp_path)
    with refused("DVC repository"):
        experiments()


def test_refuses_other_questions_by_name():
    runs = [read_run(name) for name in ("HEAD", "cnn3-seed0", "other-questions")]
    refuse_other_questions(runs[:2])
    with refused("other-questions", "other questions", "HEAD", "15", "24"):
        refuse_other_questions(runs)


def test_metrics_are_read_as_they_are():
    assert read_run("HEAD").metrics == json.loads(paths.EVAL_METRICS.read_text())


def test_scores_of_other_params_are_refused():
    """Params that were edited and not run, also in an experiment that was killed."""
    paths.LOCK.write_text(json.dumps(scored.LOCK))
    assert read_run("workspace").params["head"] == "linear"
    scored.write_run(scored.params("cnn3"), scored.records(), scored.scores(scored.records(), 0.5))
    with refused("workspace", "params.yaml", "head", "cnn3", "train", "linear"):
        read_run("workspace")
    scored.git("add", "-A")
    scored.git("commit", "-qm", "an unfinished run")
    with refused("HEAD", "params.yaml", "cnn3", "linear"):
        read_run("HEAD")


def test_scores_and_answers_of_two_runs_are_refused():
    """After `git checkout` without `dvc checkout`, data is that of another commit."""
    scored.write_run(scored.params(), scored.records(), scored.scores(scored.records(), 0.3))
    other = scored.scores(scored.records(), 0.9)
    write_question_scores(other, paths.question_scores(paths.PREDICTIONS))
    with refused("data/predictions", "workspace", "exact_match", "metrics/eval.json"):
        read_run("workspace")


def test_params_without_a_parameter_are_refused():
    paths.PARAMS.write_text("")
    with pytest.raises(InputError, match=r"params\.yaml of workspace"):
        read_run("workspace")


def test_gits_names_come_before_those_of_experiments():
    commit = experiments()["cnn3-seed0"]
    scored.git("branch", "cnn3-seed0", "HEAD")
    base = scored.git("rev-parse", "HEAD").strip()
    scored.git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/HEAD", experiments()["cnn3-seed1"])
    assert commit[:7] in experiments() and "HEAD" not in experiments()
    assert read_run("cnn3-seed0").params["head"] == read_run("HEAD").params["head"] == "linear"
    assert read_run(commit[:7]).params["head"] == "cnn3"


@pytest.mark.parametrize(
    ("change", "named"), [({"f1": None}, "f1"), ({"f1": float("nan")}, "f1"), ({"bytes": "4000"}, "bytes")]
)
def test_damaged_metrics_are_one_line(change, named):
    metrics = json.loads(paths.EVAL_METRICS.read_text()) | change
    paths.EVAL_METRICS.write_text(json.dumps({key: value for key, value in metrics.items() if value is not None}))
    with refused("eval.json", "workspace", "number", named):
        read_run("workspace")


def test_a_project_in_a_subfolder_of_a_git_repository_has_its_runs(tmp_path, monkeypatch):
    project = tmp_path / "mono/projects/qa"
    project.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mono")
    scored.git("init", "-q", "-b", "main")
    monkeypatch.chdir(project)
    scored.create(subfolder=True)
    assert read_run("cnn3-seed1").params["head"] == "cnn3"
    assert {run.name for run in scored_runs([])} >= {"HEAD", "workspace", "cnn3-seed0", "linear-seed1"}
    run = read_run("HEAD")
    assert read_questions(run) == scored.records() and read_params("HEAD")["head"] == "linear"
    assert fetch(run, paths.DATASET, tmp_path) == tmp_path / "dataset"
    assert (tmp_path / "dataset/validation.parquet").exists()

"""First commands of a user: repro, another head, a queue of heads, plots. The tests share a repository, in order."""

import json
import re
import shlex

import pytest

from tests.repositories import ROOT, copy, ran

pytestmark = pytest.mark.slow
DATA_STAGES = ["sources", "dataset", "tokenize", "teacher@large", "logits", "backbone", "shrink"]


@pytest.fixture(scope="module")
def repository(reproduced, tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    return copy(reproduced, folder / "a clone", folder / "cache")


def test_repro_then_another_head_then_the_difference(reproduced, repository):
    first_output = (reproduced.folder.parent / "repro.txt").read_text()
    assert sorted(ran(first_output)) == sorted([*DATA_STAGES, "train", "evaluate"])
    assert ran(repository("dvc", "repro")) == []

    assert ran(repository("dvc", "exp", "run", "-S", "head=cnn3")) == ["train", "evaluate"]
    changes = json.loads(repository("dvc", "metrics", "diff", "--all", "--json"))
    parameters = changes["metrics/eval.json"]["parameters"]
    assert parameters["new"] - parameters["old"] == (3 * 16 * 64 + 64 + 64 * 2 + 2) - (16 * 2 + 2)
    first = list(json.loads((repository.folder / "metrics/eval.json").read_text()))[:4]
    assert first == ["exact_match", "exact_match_error", "f1", "f1_error"]
    assert len(changes["metrics/eval.json"]) <= 12
    teacher = {name: score["diff"] for name, score in changes["metrics/teacher.json"].items()}
    names = ("exact_match", "exact_match_error", "f1", "f1_error", "span_accuracy", "questions")
    assert teacher == dict.fromkeys((f"large.{name}" for name in names), 0)
    changed = repository("git", "status", "--short").splitlines()
    assert changed == [" M dvc.lock", " M metrics/eval.json", " M params.yaml"]


def test_a_queue_runs_heads_in_temporary_folders(repository):
    repository("git", "stash", "-q")
    repository("dvc", "exp", "run", "--queue", "-S", "head=mlp,lstm64")
    repository("dvc", "exp", "run", "--run-all")
    (rows,) = json.loads(repository("dvc", "exp", "show", "--json", "--no-pager"))[1:]
    experiments = [revision for experiment in rows["experiments"] for revision in experiment["revs"]]
    heads = {row["data"]["params"]["params.yaml"]["data"]["head"]: row["data"]["metrics"] for row in experiments}
    assert {"mlp", "lstm64"} <= heads.keys()
    for head in ("mlp", "lstm64"):
        assert 0 <= heads[head]["metrics/eval.json"]["data"]["f1"] <= 100


def test_the_documented_table_of_experiments_fits_100_columns(repository):
    (command,) = re.findall(r"^    (dvc exp show .*)$", (ROOT / "docs/comparing.md").read_text(encoding="utf-8"), re.M)
    table = repository(*shlex.split(command))
    assert max(map(len, table.splitlines())) <= 100
    for word in ("exact_match", "f1", "head", "lstm64", "mlp"):
        assert word in table


def test_plots_compare_the_experiments(repository):
    names = repository("dvc", "exp", "list", "--name-only").split()
    assert len(names) == 3
    repository("dvc", "plots", "diff", "HEAD", *names, "--out", "plots")
    page = (repository.folder / "plots/index.html").read_text(encoding="utf-8")
    for word in ("distilled loss", "validation F1", "f1", *names):
        assert word in page

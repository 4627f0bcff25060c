"""What users type: dvc repro, another head, the difference. In a repository of its own, whose path has a space."""

import contextlib
import hashlib
import json
import os
import re
import signal
import time

import psutil
import pytest

from tests.repositories import WITHOUT_TEACHER, Clone, Repository, ran

NOTHING_TO_COMPUTE = re.compile(r"large: (\d+) different windows: \1 from the cache, 0 to compute")
DATA_STAGES = ["dataset", "tokenize", "teacher@large", "logits", "backbone"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    return Repository(folder / "a clone", folder / "cache")


def test_repro_then_another_head_then_the_difference(repository):
    assert sorted(ran(repository("dvc", "repro"))) == sorted([*DATA_STAGES, "train", "evaluate"])
    assert ran(repository("dvc", "repro")) == []
    repository.commit()

    assert ran(repository("dvc", "exp", "run", "-S", "head=cnn3")) == ["train", "evaluate"]
    changes = json.loads(repository("dvc", "metrics", "diff", "--all", "--json"))
    parameters = changes["metrics/eval.json"]["parameters"]
    assert parameters["new"] - parameters["old"] == (3 * 16 * 64 + 64 + 64 * 2 + 2) - (16 * 2 + 2)
    assert {"f1", "exact_match", "span_accuracy", "loss"} <= changes["metrics/eval.json"].keys()
    teacher = {name: score["diff"] for name, score in changes["metrics/teacher.json"].items()}
    assert teacher == dict.fromkeys(["large.exact_match", "large.f1", "large.span_accuracy", "large.questions"], 0)
    assert repository("git", "status", "--short").split() == ["M", "dvc.lock", "M", "metrics/eval.json"] + [
        "M", "metrics/train.json", "M", "params.yaml",
    ]  # fmt: skip


def test_a_queue_of_heads_runs_in_dvcs_own_folders(repository):
    repository("git", "stash", "-q")
    repository("dvc", "exp", "run", "--queue", "-S", "head=mlp,lstm64")
    repository("dvc", "exp", "run", "--run-all")
    (rows,) = json.loads(repository("dvc", "exp", "show", "--json", "--no-pager"))[1:]
    experiments = [revision for experiment in rows["experiments"] for revision in experiment["revs"]]
    heads = {row["data"]["params"]["params.yaml"]["data"]["head"]: row["data"]["metrics"] for row in experiments}
    assert {"mlp", "lstm64"} <= heads.keys()
    for head in ("mlp", "lstm64"):
        assert 0 <= heads[head]["metrics/eval.json"]["data"]["f1"] <= 100


def test_plots_compare_the_experiments(repository):
    names = repository("dvc", "exp", "list", "--name-only").split()
    assert len(names) == 3
    repository("dvc", "plots", "diff", "HEAD", *names, "--out", "plots")
    page = (repository.folder / "plots/index.html").read_text(encoding="utf-8")
    for word in ("distilled loss", "validation F1 by minute", "f1", *names):
        assert word in page


def test_a_pulled_clone_changes_the_head_without_the_teacher(repository, tmp_path):
    repository("git", "checkout", "-q", "-f", "HEAD")
    repository("dvc", "checkout", "-q")
    repository("dvc", "remote", "add", "-d", "team", str(tmp_path / "remote"))
    repository.commit()
    repository("dvc", "push", "-q")
    clone = Clone(repository, tmp_path / "a colleague's clone", tmp_path / "no cache yet")
    clone("dvc", "pull", "-q")
    assert ran(clone("dvc", "exp", "run", "-S", "head=mlp")) == ["train", "evaluate"]
    # nor does it ask the teacher for what was pulled
    laid_out_anew = clone("dvc", "repro", "-s", "-f", "logits")
    assert NOTHING_TO_COMPUTE.search(laid_out_anew)


def test_a_clone_without_the_teacher_trains_students(repository, tmp_path):
    repository("dvc", "remote", "add", "-f", "-d", "team", str(tmp_path / "remote"))
    repository.commit()
    repository("dvc", "push", "-q")
    clone = Clone(repository, tmp_path / "a clone without room", tmp_path / "no cache yet")
    clone("dvc", "pull", "-q", *WITHOUT_TEACHER)
    clone.change(head="cnn3")
    assert ran(clone("dvc", "repro", "--allow-missing")) == ["train", "evaluate"]
    assert not (clone.folder / "data/teacher").exists()


def test_other_folders_of_the_machine_do_not_ask_the_teacher_again(repository, tmp_path):
    repository("git", "checkout", "-q", "-f", "HEAD")
    repository("dvc", "checkout", "-q")
    elsewhere = repository("dvc", "exp", "run", "--temp", "-S", "logits.shard_size=3")
    assert "logits" in ran(elsewhere) and NOTHING_TO_COMPUTE.search(elsewhere)
    clone = Clone(repository, tmp_path / "a second clone", repository.folder.parent / "cache")
    assert NOTHING_TO_COMPUTE.search(clone("dvc", "repro", "logits"))


def test_one_more_teacher_does_not_run_the_first(repository):
    repository("git", "checkout", "-q", "-f", "HEAD")
    repository("dvc", "checkout", "-q")
    new = {"model": "new", "revision": None}
    repository.change(teacher={"models": {"large": new, "other": {**new, "seed": 7}}})
    out = repository("dvc", "repro")
    assert set(ran(out)) == {"tokenize", "teacher@other", "logits", "backbone", "train", "evaluate"}
    assert NOTHING_TO_COMPUTE.search(out)
    assert re.search(r"other: (\d+) different windows: 0 from the cache, \1 to compute", out)
    repository("git", "checkout", "-q", "-f", "HEAD")
    repository("dvc", "checkout", "-q")


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_stages_do_not_write_through_a_linked_cache(repository, kind):
    repository("dvc", "config", "--local", "cache.type", kind)
    repository("dvc", "checkout", "-q", "--force", "--relink")
    (shard, *_) = (repository.folder / "data/logits/large").glob("*.safetensors")
    assert shard.is_symlink() or shard.stat().st_nlink > 1
    repository.change(logits={"dtype": "float32", "shard_size": 3})
    repository("python", "-m", "pipeline.stages.logits")
    repository("git", "checkout", "-q", "params.yaml", "metrics")
    objects = [path for path in (repository.folder / ".dvc/cache/files").rglob("*") if path.is_file()]
    assert len(objects) > 20
    for path in objects:
        name = path.parent.name + path.name.removesuffix(".dir")
        assert hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == name, path


def test_dvc_sees_what_is_added_to_raw(tmp_path):
    repository = Repository(tmp_path / "another clone", tmp_path / "cache")
    (repository.folder / "data/raw/train.json").write_text("{}")
    repository("dvc", "add", "data/raw/train.json")
    assert repository("dvc", "ls", ".", "data/raw", "--dvc-only").split() == ["train.json"]


def wait_for_a_checkpoint(cache, process):
    while not list(cache.glob("training/*/checkpoint.safetensors")):
        assert process.poll() is None, "it ended before it wrote a checkpoint"
        time.sleep(0.01)


def training_processes(cache):
    """Those of this test, whatever else runs on the machine."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, IndexError):
            ours = process.environ().get("SPAN_DISTILL_CACHE") == str(cache)
            if ours and process.cmdline()[-1] == "pipeline.stages.train":
                yield process


def test_a_killed_run_goes_on_also_in_a_queue(tmp_path):
    cache = tmp_path / "cache"
    repository = Repository(tmp_path / "killed", cache)
    repository("dvc", "repro", "backbone")
    repository.change(train={"epochs": 80, "checkpoint_minutes": 0.1 / 60})
    repository.commit()
    process = repository.start("dvc", "repro", "train")
    wait_for_a_checkpoint(cache, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert re.search(r"going on from a checkpoint of step \d+ of", repository("dvc", "repro", "train"))
    repository.commit()

    for _ in range(2):
        repository("dvc", "exp", "run", "--queue", "-S", "seed=1")
    process = repository.start("dvc", "exp", "run", "--run-all")
    wait_for_a_checkpoint(cache, process)
    (training,) = training_processes(cache)
    training.kill()  # and the second experiment, of the same parameters, takes its place
    assert process.wait(timeout=600) == 0
    first, second = re.findall(r"(\w{7}) .*(?:Failed|Success)", repository("dvc", "queue", "status"))
    logs = [repository("dvc", "queue", "logs", name) for name in (first, second)]
    assert sum("going on from a checkpoint of step" in log for log in logs) == 1
    assert not list(cache.glob("training/*"))

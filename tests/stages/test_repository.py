"""Changes in one repository: another teacher, linked outputs, files added to data/raw."""

import hashlib
import re

import pytest

from tests.repositories import create, ran

pytestmark = pytest.mark.slow


def test_another_teacher_does_not_run_the_first(repository):
    new = {"model": "new", "revision": None}
    repository.change(teacher={"models": {"large": new, "other": {**new, "seed": 7}}})
    out = repository("dvc", "repro")
    after = {"logits", "backbone", "shrink", "train", "evaluate"}
    assert set(ran(out)) == {"sources", "tokenize", "teacher@other", *after}
    assert re.search(r"large: (\d+) unique windows: \1 cached, 0 to compute", out)
    assert re.search(r"other: (\d+) unique windows: 0 cached, \1 to compute", out)


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_stages_do_not_write_through_links_to_the_dvc_cache(repository, kind):
    repository("dvc", "config", "--local", "cache.type", kind)
    repository("dvc", "checkout", "-q", "--force", "--relink")
    (shard, *_) = (repository.folder / "data/logits/large").glob("*.safetensors")
    assert shard.is_symlink() or shard.stat().st_nlink > 1
    repository.change(logits={"dtype": "float32", "shard_size": 3})
    repository("python", "-m", "pipeline.stages.logits")
    objects = [path for path in (repository.folder / ".dvc/cache/files").rglob("*") if path.is_file()]
    assert len(objects) > 20
    for path in objects:
        name = path.parent.name + path.name.removesuffix(".dir")
        assert hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == name, path


def test_dvc_tracks_files_added_to_raw(tmp_path):
    repository = create(tmp_path / "another clone", tmp_path / "cache")
    (repository.folder / "data/raw/train.json").write_text("{}")
    repository("dvc", "add", "data/raw/train.json")
    assert repository("dvc", "ls", ".", "data/raw", "--dvc-only").split() == ["train.json"]


def test_a_file_added_to_raw_runs_no_stage_that_does_not_read_it(repository):
    (repository.folder / "data/raw/notes.txt").write_text("dear")
    assert ran(repository("dvc", "repro")) == ["sources"]
    # git does not track the file, so the copy of the repository lacks it
    assert ran(repository("dvc", "exp", "run", "--temp", "-S", "head=cnn3")) == ["sources", "train", "evaluate"]


def test_git_status_shows_only_what_is_to_be_committed(repository):
    def changed():
        return {line[3:] for line in repository("git", "status", "--porcelain").splitlines()}

    assert changed() == set()
    for command in (
        ["dvc", "plots", "diff"],
        ["dvc", "exp", "show"],
        ["python", "-m", "pipeline", "show"],
        ["python", "-m", "pipeline", "cache", "list"],
    ):
        repository(*command)
        assert changed() == set(), command
    assert (repository.folder / "dvc_plots").exists()
    assert ran(repository("dvc", "exp", "run", "-S", "evaluate.n_best=3")) == ["evaluate"]
    assert {"params.yaml", "dvc.lock"} <= changed() <= {"params.yaml", "dvc.lock", "metrics/eval.json"}

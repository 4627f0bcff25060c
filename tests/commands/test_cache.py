import os
import re
import time

import numpy as np
import pytest

from pipeline import paths
from pipeline.commands import cache
from pipeline.locks import hold
from pipeline.logits.cache import RowCache
from pipeline.logits.shards import Identity, Rows
from pipeline.training.checkpoints import Checkpoint
from tests.commands.command_line import options
from tests.words import refused


def rows(n):
    rng = np.random.default_rng(n)
    return Rows(
        keys=rng.integers(0, 256, (n, 16), dtype=np.uint8),
        starts=np.arange(n + 1, dtype=np.int64) * 3,
        start_logits=rng.normal(size=3 * n).astype(np.float16),
        end_logits=rng.normal(size=3 * n).astype(np.float16),
        precision=("float32",),
    )


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two teachers, the first unused for ten days, a checkpoint, targets and a measured encoder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(tmp_path / "cache"))
    teachers = []
    for name, n in (("a", 4), ("b", 7)):
        rows_cache = RowCache(paths.logits_cache(), Identity(name, "tokenizer", "float16"))
        rows_cache.add(rows(n))
        teachers.append(rows_cache.folder)
    ten_days_ago = time.time() - 10 * 86400
    os.utime(teachers[0], (ten_days_ago, ten_days_ago))
    checkpoint = Checkpoint(paths.training_cache(), "a run")
    checkpoint.write({}, {})
    others = [paths.targets_cache() / "c", paths.importance_cache() / "d"]
    for folder in others:
        folder.mkdir(parents=True)
    return [*teachers, checkpoint.folder, *others]


@pytest.fixture
def command(capsys):
    def command(*arguments):
        cache.main(**options("cache", *arguments))
        return capsys.readouterr().out

    return command


def test_list_prints_teachers_and_checkpoints(folders, command):
    out = command("list")
    assert "2 teachers" in out and "1 targets" in out and "1 checkpoints" in out and "1 measured encoders" in out
    assert f"{folders[0].name}  float16, 4 windows, 1 shards, 0.0 MB, last used 10.0 days ago" in out
    assert f"{folders[1].name}  float16, 7 windows" in out and "a run  0.0 MB, last used 0.0 days ago" in out


def test_verify_exits_with_0_only_without_problems(folders, command, capsys):
    with pytest.raises(SystemExit) as exited:
        command("verify")
    assert exited.value.code == 0
    (shard,) = folders[1].glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(SystemExit) as exited:
        command("verify")
    assert exited.value.code == 1
    assert str(shard) in capsys.readouterr().out


def test_lists_a_damaged_teacher_and_reports_a_foreign_folder(folders, command, capsys):
    (shard,) = folders[0].glob("*.safetensors")
    shard.write_bytes(b"")
    (paths.logits_cache() / "foreign").mkdir()
    out = command("list")
    assert "3 teachers" in out and f"{folders[0].name}  damaged, see `verify`" in out
    with pytest.raises(SystemExit) as exited:
        command("verify")
    assert exited.value.code == 1
    out = capsys.readouterr().out
    assert "2 problems" in out and "foreign has no manifest.json" in out


@pytest.mark.parametrize("used", [0, 2, 3, 4], ids=["teacher", "checkpoint", "targets", "encoder"])
def test_prune_skips_what_a_run_is_using(folders, command, used):
    with hold(folders[used], "it is used"):
        assert re.search(rf"skipped {folders[used]}: process {os.getpid()} .* is using it", command("prune", "--all"))
    assert [i for i, folder in enumerate(folders) if folder.exists()] == [used]


@pytest.mark.parametrize("days", ["-1", "nan", "soon"])
def test_prune_rejects_an_invalid_number_of_days(folders, command, days):
    with pytest.raises(SystemExit) as exited:
        command("prune", "--unused-days", days)
    assert exited.value.code == 2
    assert all(folder.exists() for folder in folders)


@pytest.mark.parametrize(
    ("arguments", "remaining"),
    [(["--unused-days", "5"], [1, 2, 3, 4]), (["--unused-days", "20"], [0, 1, 2, 3, 4]), (["--all"], [])],
)
def test_prune_deletes_what_is_unused(folders, command, arguments, remaining):
    command("prune", *arguments)
    assert [i for i, folder in enumerate(folders) if folder.exists()] == remaining


def test_prune_one_teacher_by_the_beginning_of_its_name(folders, command):
    command("prune", "--teacher", folders[0].name[:8])
    assert [folder.exists() for folder in folders] == [False, True, True, True, True]
    with refused("0", "teachers", "'none'"):
        command("prune", "--teacher", "none")

"""Training runs that are killed, interrupted or distributed over processes."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import locks, paths
from pipeline.errors import InputError
from pipeline.logits.shards import count_rows
from pipeline.logits.verify import problems
from pipeline.models import encoders
from pipeline.models.student import Student
from pipeline.params import load
from pipeline.questions.records import read_records
from pipeline.stages import backbone, logits, teacher, train
from tests.tiny import TINY, content, run_all, write_params

ROOT = Path(__file__).parents[2]
# a checkpoint every tenth of a second, and enough steps to be killed between two of them
LONG = {"epochs": 60, "checkpoint_minutes": 0.1 / 60}


def checkpoints():
    return sorted(paths.cache().glob("training/*/checkpoint.safetensors"))


def wait_for_progress(process, before):
    """Wait until the run has written a checkpoint newer than `before`; returns the modification times."""
    now = []
    while process.is_alive():
        with contextlib.suppress(FileNotFoundError):
            now = [path.stat().st_mtime_ns for path in checkpoints()]
        if now and now != before:
            return now
        time.sleep(0.002)
    raise AssertionError(f"the run ended early, with exit code {process.exitcode}")


def kill_after_a_checkpoint(start, stage):
    process = start(stage)
    wait_for_progress(process, [])
    process.kill()
    process.join()


@pytest.mark.parametrize(
    ("stage", "made"), [(train, [paths.STUDENT]), (teacher, [paths.TEACHER])], ids=["train", "teacher"]
)
def test_killed_runs_end_with_the_same_bytes_as_an_uninterrupted_one(with_logits, start, capsys, stage, made):
    long = {**LONG, "epochs": 100}  # the run is still in progress after the last kill
    write_params(train=long, teacher={"train": {**long, "batch_size": 8, "learning_rate": 1e-3, "keep": "last"}})
    run_all(stage)
    expected = content(*made)
    assert checkpoints() == []
    rng, before = random.Random(0), []
    for _ in range(4):
        process = start(stage)
        before = wait_for_progress(process, before)
        process.join(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    capsys.readouterr()
    run_all(stage)
    assert "resuming from a checkpoint of step " in capsys.readouterr().out
    assert content(*made) == expected
    assert checkpoints() == []


def test_curves_and_counts_are_resumed(with_logits, start):
    write_params(train=LONG)
    train.main()

    def outcome():
        rows = (paths.CURVES / "train.tsv").read_text().splitlines()
        summary = json.loads((paths.CURVES / "summary.json").read_text())
        return [row.split("\t")[:1] + row.split("\t")[2:] for row in rows], summary["steps"], summary["windows"]

    expected = outcome()
    kill_after_a_checkpoint(start, train)
    train.main()
    assert outcome() == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_a_checkpoint(with_logits, start, number):
    write_params(train={**LONG, "epochs": 3000})
    process = start(train)
    wait_for_progress(process, [])
    os.kill(process.pid, number)
    process.join(120)
    assert process.exitcode == 130
    assert "interrupted: saved a checkpoint of step " in Path("stderr.txt").read_text()
    assert len(checkpoints()) == 1


def test_the_checkpoint_of_another_run_is_not_used(with_logits, start, capsys):
    write_params(train=LONG)
    kill_after_a_checkpoint(start, train)
    (mine,) = checkpoints()
    for change in ({"train": {**LONG, "learning_rate": 2e-3}}, {"train": LONG, "prune": {"amount": 0.2}}):
        write_params(**change)
        train.main()
        assert "resuming" not in capsys.readouterr().out
        assert checkpoints() == [mine]
    write_params(train=LONG)
    train.main()
    assert "resuming" in capsys.readouterr().out
    assert checkpoints() == []


def test_a_second_run_of_the_same_training_waits_for_the_first_and_resumes(with_logits, start, monkeypatch):
    write_params(train={**LONG, "epochs": 3000})
    first = start(train)
    wait_for_progress(first, [])

    def said(line, **_):
        assert f"waiting for process {first.pid} (" in line and line.endswith(": it trains the same model")
        first.kill()

    class Resumed(Exception):
        pass

    def train_after(*_, checkpoint, **__):
        assert not first.is_alive()
        assert checkpoint.read()[1]["steps"] > 0
        raise Resumed

    monkeypatch.setattr(locks.log, "info", lambda line, *values: said(line % values))
    monkeypatch.setattr(train, "Trainer", train_after)
    with pytest.raises(Resumed):
        train.main()


def test_a_damaged_checkpoint_is_ignored(with_logits, start, capsys):
    write_params(train=LONG)
    kill_after_a_checkpoint(start, train)
    (path,) = checkpoints()
    path.write_bytes(path.read_bytes()[:-100])
    train.main()
    printed = capsys.readouterr()
    assert f"{path} cannot be read" in printed.err and "resuming" not in printed.out


def test_different_references_make_a_different_run(with_logits):
    params, records = load(paths.PARAMS), {"validation": read_records(paths.DATASET / "validation.parquet")}
    student = Student.from_encoder(encoders.load_qa_model(paths.BACKBONE, trained_output=False).base_model, "linear", 0)
    data = train.Data(None, {}, records, None)
    before = train.key(params, student, data)
    records["validation"][3]["answers"]["text"].append("another")
    assert train.key(params, student, data) != before


def test_the_checkpoint_of_a_finished_run_remains_until_the_model_is_saved(with_logits, monkeypatch, capsys):
    write_params()
    train.main()
    expected = content(paths.STUDENT)

    def full(*_, **__):
        raise OSError("no space left")

    with monkeypatch.context() as context, pytest.raises(OSError, match="no space"):
        context.setattr(Student, "save_pretrained", full)
        train.main()
    capsys.readouterr()
    train.main()
    steps = json.loads((paths.CURVES / "summary.json").read_text())["steps"]
    assert f"resuming from a checkpoint of step {steps} of {steps}" in capsys.readouterr().out
    assert content(paths.STUDENT) == expected
    assert checkpoints() == []


@pytest.fixture
def launch():
    """Starts a stage in two processes on the CPU, like LAUNCH="torchrun --nproc_per_node 2"."""
    command = [Path(sys.executable).parent / "torchrun", "--standalone", "--nproc_per_node", "2", "-m"]
    started = []

    def launch(module):
        process = subprocess.Popen(
            [*command, module],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        for pid in (*(children(process.pid) if process.poll() is None else ()), process.pid):
            with contextlib.suppress(ProcessLookupError):  # torchrun's workers have process groups of their own
                os.killpg(pid, signal.SIGKILL)


def children(pid):
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def curve():
    header, *rows = [row.split("\t") for row in (paths.CURVES / "train.tsv").read_text().splitlines()]
    return [{name: float(value) for name, value in zip(header, row, strict=True)} for row in rows]


def test_two_processes_take_the_same_steps_as_one(with_logits, launch):
    without_dropout = {**TINY["teacher"]["config"], "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    write_params(teacher={"config": without_dropout}, distill={"alpha": 0.5}, train={"epochs": 10, "batch_size": 7})
    run_all(teacher, logits, backbone, train)
    alone, scores = curve(), (paths.CURVES / "validation.tsv").read_text()
    process = launch("pipeline.stages.train")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert output.count("resuming") == 0
    together = curve()
    assert len(alone) == len(together) > 3
    for one, two in zip(alone, together, strict=True):
        for name in ("step", "learning_rate", "loss", "hard", "soft", "gradient_norm"):
            assert two[name] == pytest.approx(one[name], rel=1e-4), name
    assert len((paths.CURVES / "validation.tsv").read_text().splitlines()) == len(scores.splitlines())


# an encoder with a layer that no batch uses, as XLNet and SqueezeBERT have
UNUSED = """
from torch import nn
from pipeline.cli import report_errors
from pipeline.models.student import Student
from pipeline.stages import train

from_encoder = Student.from_encoder

def with_unused_layer(*arguments):
    student = from_encoder(*arguments)
    student.encoder.unused = nn.Linear(4, 4)
    return student

Student.from_encoder = with_unused_layer
report_errors(train.main)
"""


def test_two_processes_train_an_encoder_with_unused_weights(with_logits, launch):
    write_params(head="cnn3", train={"epochs": 1})
    run_all(backbone)
    Path("unused.py").write_text(UNUSED)
    process = launch("unused")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert len(curve()) >= 1


# the second process opens the cache late, when the first may already have added shards to it
LATE = """
import time
from pipeline.cli import report_errors
from pipeline.logits.cache import RowCache
from pipeline.processes import processes
from pipeline.stages import logits

on_time = RowCache.__init__

def late(self, *arguments):
    time.sleep(0 if processes().is_main_process else 2)
    on_time(self, *arguments)

RowCache.__init__ = late
report_errors(logits.main)
"""


# makes a shard slow enough to kill the process in the middle of it
SLOW = """
import time
from pipeline.models import inference
from pipeline.cli import report_errors
from pipeline.stages import logits

at_once = inference.predict

def slow(*arguments):
    time.sleep(0.3)
    return at_once(*arguments)

inference.predict = slow
report_errors(logits.main)
"""


@pytest.fixture
def without_logits(with_logits, monkeypatch):
    """A workspace without logits and with an empty cache; returns the expected logits files."""
    expected = content(paths.LOGITS)
    shutil.rmtree(paths.LOGITS)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(with_logits / "fresh cache"))
    return expected


def test_two_processes_compute_the_same_bytes_of_logits_as_one(without_logits, launch):
    Path("late.py").write_text(LATE)
    process = launch("late")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert " 0 cached" in output
    assert content(paths.LOGITS) == without_logits
    counts = [count_rows(path) for path in paths.cache().rglob("*.safetensors")]
    assert len(counts) > 10 and max(counts) == 5


# a CPU of which the processes have to agree whether it multiplies bfloat16 faster
MEASURED = """
from pipeline.cli import report_errors
from pipeline.models import cpu, hardware
from pipeline.processes import processes
from pipeline.stages import logits

hardware.WIDE, cpu._measured_speed = 1, lambda: 1.0 if processes().is_main_process else 4.0
report_errors(logits.main)
"""


def test_a_process_without_a_shard_does_not_keep_the_others_waiting(with_logits, launch):
    shard = min(paths.LOGITS.rglob("*.safetensors"))
    for path in (shard, *paths.cache().rglob(shard.name)):
        path.unlink()
    Path("measured.py").write_text(MEASURED)
    process = launch("measured")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert "to compute" in output and "float32 (this CPU multiplies bfloat16 1.0 times as fast)" in output
    assert shard.exists()


def test_a_killed_worker_leaves_only_complete_shards(without_logits, launch):
    Path("slow.py").write_text(SLOW)
    process = launch("slow")
    while process.poll() is None and len(list(paths.cache().rglob("*.safetensors"))) < 4:
        time.sleep(0.01)
    _, worker = children(process.pid)
    os.kill(worker, signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    (folder,) = (path for path in (paths.cache() / "logits").iterdir() if path.is_dir())
    assert list(problems(folder)) == []
    cached = sum(count_rows(path) for path in folder.glob("*.safetensors"))
    output = launch("pipeline.stages.logits").communicate(timeout=120)[0]
    assert f" {cached} cached" in output and cached > 0
    assert content(paths.LOGITS) == without_logits


def test_a_run_resumes_after_a_worker_died(with_logits, launch):
    write_params(train={**LONG, "epochs": 3000})
    process = launch("pipeline.stages.train")
    while process.poll() is None and not checkpoints():
        time.sleep(0.05)
    (path,) = checkpoints()
    _, worker = children(process.pid)
    os.kill(worker, signal.SIGKILL)
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert f"Signal 9 (SIGKILL) received by PID {worker}" in output
    assert checkpoints() == [path]
    again = launch("pipeline.stages.train")
    for line in again.stdout:
        if "resuming from a checkpoint of step " in line:
            break
    else:
        raise AssertionError("the run did not resume from the checkpoint")


def test_a_loss_that_is_not_finite_names_the_questions(with_logits):
    write_params(train={"learning_rate": 1e30, "max_grad_norm": None})
    with pytest.raises(
        InputError, match=r"not finite at step \d+, learning rate .*; questions of the batch: synthetic-"
    ):
        train.main()

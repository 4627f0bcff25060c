"""Killed, interrupted and shared-out training runs."""

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
import torch
from transformers import BertConfig, BertForQuestionAnswering

from pipeline import paths
from pipeline.errors import InputError
from pipeline.logits.shards import count_rows
from pipeline.logits.verify import problems
from pipeline.models import encoders
from pipeline.models.heads import HEADS
from pipeline.models.student import Student
from pipeline.params import load
from pipeline.questions.records import read_records
from pipeline.stages import backbone, logits, teacher, train
from pipeline.training.checkpoints import Checkpoint, run_key
from pipeline.training.optimizer import load_optimizer_tensors, optimizer_tensors
from tests.tiny import TINY, content, run_all, write_params

ROOT = Path(__file__).parents[2]
# a checkpoint each tenth of a second, and enough steps to be killed between
LONG = {"epochs": 60, "checkpoint_minutes": 0.1 / 60}


def checkpoints():
    return sorted(paths.cache().glob("training/*/checkpoint.safetensors"))


def wait_for_progress(process, before):
    """Until the run has written another checkpoint than `before`."""
    now = []
    while process.is_alive():
        with contextlib.suppress(FileNotFoundError):
            now = [path.stat().st_mtime_ns for path in checkpoints()]
        if now and now != before:
            return now
        time.sleep(0.002)
    raise AssertionError(f"the run ended by itself, with {process.exitcode}")


def kill_after_a_checkpoint(start, stage):
    process = start(stage)
    wait_for_progress(process, [])
    process.kill()
    process.join()


@pytest.mark.parametrize(
    ("stage", "made"), [(train, [paths.STUDENT]), (teacher, [paths.TEACHER])], ids=["train", "teacher"]
)
def test_killed_runs_end_with_the_bytes_of_an_uninterrupted_one(with_logits, start, capsys, stage, made):
    long = {**LONG, "epochs": 100}  # the kills are over before it ends
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
    assert "going on from a checkpoint of step " in capsys.readouterr().out
    assert content(*made) == expected
    assert checkpoints() == []


def test_the_curves_and_counts_go_on_too(with_logits, start):
    write_params(train=LONG)
    train.main()

    def outcome():
        rows = (paths.CURVES / "train.tsv").read_text().splitlines()
        summary = json.loads(paths.TRAIN_METRICS.read_text())
        return [row.split("\t")[:1] + row.split("\t")[2:] for row in rows], summary["steps"], summary["windows"]

    expected = outcome()
    kill_after_a_checkpoint(start, train)
    train.main()
    assert outcome() == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_a_checkpoint_and_says_so(with_logits, start, number):
    write_params(train={**LONG, "epochs": 3000})
    process = start(train)
    wait_for_progress(process, [])
    os.kill(process.pid, number)
    process.join(120)
    assert process.exitcode == 130
    assert "interrupted: a checkpoint of step " in Path("stderr.txt").read_text()
    assert len(checkpoints()) == 1


def test_another_runs_checkpoint_is_not_used(with_logits, start, capsys):
    write_params(train=LONG)
    kill_after_a_checkpoint(start, train)
    (mine,) = checkpoints()
    for change in ({"train": {**LONG, "learning_rate": 2e-3}}, {"train": LONG, "prune": {"amount": 0.2}}):
        write_params(**change)
        train.main()
        assert "going on" not in capsys.readouterr().out
        assert checkpoints() == [mine]
    write_params(train=LONG)
    train.main()
    assert "going on" in capsys.readouterr().out
    assert checkpoints() == []


def test_a_damaged_checkpoint_is_passed_over(with_logits, start, capsys):
    write_params(train=LONG)
    kill_after_a_checkpoint(start, train)
    (path,) = checkpoints()
    path.write_bytes(path.read_bytes()[:-100])
    train.main()
    out = capsys.readouterr().out
    assert f"{path} cannot be read" in out and "going on" not in out


def test_a_run_key_depends_on_all_that_defines_the_run():
    def student(head="linear", seed=0, **changes):
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        torch.manual_seed(0)
        encoder = BertForQuestionAnswering(BertConfig(vocab_size=9, **{**sizes, **changes})).base_model
        return Student.from_encoder(encoder, head, seed)

    array = torch.arange(3).numpy()
    key = run_key({"x": 1}, student(), array)
    assert key == run_key({"x": 1}, student(), array.copy())
    others = [
        run_key({"x": 2}, student(), array),
        run_key({"x": 1}, student(seed=1), array),
        run_key({"x": 1}, student(), array + 1),
        *(run_key({"x": 1}, student(head), array) for head in HEADS if head != "linear"),
        *(
            run_key({"x": 1}, student(**{name: value}), array)
            for name, value in (("num_attention_heads", 4), ("hidden_dropout_prob", 0.0), ("hidden_act", "relu"))
        ),
    ]
    assert len({key, *others}) == 1 + 3 + len(HEADS) - 1 + 3


def test_other_references_are_another_run(with_logits):
    params, records = load(paths.PARAMS), {"validation": read_records(paths.DATASET / "validation.parquet")}
    student = Student.from_encoder(encoders.load_qa_model(paths.BACKBONE, trained_output=False).base_model, "linear", 0)
    before = train.key(params, student, {}, records, None)
    records["validation"][3]["answers"]["text"].append("another")
    assert train.key(params, student, {}, records, None) != before


def test_what_was_trained_is_kept_until_it_is_saved(with_logits, monkeypatch, capsys):
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
    steps = json.loads(paths.TRAIN_METRICS.read_text())["steps"]
    assert f"going on from a checkpoint of step {steps} of {steps}" in capsys.readouterr().out
    assert content(paths.STUDENT) == expected
    assert checkpoints() == []


def test_tied_weights_are_kept_too(tmp_path):
    tied = torch.nn.Linear(3, 3)
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.write({"a": tied.weight, "b": tied.weight, "c": tied.bias}, {})
    tensors, _ = checkpoint.read()
    assert torch.equal(tensors["a"], tied.weight) and torch.equal(tensors["b"], tied.weight)


def test_a_checkpoint_comes_back_to_the_bit(tmp_path):
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    checkpoint = Checkpoint(tmp_path, "key")
    assert checkpoint.read() is None
    checkpoint.write(optimizer_tensors(optimizer), {"seconds": 0.1 + 0.2})
    tensors, values = checkpoint.read()
    again = torch.optim.AdamW(layer.parameters())
    load_optimizer_tensors(again, tensors)
    assert values == {"seconds": 0.1 + 0.2}
    for i, entry in optimizer.state_dict()["state"].items():
        for name, value in entry.items():
            assert torch.equal(again.state_dict()["state"][i][name], value)


@pytest.fixture
def launch():
    """Starts a stage in two processes on the CPU, as LAUNCH="torchrun --nproc_per_node 2" does."""
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
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def children(pid):
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def curve():
    header, *rows = [row.split("\t") for row in (paths.CURVES / "train.tsv").read_text().splitlines()]
    return [{name: float(value) for name, value in zip(header, row, strict=True)} for row in rows]


def test_two_processes_take_the_steps_of_one(with_logits, launch):
    without_dropout = {**TINY["teacher"]["config"], "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    write_params(teacher={"config": without_dropout}, distill={"alpha": 0.5}, train={"epochs": 10, "batch_size": 7})
    run_all(teacher, logits, backbone, train)
    alone, scores = curve(), (paths.CURVES / "validation.tsv").read_text()
    process = launch("pipeline.stages.train")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert output.count("going on") == 0
    together = curve()
    assert len(alone) == len(together) > 3
    for one, two in zip(alone, together, strict=True):
        for name in ("step", "learning_rate", "loss", "hard", "soft", "gradient_norm"):
            assert two[name] == pytest.approx(one[name], rel=1e-4), name
    assert len((paths.CURVES / "validation.tsv").read_text().splitlines()) == len(scores.splitlines())


# the second process opens the cache when the first could have added shards to it
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


# a shard takes long enough to be killed in
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
def nothing_kept(with_logits, monkeypatch):
    """A workspace in which nothing is left of the logits, which are what this gives."""
    expected = content(paths.LOGITS)
    shutil.rmtree(paths.LOGITS)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(with_logits / "fresh cache"))
    return expected


def test_two_processes_compute_the_logits_of_one_to_the_byte(nothing_kept, launch):
    Path("late.py").write_text(LATE)
    process = launch("late")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert " 0 from the cache" in output
    assert content(paths.LOGITS) == nothing_kept
    counts = [count_rows(path) for path in paths.cache().rglob("*.safetensors")]
    assert len(counts) > 10 and max(counts) == 5


def test_a_worker_killed_while_it_computes_leaves_whole_shards_only(nothing_kept, launch):
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
    kept = sum(count_rows(path) for path in folder.glob("*.safetensors"))
    output = launch("pipeline.stages.logits").communicate(timeout=120)[0]
    assert f" {kept} from the cache" in output and kept > 0
    assert content(paths.LOGITS) == nothing_kept


def test_a_worker_that_dies_ends_the_run_with_a_checkpoint_to_go_on_from(with_logits, launch):
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
        if "going on from a checkpoint of step " in line:
            break
    else:
        raise AssertionError("the run did not go on from the checkpoint")


def test_a_loss_that_is_not_finite_names_the_questions(with_logits):
    write_params(train={"learning_rate": 1e30, "max_grad_norm": None})
    with pytest.raises(
        InputError, match=r"not finite at step \d+, learning rate .*; questions of the batch: synthetic-"
    ):
        train.main()

"""Training runs that are killed, interrupted or distributed over processes."""

import contextlib
import json
import os
import shutil
import signal
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
from pipeline.stages import backbone, logits, shrink, teacher, train
from tests.tiny import TINY, content, run_all, write_params
from tests.words import mentions

pytestmark = pytest.mark.slow
STEPWISE = {"epochs": 3, "checkpoint_minutes": 1e-9}  # a checkpoint before each step but the first
CHECKPOINT = "*/training/*/*checkpoint.safetensors*"  # renamed, and its temporary name removed: two changes


def checkpoints():
    return sorted(paths.cache().glob("training/*/checkpoint.safetensors"))


@pytest.fixture
def killed(stopped):
    """Train and kill the process after it has written the second checkpoint; returns the checkpoint's path."""

    def killed():
        assert stopped("SIGKILL", 4, CHECKPOINT, "pipeline.stages.train").returncode == -signal.SIGKILL
        (path,) = checkpoints()
        return path

    return killed


@pytest.mark.parametrize(
    ("stage", "arguments", "made"),
    [(train, [], paths.STUDENT), (teacher, ["large"], paths.TEACHER / "large")],
    ids=["train", "teacher"],
)
def test_killed_runs_end_with_the_same_bytes_as_an_uninterrupted_one(
    with_logits, stopped, capsys, stage, arguments, made
):
    few = {"batch_size": 8, "learning_rate": 1e-3, "keep": "last"}
    write_params(train=STEPWISE, teacher={"train": {**STEPWISE, **few}})
    run_all(stage)
    expected = content(made)
    assert checkpoints() == []
    # before the first checkpoint is complete, after the second, between two, and while the model is saved
    for change, pattern in ((1, CHECKPOINT), (4, CHECKPOINT), (3, CHECKPOINT), (2, f"*/{made}/*")):
        process = stopped("SIGKILL", change, pattern, stage.__name__, *arguments)
        assert process.returncode == -signal.SIGKILL
    assert content(made) != expected
    capsys.readouterr()
    run_all(stage)
    assert "resuming" in capsys.readouterr().out
    assert content(made) == expected
    assert checkpoints() == []


def test_curves_and_counts_are_resumed(with_logits, killed):
    write_params(train=STEPWISE)
    train.main()

    def outcome():
        rows = (paths.CURVES / "train.tsv").read_text().splitlines()
        summary = json.loads((paths.CURVES / "summary.json").read_text())
        return [row.split("\t")[:1] + row.split("\t")[2:] for row in rows], summary["steps"], summary["windows"]

    expected = outcome()
    killed()
    train.main()
    assert outcome() == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_a_checkpoint(with_logits, stopped, number):
    write_params(train=STEPWISE)
    process = stopped(number.name, 4, CHECKPOINT, "pipeline.stages.train")
    assert process.returncode == 130
    mentions(Path("stderr.txt").read_text(), "interrupted", "checkpoint", "step 2")
    assert len(checkpoints()) == 1


def test_the_checkpoint_of_another_run_is_not_used(with_logits, killed, capsys):
    write_params(train=STEPWISE)
    mine = killed()
    for change in ({"train": {**STEPWISE, "learning_rate": 2e-3}}, {"train": STEPWISE, "prune": {"amount": 0.2}}):
        write_params(**change)
        train.main()
        assert "resuming" not in capsys.readouterr().out
        assert checkpoints() == [mine]
    write_params(train=STEPWISE)
    train.main()
    assert "resuming" in capsys.readouterr().out
    assert checkpoints() == []


def test_a_second_run_of_the_same_training_waits_for_the_first_and_resumes(with_logits, stopped, monkeypatch):
    write_params(train=STEPWISE)
    first = stopped("PAUSE", 4, CHECKPOINT, "pipeline.stages.train")
    assert first.poll() is None

    def said(line):
        mentions(line, "waiting", f"process {first.pid}", "trains")
        first.kill()

    class Resumed(Exception):
        pass

    def train_after(*_, checkpoint, **__):
        assert first.poll() == -signal.SIGKILL
        assert checkpoint.read()[1]["steps"] == 2
        raise Resumed

    monkeypatch.setattr(locks.log, "info", lambda line, *values: said(line % values))
    monkeypatch.setattr(train, "Trainer", train_after)
    with pytest.raises(Resumed):
        train.main()


def test_a_damaged_checkpoint_is_ignored(with_logits, killed, capsys):
    write_params(train=STEPWISE)
    path = killed()
    path.write_bytes(path.read_bytes()[:-100])
    train.main()
    printed = capsys.readouterr()
    assert str(path) in printed.err and "resuming" not in printed.out


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
    mentions(capsys.readouterr().out, "resuming", f"step {steps} of {steps}")
    assert content(paths.STUDENT) == expected
    assert checkpoints() == []


@pytest.fixture
def launch(forks, monkeypatch):
    """Starts a module in two processes on the CPU, like LAUNCH="torchrun --nproc_per_node 2"; see `Launched`."""
    monkeypatch.setenv("PYTHON_EXEC", f"{forks.folder}/python")  # torchrun's workers
    started = []

    def launch(module, *arguments):
        started.append(Launched(forks, [module, *arguments]))
        return started[-1]

    yield launch
    for process in started:
        process.kill()


class Launched:
    """torchrun, and its output, as lines or as a whole."""

    def __init__(self, forks, module):
        reader, writer = os.pipe()
        self.output = open(reader)  # noqa: SIM115
        arguments = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", *module]
        with open(os.devnull) as stdin:
            self.fork = forks.start(*arguments, stdin=stdin.fileno(), stdout=writer, stderr=writer)
        os.close(writer)

    @property
    def workers(self):
        """Their process ids, in the order of their ranks."""
        files = Path(f"/proc/{self.fork.pid}/task").glob("*/children")
        return sorted(int(child) for path in files for child in path.read_text().split())

    def ended(self):
        """Wait for the end; the exit code and the output."""
        output = self.output.read()
        return self.fork.wait(), output

    def kill(self):
        if self.fork.poll() is None:
            for pid in self.workers:  # they do not end with torchrun
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.fork.kill()
        self.output.close()


def curve():
    header, *rows = [row.split("\t") for row in (paths.CURVES / "train.tsv").read_text().splitlines()]
    return [{name: float(value) for name, value in zip(header, row, strict=True)} for row in rows]


def test_two_processes_take_the_same_steps_as_one(with_logits, launch):
    without_dropout = {**TINY["teacher"]["config"], "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    write_params(teacher={"config": without_dropout}, distill={"alpha": 0.5}, train={"epochs": 10, "batch_size": 7})
    run_all(teacher, logits, backbone, shrink, train)
    alone, scores = curve(), (paths.CURVES / "validation.tsv").read_text()
    code, output = launch("pipeline.stages.train").ended()
    assert code == 0, output
    assert output.count("resuming") == 0
    together = curve()
    assert len(alone) == len(together) > 3
    for one, two in zip(alone, together, strict=True):
        for name in ("step", "learning_rate", "loss", "hard", "soft", "gradient_norm"):
            assert two[name] == pytest.approx(one[name], rel=1e-4), name
    assert len((paths.CURVES / "validation.tsv").read_text().splitlines()) == len(scores.splitlines())


def test_two_processes_train_an_encoder_with_unused_weights(with_logits, launch):
    write_params(head="cnn3", train={"epochs": 1})
    run_all(backbone, shrink)
    code, output = launch("tests.training.launched", "unused_layer").ended()
    assert code == 0, output
    assert len(curve()) >= 1


@pytest.fixture
def without_logits(with_logits, monkeypatch):
    """A workspace without logits and with an empty cache; returns the expected logits files."""
    expected = content(paths.LOGITS)
    shutil.rmtree(paths.LOGITS)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(with_logits / "fresh cache"))
    return expected


def test_two_processes_compute_the_same_bytes_of_logits_as_one(without_logits, launch):
    code, output = launch("tests.training.launched", "late_cache").ended()
    assert code == 0, output
    assert " 0 cached" in output
    assert content(paths.LOGITS) == without_logits
    counts = [count_rows(path) for path in paths.cache().rglob("*.safetensors")]
    assert len(counts) > 10 and max(counts) == 5


def test_a_process_without_a_shard_does_not_keep_the_others_waiting(with_logits, launch):
    shard = min(paths.LOGITS.rglob("*.safetensors"))
    for path in (shard, *paths.cache().rglob(shard.name)):
        path.unlink()
    code, output = launch("tests.training.launched", "different_cpus").ended()
    assert code == 0, output
    mentions(output, "to compute", "float32 (", "1.0 times")
    assert shard.exists()


def test_a_killed_worker_leaves_only_complete_shards(without_logits, launch, monkeypatch):
    monkeypatch.setenv("STOPPED_RANK", "1")
    shards = "*/fresh cache/logits/*.safetensors*"
    code, _ = launch("tests.stopping", "SIGKILL", "8", shards, "pipeline.stages.logits").ended()
    assert code != 0
    (folder,) = (path for path in (paths.cache() / "logits").iterdir() if path.is_dir())
    assert list(problems(folder)) == []
    cached = sum(count_rows(path) for path in folder.glob("*.safetensors"))
    _, output = launch("pipeline.stages.logits").ended()
    assert f" {cached} cached" in output and cached >= 2 * 5
    assert content(paths.LOGITS) == without_logits


def test_a_run_resumes_after_a_worker_died(with_logits, launch):
    write_params(train={"epochs": 10_000, "checkpoint_minutes": 0.1 / 60})
    process = launch("pipeline.stages.train")
    while process.fork.poll() is None and not checkpoints():
        time.sleep(0.05)
    (path,) = checkpoints()
    _, worker = process.workers
    os.kill(worker, signal.SIGKILL)
    code, output = process.ended()
    assert code != 0
    assert f"Signal 9 (SIGKILL) received by PID {worker}" in output
    assert checkpoints() == [path]
    again = launch("pipeline.stages.train")
    assert any("resuming" in line for line in again.output)


def test_a_loss_that_is_not_finite_names_the_questions(with_logits):
    write_params(train={"learning_rate": 1e30, "max_grad_norm": None})
    with pytest.raises(InputError, match=r"finite .*step \d+.* learning rate .*synthetic-"):
        train.main()

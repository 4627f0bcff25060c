import json
import subprocess
import zlib
from pathlib import Path

import pytest

from pipeline import paths
from pipeline.checksums import seal, verified
from pipeline.commands import cost
from pipeline.experiments.run import read_run
from tests import tiny
from tests.commands import scored
from tests.commands.command_line import options
from tests.words import refused

MEASURED = {key: 1 for key in cost.KEYS if not key.endswith("bytes")} | {"device": "cpu"}


@pytest.fixture
def weights(repository):
    """Weights and windows of the workspace, and of an experiment `another` with other weights."""
    weights = repository / cost.WEIGHTS
    windows = paths.features(paths.STUDENT_NAME, "validation")
    for path in (weights, windows):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"1" * 10_000)
    seal(windows)
    scored.git("add", "-A")
    scored.git("commit", "-qm", "weights")
    weights.write_bytes(b"2" * 10_000)
    scored.save_experiment("another")
    return weights


@pytest.fixture
def measurements(monkeypatch):
    """The folders that were measured; measuring takes no time."""
    measured = []
    run_other = subprocess.run

    def run(command, **options):
        if command[1:3] != ["-m", "pipeline.answering.cost"]:
            return run_other(command, **options)
        measured.append(command[3])
        verified(Path(command[4]), "tokenize")  # as the process does
        return subprocess.CompletedProcess(command, 0, stdout="a warning\n" + json.dumps(MEASURED))

    monkeypatch.setattr(cost.subprocess, "run", run)
    return measured


def test_a_cost_is_read_back_by_weights_and_machine(weights, measurements, monkeypatch):
    run, another = read_run("workspace"), read_run("another")
    assert cost.read(run) is None
    cost.measure(run)
    assert tuple(cost.read(run)) == cost.KEYS
    assert cost.read(run)["bytes"] == 10_000
    assert cost.read(run)["compressed_bytes"] == len(zlib.compress(b"1" * 10_000))
    assert cost.read(read_run("HEAD")) == cost.read(run)  # the same weights
    assert cost.read(another) is None
    windows = paths.features(paths.STUDENT_NAME, "validation")
    windows.write_bytes(b"3" * 10_000)
    assert cost.read(run) is None
    windows.write_bytes(b"1" * 10_000)
    assert cost.read(run) is not None
    monkeypatch.setattr(cost.platform, "node", lambda: "another machine")
    assert cost.read(run) is None


def test_the_weights_of_an_experiment_are_measured(weights, measurements):
    cost.measure(read_run("another"))
    (folder,) = measurements
    assert folder != str(paths.STUDENT)
    assert cost.read(read_run("another"))["compressed_bytes"] == len(zlib.compress(b"2" * 10_000))


def test_one_seed_of_each_setting_is_measured_once(weights, measurements, capsys):
    for seed in (3, 4):
        scored.write_run(scored.params("mlp", seed), scored.records(), scored.scores(scored.records(), 0.5))
        weights.write_bytes(b"%d" % seed * 10_000)
        scored.save_experiment(f"mlp-seed{seed}")
    names = [run.name for run in cost.one_of_each_setting()]
    assert names[0] == "HEAD" and len({"mlp-seed3", "mlp-seed4"} & set(names)) == 1
    command = options("cost", "mlp-seed3", "mlp-seed4", "HEAD")
    cost.main(**command)
    cost.main(**command)
    assert len(measurements) == 3
    cost.main(**{**command, "again": True})
    assert len(measurements) == 6
    out = capsys.readouterr().out
    assert out.count("mlp-seed4: measured, 1.0 ms (p95 1.0), 1.0 windows/s, 1 MB, on cpu x1\n") == 2
    assert out.count("mlp-seed4: measured before, ") == 1


def test_a_run_without_a_student_has_no_cost_and_cannot_be_measured(repository, weights):
    assert cost.read(read_run("cnn3-seed0")) is None
    with refused("cnn3-seed0", "data/student/model.safetensors", "`dvc repro`"):
        cost.main(["cnn3-seed0"], again=False)


def test_a_measurement_that_fails_is_an_error_and_stores_nothing(weights, monkeypatch):
    run = read_run("workspace")
    monkeypatch.setattr(cost.subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 1))
    with refused("workspace", "measured"):
        cost.measure(run)
    assert cost.read(run) is None


@pytest.mark.slow
def test_a_trained_student_is_measured_in_a_process_of_its_own(repository, with_logits):
    tiny.run_all(tiny.train, tiny.evaluate)
    values = cost.measure(read_run("workspace"))
    assert values == cost.read(read_run("workspace"))
    metrics = json.loads(paths.EVAL_METRICS.read_text())
    assert {key: values[key] for key in ("parameters", "nonzero_parameters", "bytes")} == {
        key: metrics[key] for key in ("parameters", "nonzero_parameters", "bytes")
    }
    assert 100 < values["peak_memory_mb"] < 2000
    assert 0 < values["compressed_bytes"] < values["bytes"]

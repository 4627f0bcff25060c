import json
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from pipeline import paths
from pipeline.checksums import seal, verified
from pipeline.commands import cost
from pipeline.comparison.statistics import compare
from pipeline.experiments import costs
from pipeline.experiments.run import read_run
from tests import tiny
from tests.commands import scored
from tests.commands.command_line import options
from tests.words import mentions, refused

MEASURED = {key: 1 for key in costs.KEYS if key != "compressed_bytes"} | {"device": "cpu"}
WEIGHTS = paths.STUDENT / "model.safetensors"
TEACHER = paths.TEACHER / "large/model.safetensors"
QUICK = {"again": False, "no_exports": True}


@pytest.fixture
def weights(repository):
    """Weights and windows of the workspace and its teacher, and of an experiment `another` with other weights."""
    weights = repository / WEIGHTS
    windows = [paths.features(name, "validation") for name in (paths.STUDENT_NAME, "large")]
    for path in (weights, TEACHER, *windows, paths.tokenizer("large") / "tokenizer.json"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"1" * 10_000)
    TEACHER.write_bytes(b"t" * 30_000)
    for path in windows:
        seal(path)
    scored.git("add", "-A")
    scored.git("commit", "-qm", "weights")
    weights.write_bytes(b"2" * 10_000)
    scored.save_experiment("another")
    return weights


@pytest.fixture
def measurements(monkeypatch):
    """The arguments of what was measured; measuring takes no time. Exported forms answer the first question wrong."""
    measured = []
    run_other = subprocess.run

    def run(command, **options):
        if command[1:4] == ["-m", "pipeline", "export"]:
            return subprocess.CompletedProcess(command, 0)
        if command[1:3] != ["-m", "pipeline.commands.measurement"]:
            return run_other(command, **options)
        kind, folder, _, windows, *asked = command[3:]
        measured.append((kind, folder))
        verified(Path(windows), "tokenize")  # as the process does
        values = dict(MEASURED)
        if asked:
            questions = len(scored.records())
            right = [100.0 if kind == "student" else 0.0] + [100.0] * (questions - 1)
            values |= {"exact_match": right, "f1": right}
        return subprocess.CompletedProcess(command, 0, stdout="a warning\n" + json.dumps(values))

    monkeypatch.setattr(cost.subprocess, "run", run)
    return measured


def test_a_cost_is_read_back_by_weights_and_machine(weights, measurements, monkeypatch):
    run, another = read_run("workspace"), read_run("another")
    assert costs.read(run) is None
    cost.measure(run)
    assert set(costs.read(run)) == set(costs.KEYS)
    assert costs.read(run)["compressed_bytes"] == len(zlib.compress(b"1" * 10_000))
    assert costs.read(read_run("HEAD")) == costs.read(run)  # the same weights
    assert costs.read(another) is None
    windows = paths.features(paths.STUDENT_NAME, "validation")
    windows.write_bytes(b"3" * 10_000)
    assert costs.read(run) is None
    windows.write_bytes(b"1" * 10_000)
    assert costs.read(run) is not None
    monkeypatch.setattr(costs.platform, "node", lambda: "another machine")
    assert costs.read(run) is None


def test_the_weights_of_an_experiment_are_measured(weights, measurements):
    cost.measure(read_run("another"))
    ((kind, folder),) = measurements
    assert kind == "student" and folder != str(paths.STUDENT)
    assert costs.read(read_run("another"))["compressed_bytes"] == len(zlib.compress(b"2" * 10_000))


def test_one_seed_of_each_setting_is_measured_once_and_their_teacher_once(weights, measurements, capsys):
    for seed in (3, 4):
        scored.write_run(scored.params("mlp", seed), scored.records(), scored.scores(scored.records(), 0.5))
        weights.write_bytes(b"%d" % seed * 10_000)
        scored.save_experiment(f"mlp-seed{seed}")
    names = [run.name for run in cost.one_of_each_setting()]
    assert names[0] == "HEAD" and len({"mlp-seed3", "mlp-seed4"} & set(names)) == 1
    command = options("cost", "mlp-seed3", "mlp-seed4", "HEAD", "--no-exports")
    cost.main(**command)
    cost.main(**command)
    assert [kind for kind, _ in measurements] == ["student"] * 3 + ["teacher"]
    cost.main(**{**command, "again": True})
    assert len(measurements) == 8
    out = capsys.readouterr().out
    assert out.count("mlp-seed4: measured, 1.0 ms [1.0, 1.0] (p95 1.0), 1.0 windows/s, 1 MB, on cpu x1\n") == 2
    assert out.count("mlp-seed4: measured before, ") == 1
    assert out.count("teacher large: measured, ") == 2


def test_exported_forms_are_measured_and_scored_beside_torch(weights, measurements, capsys):
    cost.main(**options("cost", "workspace"))
    assert [kind for kind, _ in measurements] == ["student", "float32", "int8", "teacher"]
    forms = costs.read(read_run("workspace"))["forms"]
    assert list(forms) == ["torch float32", "ONNX float32", "ONNX int8"]
    questions = len(scored.records())
    assert [form["f1"] for form in forms.values()] == pytest.approx([100, *[100 - 100 / questions] * 2])
    assert {form["questions"] for form in forms.values()} == {questions} and forms["ONNX int8"]["bytes"] == 1
    wrong = np.array([0.0] + [100.0] * (questions - 1))
    paragraphs = [record["context"] for record in scored.records()]
    expected = compare(wrong, np.full(questions, 100.0), paragraphs).difference
    assert forms["ONNX int8"]["f1_difference"] == pytest.approx(expected.mean)
    assert forms["ONNX int8"]["f1_difference_low"] < 0 <= forms["ONNX int8"]["f1_difference_high"]
    mentions(capsys.readouterr().out, "ONNX int8", "-4.17", f"all {questions}")


def test_forms_are_measured_where_a_cost_lacks_them_and_not_twice(weights, measurements):
    cost.main(["workspace"], **QUICK)
    cost.main(["workspace"], again=False)
    assert [kind for kind, _ in measurements] == ["student", "teacher", "student", "float32", "int8"]
    cost.main(["workspace"], again=False)
    cost.main(["workspace"], **QUICK)
    assert len(measurements) == 5


def test_a_student_that_cannot_be_exported_has_a_cost(weights, measurements, monkeypatch):
    monkeypatch.setattr(cost, "export", lambda student, out: False)
    cost.main(["workspace"], again=False)
    assert list(costs.read(read_run("workspace"))["forms"]) == ["torch float32"]


@pytest.mark.parametrize("change", [{"cpu_share": 0.5}, {"latency_ms_high": 2}])
def test_a_cost_of_a_busy_machine_is_measured_again(weights, measurements, monkeypatch, capsys, change):
    with monkeypatch.context() as patch:
        patch.setattr("tests.commands.test_cost.MEASURED", {**MEASURED, **change})
        cost.main(["workspace"], **QUICK)
    assert capsys.readouterr().out.count("busy") == 2
    cost.main(["workspace"], **QUICK)
    assert len(measurements) == 4 and "busy" not in capsys.readouterr().out


def test_forms_of_a_busy_machine_are_measured_again(weights, measurements, capsys):
    cost.main(["workspace"], again=False)
    run = read_run("workspace")
    values = costs.read(run)
    values["forms"]["ONNX int8"]["cpu_share"] = 0.5
    costs.write(costs.stored(run, paths.STUDENT_NAME), values)
    cost.main(["workspace"], **QUICK)
    assert len(measurements) == 4 and costs.read(run) == values
    cost.main(["workspace"], again=False)
    assert len(measurements) == 7 and "busy" not in capsys.readouterr().out


def test_a_cost_of_an_earlier_version_is_measured_again(weights, measurements):
    run = read_run("workspace")
    costs.write(costs.stored(run, paths.STUDENT_NAME), {"parameters": 1, "latency_ms_median": 1.0, "device": "cpu"})
    assert costs.read(run) is None
    cost.main(["workspace"], **QUICK)
    assert costs.read(run)["latency_ms_low"] == 1


@pytest.mark.parametrize("missing", [TEACHER, paths.features("large", "validation")])
def test_a_teacher_that_is_not_here_has_no_figure_and_is_no_error(weights, measurements, missing):
    missing.unlink()
    cost.main(["workspace"], **QUICK)
    assert measurements == [("student", str(paths.STUDENT))]
    assert costs.read(read_run("workspace"), "large") is None


def test_a_run_without_a_student_has_no_cost_and_cannot_be_measured(repository, weights):
    assert costs.read(read_run("cnn3-seed0")) is None
    with refused("cnn3-seed0", "data/student/model.safetensors", "`dvc repro`"):
        cost.main(["cnn3-seed0"], again=False)


def test_a_measurement_that_fails_is_an_error_and_stores_nothing(weights, monkeypatch):
    run = read_run("workspace")
    monkeypatch.setattr(cost.subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 1))
    with refused("workspace", "measured"):
        cost.measure(run)
    assert costs.read(run) is None


@pytest.mark.slow
def test_a_trained_student_and_its_files_are_measured_in_processes_of_their_own(repository, with_logits):
    tiny.run_all(tiny.train, tiny.evaluate)
    run = read_run("workspace")
    values = cost.measure(run, exports=True)
    assert values == costs.read(run)
    metrics = json.loads(paths.EVAL_METRICS.read_text())
    assert {key: values[key] for key in ("parameters", "nonzero_parameters", "bytes")} == {
        key: metrics[key] for key in ("parameters", "nonzero_parameters", "bytes")
    }
    assert 100 < values["peak_memory_mb"] < 2000
    assert 0 < values["compressed_bytes"] < values["bytes"]
    torch, float32, _ = values["forms"].values()
    assert torch["f1"] == pytest.approx(metrics["f1"], abs=1e-3)
    assert float32["f1_difference"] == 0 and float32["bytes"] != torch["bytes"]
    teacher = cost.measure(run, "large")
    assert teacher["parameters"] > values["parameters"] and teacher["compressed_bytes"] is None

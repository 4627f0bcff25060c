"""The stages, run in this process on a very small corpus."""

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from transformers import RobertaConfig, RobertaForQuestionAnswering

from pipeline import paths
from pipeline.checksums import seal
from pipeline.cli import report_errors
from pipeline.logits.shards import count_rows
from pipeline.logits.verify import problems
from pipeline.models import encoders
from pipeline.questions import tokenization
from pipeline.questions.records import read_records, write_records
from pipeline.scores import baseline
from pipeline.stages import backbone, dataset, evaluate, logits, shrink, sources, teacher, tokenize, train
from tests.tiny import ALL_STAGES, TINY, byte_level, content, run_all, write_params
from tests.words import mentions, refused

pytestmark = pytest.mark.slow

NO_TRAINING = {**TINY["teacher"]["train"], "epochs": 0}


def counts(capsys):
    """The counts that the logits stage printed: unique windows, cached windows, windows to compute."""
    line = next(line for line in capsys.readouterr().out.splitlines() if "to compute" in line)
    return tuple(int(word) for word in line.replace(",", "").split() if word.isdigit())


def test_the_same_inputs_give_the_same_bytes(workspace, monkeypatch):
    outputs = [paths.DATASET, paths.TOKENIZER, paths.FEATURES, paths.TEACHER, paths.LOGITS]
    outputs += [paths.BACKBONE, paths.ENCODER]
    run_all(*ALL_STAGES)
    first = content(*outputs, paths.STUDENT, paths.PREDICTIONS)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(workspace / "another cache"))
    run_all(*ALL_STAGES)
    second = content(*outputs, paths.STUDENT, paths.PREDICTIONS)
    assert [name for name in first if first[name] != second.get(name)] == []
    assert first.keys() == second.keys()
    assert not [name for name, value in first.items() if str(workspace).encode() in value]


def kept_logits():
    return sorted(paths.handed_over().glob("*/*.safetensors"))


def change_kept_logits():
    """Other logits, under the same name and sealed."""
    (path,) = kept_logits()
    save_file({name: values + 1 for name, values in load_file(path).items()}, path)
    seal(path.parent)


def damage_kept_logits():
    """One value of a window that is not computed again."""
    (path,) = kept_logits()
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def change_student():
    """The same student with another checksum."""
    about = paths.STUDENT / "about.json"
    about.write_text(about.read_text() + "\n")
    seal(paths.STUDENT)


@pytest.mark.parametrize("spoil", [None, change_kept_logits, damage_kept_logits, change_student])
def test_evaluate_takes_the_logits_of_train_only_if_the_student_computes_them_too(with_logits, capsys, spoil):
    write_params(train={"keep": "last"})
    run_all(train)
    if spoil:
        spoil()
    run_all(evaluate)
    assert ("train computed" in capsys.readouterr().out) == (spoil is None)
    first = content(paths.PREDICTIONS), paths.EVAL_METRICS.read_bytes()
    assert bool(kept_logits()) == (spoil is change_student)
    shutil.rmtree(paths.handed_over())
    run_all(evaluate)
    assert "train computed" not in capsys.readouterr().out
    assert (content(paths.PREDICTIONS), paths.EVAL_METRICS.read_bytes()) == first


@pytest.mark.parametrize(("saved", "handed"), [("best", []), ("last", [2])])
def test_only_the_logits_of_the_saved_student_are_handed_over(with_logits, monkeypatch, saved, handed):
    found, scores = [], iter([60.0, 50.0])  # the first of two epochs is the best

    def evaluate_in_order(model, data, params):
        f1 = next(scores)
        return {"exact_match": f1, "f1": f1, "confidence_temperature": 1.0}, 1 if f1 == 60.0 else 2

    monkeypatch.setattr(train, "evaluate", evaluate_in_order)
    monkeypatch.setattr(train, "hand_over", lambda logits, code: found.append(logits))
    write_params(train={"keep": saved})
    run_all(train)
    assert found == handed
    assert next(scores, None) is None


def test_a_cache_that_cannot_be_written_costs_a_training_nothing(with_logits, monkeypatch, caplog):
    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(train.student_logits, "hand_over", full)
    write_params(train={"keep": "last"})
    run_all(train)
    mentions(caplog.text, "no space left", "evaluate")
    assert not kept_logits()
    assert (paths.STUDENT / "model.safetensors").exists()


def test_scores_and_predictions_cover_every_question(with_logits):
    run_all(train, evaluate)
    scores = json.loads(paths.EVAL_METRICS.read_text())
    assert list(scores) == [
        "exact_match", "exact_match_error", "f1", "f1_error", "span_accuracy", "questions",
        "agreement", "teacher_kl", "loss", "parameters", "nonzero_parameters", "bytes",
    ]  # fmt: skip
    assert scores["questions"] == 8
    assert scores["nonzero_parameters"] < scores["parameters"]
    predictions = json.loads((paths.PREDICTIONS / "predictions.json").read_text())
    rows = [json.loads(line) for line in (paths.PREDICTIONS / "nbest.jsonl").read_text().splitlines()]
    assert list(predictions) == [row["id"] for row in rows]
    assert len(rows) == 8
    for row in rows:
        best = [answer["score"] for answer in row["answers"]]
        assert best == sorted(best, reverse=True) and len(best) <= 5
        assert predictions[row["id"]] == row["answers"][0]["text"]
    table = pq.read_table(paths.question_scores(paths.PREDICTIONS))
    assert table["id"].to_pylist() == list(predictions)
    assert table["prediction"].to_pylist() == list(predictions.values())
    for name in ("exact_match", "f1", "agreement"):
        assert np.mean(table[name]) == pytest.approx(scores[name], abs=1e-4)
    teacher = pq.read_table(paths.question_scores(paths.TEACHER_PREDICTIONS / "large"))
    assert teacher.schema.metadata == table.schema.metadata
    expected = json.loads(paths.TEACHER_METRICS.read_text())["large"]["f1"]
    assert np.mean(teacher["f1"]) == pytest.approx(expected, abs=1e-4)


def test_dropout_of_the_training_changes_the_student_and_not_its_config(with_logits):
    train.main()
    own = content(paths.STUDENT)
    write_params(train={"dropout": 0.0, "attention_dropout": 0.0})
    train.main()
    without = content(paths.STUDENT)
    changed = {Path(name).name for name in own if own[name] != without[name]}
    assert changed - {"config.json"} == {"SHA256SUMS", "model.safetensors"}
    configs = [json.loads(files[str(paths.STUDENT / "config.json")]) for files in (own, without)]
    for config in configs:
        del config["answering"]["confidence_temperature"]  # fitted on the student's answers
    assert configs[0] == configs[1]


def test_pruned_weights_are_zero_in_the_saved_student(with_logits):
    train.main()
    tensors = {path: safe_open(path, "pt") for path in paths.STUDENT.glob("*.safetensors")}
    for file in tensors.values():
        for name in file.keys():
            weight = file.get_tensor(name)
            if weight.dim() == 2 and "embeddings" not in name:
                assert (weight == 0).sum() == round(0.3 * weight.numel()), name


def test_a_cubic_schedule_ends_at_the_amount(with_logits):
    write_params(prune={"amount": 0.3, "schedule": "cubic"}, train={"keep": "last"})
    run_all(train)
    weights = load_file(paths.STUDENT / "model.safetensors")
    matrices = [weight for name, weight in weights.items() if weight.ndim == 2 and "embeddings" not in name]
    assert matrices and all((weight == 0).sum() == round(0.3 * weight.size) for weight in matrices)


def test_a_second_run_computes_no_logits(with_logits, capsys):
    capsys.readouterr()
    before = content(paths.LOGITS)
    logits.main()
    windows, cached, computed = counts(capsys)
    assert (cached, computed) == (windows, 0)
    assert content(paths.LOGITS) == before


def test_a_larger_train_size_computes_only_new_windows_and_a_smaller_one_none(with_logits, capsys):
    logits.main()
    small, _, _ = counts(capsys)
    write_params(dataset={"train_size": 40})
    run_all(dataset, tokenize, logits)
    large, cached, computed = counts(capsys)
    assert large > small and (cached, computed) == (small, large - small)
    write_params()
    run_all(dataset, tokenize, logits)
    assert counts(capsys) == (small, small, 0)


def test_the_merged_caches_of_two_machines_leave_nothing_to_compute(with_logits, monkeypatch, capsys):
    shutil.copytree(paths.TEACHER / "large", paths.RAW / "large")
    shutil.copytree(paths.tokenizer("large"), paths.RAW / "large", dirs_exist_ok=True)
    questions = {split: list(read_records(paths.DATASET / f"{split}.parquet")) for split in ("train", "validation")}

    def compute(machine, train):
        monkeypatch.setenv(paths.CACHE_VARIABLE, str(with_logits / machine))
        files = {f"{split}_file": f"data/raw/{split}.json" for split in questions}
        for split, records in {**questions, "train": train}.items():
            (paths.RAW / f"{split}.json").write_text(json.dumps(records))
        model = {"models": {"large": {"model": "data/raw/large", "revision": None}}, "config": None}
        write_params(dataset={"source": "files", "train_size": None, **files}, teacher={**model, "train": NO_TRAINING})
        shutil.rmtree(paths.LOGITS)
        capsys.readouterr()
        run_all(sources, dataset, tokenize, teacher, logits)
        return counts(capsys)

    _, *first = compute("a", questions["train"][:12])
    _, *second = compute("b", questions["train"][12:])
    assert first[0] == second[0] == 0
    shutil.copytree("b/logits", "a/logits", dirs_exist_ok=True)
    windows, cached, computed = compute("a", questions["train"])
    assert (cached, computed) == (windows, 0)


def test_another_shard_size_computes_no_logits(with_logits, capsys):
    capsys.readouterr()
    write_params(logits={"shard_size": 7})
    logits.main()
    assert counts(capsys)[2] == 0
    assert list(problems(paths.LOGITS / "large")) == []


def cached_shards():
    """(path, modification time) of every shard in the cache."""
    return {(path, path.stat().st_mtime_ns) for path in paths.cache().rglob("*.safetensors")}


def test_killed_extractions_lose_at_most_a_shard_and_end_with_the_same_bytes(with_logits, stopped, monkeypatch, capsys):
    expected = content(paths.LOGITS)
    shutil.rmtree(paths.LOGITS)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(with_logits / "killed"))
    shards = set()
    for change in range(1, 13):  # three for each shard: it is written, renamed, and its temporary name is removed
        process = stopped("SIGKILL", change, "*/killed/logits/*.safetensors*", "pipeline.stages.logits")
        assert process.returncode == -signal.SIGKILL
        before, shards = shards, cached_shards()
        assert before <= shards, "a finished shard was rewritten"
        assert len(shards - before) in (change // 3, (change - 1) // 3)  # an unfinished one may be removed first
    capsys.readouterr()
    logits.main()
    windows, cached, _ = counts(capsys)
    assert 0 < cached == sum(count_rows(path) for path, _ in shards) < windows
    assert content(paths.LOGITS) == expected


def test_an_interrupted_extraction_reports_its_progress_and_resumes(with_logits, stopped, monkeypatch, capsys):
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(with_logits / "interrupted"))
    shutil.rmtree(paths.LOGITS)
    process = stopped("SIGINT", 20, "*/interrupted/logits/*.safetensors*", "pipeline.stages.logits")
    assert process.returncode == 130
    message = re.search(r"interrupted: (\d+) of \d+ windows are cached", (with_logits / "stderr.txt").read_text())
    cached = sum(count_rows(path) for path, _ in cached_shards())
    assert int(message[1]) == cached >= 30
    capsys.readouterr()
    logits.main()
    assert counts(capsys)[1] == cached


@pytest.fixture
def mount(tmp_path):
    """Return a function that mounts a tmpfs with the given options; a second call can remount it."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("only root can mount a file system")
        return folder

    yield mount
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


def test_a_full_disk_loses_no_finished_shard(with_logits, mount, monkeypatch, capsys):
    expected = content(paths.LOGITS)
    shutil.rmtree(paths.LOGITS)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(mount("size=96k")))
    with refused("error", "No space left on device", "cached", error=SystemExit):
        report_errors(logits.main)
    finished = {path for path, _ in cached_shards()}
    assert len(finished) > 3
    (folder,) = {path.parent for path in finished}
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    mount("remount", "size=10m")
    capsys.readouterr()
    logits.main()
    assert counts(capsys)[1] == sum(map(count_rows, finished))
    assert content(paths.LOGITS) == expected


def test_a_checkpoint_that_does_not_fit_on_the_disk_raises_with_its_path(with_logits, mount, monkeypatch):
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(mount("size=64k")))
    write_params(train={"checkpoint_minutes": 1e-9})
    with refused("error", "checkpoint", "mounted/training/", "No space", error=SystemExit):
        report_errors(train.main)
    assert not [path for path in (with_logits / "mounted/training").rglob("*") if path.is_file()]


def test_a_read_only_cache_raises_with_its_path(with_logits, mount, monkeypatch):
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(mount("ro")))
    for stage, folder in ((logits, "logits"), (train, "training")):
        monkeypatch.setattr(stage, "read_records", None)  # it is known before any work
        with refused("error", "cache", f"mounted/{folder}", "Read-only file system", error=SystemExit):
            report_errors(stage.main)


def test_a_teacher_and_a_student_that_have_learnt_nothing_are_warned_about(with_logits, monkeypatch, capsys):
    monkeypatch.setattr(baseline, "constant_f1", lambda *_: 100.0)
    write_params(train={"epochs": 8, "learning_rate": 1e-9})
    capsys.readouterr()
    run_all(logits, train, evaluate)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    expected = [
        r"warning: .*teacher large .*F1 \d+\.\d\d .*constant .*100\.00",
        r"warning: .*student's loss .*(\d\.\d\d)\d .*\1\d",
        r"warning: .*student .*F1 \d+\.\d\d .*constant .*100\.00",
    ]
    assert [bool(re.match(*pair)) for pair in zip(expected, warnings, strict=True)] == [True] * 3


def test_validation_windows_without_an_answer_raise_before_training(with_logits):
    records = read_records(paths.DATASET / "validation.parquet")
    for record in records:
        record["context"] *= 20
        record["answers"] = {"text": [record["context"]], "answer_start": [0]}
    write_records(records, paths.DATASET / "validation.parquet")
    with refused("validation", "answer", "tokenize.max_length"):
        tokenize.main()


def test_another_order_of_questions_computes_no_logits(with_logits, capsys):
    file = paths.DATASET / "train.parquet"
    write_records(read_records(file)[::-1], file)
    capsys.readouterr()
    run_all(tokenize, logits)
    assert counts(capsys)[2] == 0


def test_a_damaged_shard_of_the_cache_is_repaired_from_the_store(with_logits, capsys):
    expected = content(paths.LOGITS)
    for path, _ in cached_shards():
        path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    logits.main()
    assert counts(capsys)[2] == 0
    assert content(paths.LOGITS) == expected


def test_pulled_rows_are_used_after_a_setting_is_changed_and_restored(with_logits, monkeypatch, capsys):
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(with_logits / "a new machine's cache"))
    expected = content(paths.LOGITS)
    write_params(logits={"dtype": "float32"})
    logits.main()
    write_params()
    capsys.readouterr()
    logits.main()
    assert counts(capsys)[2] == 0
    assert content(paths.LOGITS) == expected


def test_logits_that_are_not_finite_raise_with_the_question(with_logits, monkeypatch):
    model = encoders.load_qa_model(paths.TEACHER / "large")
    model.qa_outputs.bias.data[0] = 1e6  # more than a float16 can hold
    model.save_pretrained(paths.TEACHER / "large")
    seal(paths.TEACHER / "large")
    with refused("synthetic-train-", "finite", "float16"):
        logits.main()


def test_training_without_distillation_does_not_read_the_logits(with_logits):
    shutil.rmtree(paths.LOGITS)
    with refused("data/logits/large", "no logits", "`dvc repro logits`"):
        train.main()
    write_params(distill={"alpha": 0.0})
    train.main()
    assert (paths.STUDENT / "model.safetensors").exists()


def test_logits_are_aligned_to_a_student_with_another_tokenizer(with_logits, capsys):
    folder = paths.RAW / "student"
    records = read_records(paths.DATASET / "train.parquet")
    tokenizer = byte_level([record["context"] for record in records], 500, trim_offsets=True)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 1}
    places = {"max_position_embeddings": 70, "pad_token_id": tokenizer.pad_token_id, "type_vocab_size": 1}
    config = RobertaConfig(vocab_size=len(tokenizer), **sizes, **places)
    RobertaForQuestionAnswering(config).save_pretrained(folder)
    before = content(paths.LOGITS)
    write_params(backbone={"model": "data/raw/student"}, train={"epochs": 1})
    capsys.readouterr()
    run_all(tokenize, logits, backbone, shrink, train, evaluate)
    out = capsys.readouterr().out
    assert "student, train: 24 questions" in out
    assert ", 0 to compute" in out
    assert len(re.findall(r"0\.000 % .*aligned", out)) == 2
    assert content(paths.LOGITS) == before
    assert json.loads(paths.EVAL_METRICS.read_text())["questions"] == 8
    saved = tokenization.load(str(paths.STUDENT))
    assert tokenization.fingerprint(saved) == tokenization.fingerprint(tokenizer)

    write_params()
    run_all(tokenize, backbone, shrink, train, evaluate)
    out = capsys.readouterr().out
    assert "aligned" not in out and re.search("student .*tokenizer of large", out)


def test_an_unknown_parameter_stops_the_first_stage(workspace):
    write_params(train={"epocs": 3})
    with pytest.raises(SystemExit) as stopped:
        report_errors(dataset.main)
    mentions(str(stopped.value), "error", "params.yaml", "train.epocs", "epochs")
    assert not paths.DATASET.exists()

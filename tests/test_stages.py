"""The stages, one after another, on a very small corpus."""

import json
import multiprocessing
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from pipeline import encoders, logit_store, paths
from pipeline.errors import InputError, run
from pipeline.logit_store import RowCache
from pipeline.stages import backbone, dataset, evaluate, logits, teacher, tokenize, train

ROOT = Path(__file__).parents[1]
TINY = {
    "head": "linear",
    "seed": 0,
    "dataset": {"source": "synthetic", "train_size": 24, "validation_size": 8},
    "tokenize": {"max_length": 64, "stride": 16, "vocab_size": 500, "vocab_records": 24},
    "teacher": {
        "model": "new",
        "revision": None,
        "config": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
        },
        "train": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "keep": "last"},
    },
    "logits": {"dtype": "float16", "shard_size": 5},
    "backbone": {"model": "teacher", "revision": None, "layers": [0]},
    "distill": {"alpha": 1.0, "temperature": 2.0},
    "prune": {"amount": 0.3},
    "train": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3},
    "evaluate": {"n_best": 5, "max_answer_length": 30},
}
DATA_STAGES = (dataset, tokenize, teacher, logits, backbone)
ALL_STAGES = (*DATA_STAGES, train, evaluate)


def write_params(**changes):
    """TINY with some keys of some sections changed."""
    values = {
        key: {**value, **changes.get(key, {})} if isinstance(value, dict) else value for key, value in TINY.items()
    }
    paths.PARAMS.write_text(yaml.safe_dump(values))


def run_all(*stages):
    for stage in stages:
        stage.main()


def content(*folders):
    return {str(path): path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(tmp_path / "cache"))
    write_params()
    return tmp_path


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A workspace in which the data stages have run."""
    folder = tmp_path_factory.mktemp("made once")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv(paths.CACHE_VARIABLE, str(folder / "cache"))
        write_params()
        run_all(*DATA_STAGES)
    return folder


@pytest.fixture
def with_logits(workspace, made_once):
    shutil.copytree(made_once, workspace, dirs_exist_ok=True)
    return workspace


def counts(capsys):
    """(different windows, from the cache, to compute), as the logits stage printed them."""
    line = next(line for line in capsys.readouterr().out.splitlines() if "from the cache" in line)
    return tuple(int(word) for word in line.replace(",", "").split() if word.isdigit())


def test_the_same_inputs_give_the_same_bytes(workspace, monkeypatch):
    made = (paths.DATASET, paths.TOKENIZER, paths.FEATURES, paths.TEACHER, paths.LOGITS, paths.BACKBONE)
    run_all(*ALL_STAGES)
    first = content(*made, paths.STUDENT, paths.PREDICTIONS)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(workspace / "another cache"))
    run_all(*ALL_STAGES)
    again = content(*made, paths.STUDENT, paths.PREDICTIONS)
    assert [name for name in first if first[name] != again.get(name)] == []
    assert first.keys() == again.keys()
    assert not [name for name, value in first.items() if str(workspace).encode() in value]


def test_scores_and_predictions_cover_every_question(with_logits):
    run_all(train, evaluate)
    scores = json.loads(paths.EVAL_METRICS.read_text())
    assert scores.keys() == {
        "exact_match", "f1", "span_accuracy", "questions", "loss", "agreement", "teacher_kl",
        "parameters", "nonzero_parameters", "bytes",
    }  # fmt: skip
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


def test_pruned_weights_are_zero_in_the_saved_student(with_logits):
    train.main()
    tensors = {path: logit_store.safe_open(path, "pt") for path in paths.STUDENT.glob("*.safetensors")}
    for file in tensors.values():
        for name in file.keys():
            weight = file.get_tensor(name)
            if weight.dim() == 2 and "embeddings" not in name:
                assert (weight == 0).sum() == round(0.3 * weight.numel()), name


def test_the_teacher_is_not_asked_twice(with_logits, capsys):
    capsys.readouterr()
    before = content(paths.LOGITS)
    logits.main()
    windows, cached, computed = counts(capsys)
    assert (cached, computed) == (windows, 0)
    assert content(paths.LOGITS) == before


def test_growing_computes_only_what_is_new_and_shrinking_nothing(with_logits, capsys):
    logits.main()
    small, _, _ = counts(capsys)
    write_params(dataset={"train_size": 40})
    run_all(dataset, tokenize, logits)
    large, cached, computed = counts(capsys)
    assert large > small and (cached, computed) == (small, large - small)
    write_params()
    run_all(dataset, tokenize, logits)
    assert counts(capsys) == (small, small, 0)


def test_another_shard_size_is_not_another_teacher(with_logits, capsys):
    capsys.readouterr()
    write_params(logits={"shard_size": 7})
    logits.main()
    assert counts(capsys)[2] == 0
    assert list(logit_store.problems(paths.LOGITS)) == []


def test_an_interrupted_extraction_says_how_far_it_came_and_goes_on(with_logits, monkeypatch, capsys):
    expected = content(paths.LOGITS)
    monkeypatch.setenv(paths.CACHE_VARIABLE, "fresh cache")
    add, added = RowCache.add, []

    def interrupted(self, rows):
        if len(added) == 2:
            raise KeyboardInterrupt
        added.append(len(rows))
        add(self, rows)

    monkeypatch.setattr(RowCache, "add", interrupted)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        run(logits.main)
    assert stopped.value.code == 130
    assert "interrupted: 10 of " in capsys.readouterr().err
    monkeypatch.setattr(RowCache, "add", add)
    logits.main()
    assert counts(capsys)[1] == 10
    assert content(paths.LOGITS) == expected


def kept_shards():
    """(path, time of writing) of every shard in the cache."""
    return {(path, path.stat().st_mtime_ns) for path in paths.cache().rglob("*.safetensors")}


def test_killed_extractions_lose_at_most_a_shard_and_end_with_the_same_bytes(with_logits, monkeypatch, capsys):
    write_params(dataset={"train_size": 600})
    run_all(dataset, tokenize, logits)
    expected = content(paths.LOGITS)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(with_logits / "fresh cache"))
    write_params(dataset={"train_size": 600}, logits={"shard_size": 1})  # many moments between shards
    # a fresh interpreter with the imports done, so that the kills fall into the work
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.stages.logits"])
    rng, shards = random.Random(0), set()
    for _ in range(10):
        process = context.Process(target=logits.main)
        process.start()
        while process.is_alive() and len(kept_shards()) == len(shards):
            time.sleep(0.005)
        process.join(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert shards < kept_shards(), "a finished shard was written again, or nothing was finished"
        shards = kept_shards()
    write_params(dataset={"train_size": 600})
    capsys.readouterr()
    logits.main()
    windows, cached, _ = counts(capsys)
    assert 0 < cached == len(shards) < windows
    assert content(paths.LOGITS) == expected


def test_a_teacher_that_is_not_finite_stops_with_the_question(with_logits, monkeypatch):
    model = encoders.load_qa_model(paths.TEACHER)
    model.qa_outputs.bias.data[0] = torch.inf
    model.save_pretrained(paths.TEACHER)
    with pytest.raises(InputError, match=r"question synthetic-train-\S+ are not finite"):
        logits.main()


def test_plain_fine_tuning_does_not_read_the_logits(with_logits):
    for path in paths.LOGITS.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="`dvc repro logits` makes it"):
        train.main()
    write_params(distill={"alpha": 0.0})
    train.main()
    assert (paths.STUDENT / "model.safetensors").exists()


def test_a_students_other_tokenizer_is_refused_while_tokenizing(with_logits):
    other = paths.RAW / "student"
    other.mkdir(parents=True)
    write_params(tokenize={"vocab_size": 120})
    tokenize.main()
    for path in (*paths.TOKENIZER.iterdir(), *paths.BACKBONE.iterdir()):
        path.rename(other / path.name)
    write_params(backbone={"model": "data/raw/student"})
    with pytest.raises(InputError, match="vocabulary differ"):
        tokenize.main()


def test_a_wrong_parameter_stops_the_first_stage(workspace):
    write_params(train={"epocs": 3})
    with pytest.raises(SystemExit) as stopped:
        run(dataset.main)
    assert str(stopped.value).startswith("error: params.yaml: train.epocs is not a parameter; train takes epochs, ")
    assert not paths.DATASET.exists()

"""The presets that read the hub run to the end, with small models and few questions under the hub's names."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import BertConfig, BertForQuestionAnswering, DistilBertConfig, DistilBertForMaskedLM

from pipeline import paths
from pipeline.imports import ROOT
from pipeline.questions import synthetic, tokenization
from pipeline.questions.records import read_records
from tests import hub as hubs
from tests.tiny import ALL_STAGES, content, run_all

pytestmark = pytest.mark.slow
PRESETS = ("notebook", "squad", "long", "squad2")
SIZES = {"train": 24, "validation": 8}
OTHER = hubs.commit(0)  # in every repository, with files that no stage can read


def preset(name):
    return yaml.safe_load((ROOT / f"presets/{name}.yaml").read_text(encoding="utf-8"))


def questions(split, unanswerable):
    """Rows as in SQuAD on the hub; with unanswerable ones, every second question has no answer."""
    for i, record in enumerate(synthetic.corpus(split, SIZES[split] + 4, seed=0)):
        row = {key: record[key] for key in ("id", "title", "context", "question", "answers")}
        yield row | {"answers": {"text": [], "answer_start": []}} if unanswerable and i % 2 else row


def data_set(config, unanswerable, folder):
    """The files of a data set: a card, and a Parquet file for each split."""
    data_files = [{"split": split, "path": f"{config}/{split}-*"} for split in SIZES]
    card = yaml.safe_dump({"configs": [{"config_name": config, "data_files": data_files}]})
    folder.joinpath(config).mkdir(parents=True)
    folder.joinpath("README.md").write_text(f"---\n{card}---\n# SQuAD")
    for split in SIZES:
        table = pa.Table.from_pylist(list(questions(split, unanswerable)))
        pq.write_table(table, folder / config / f"{split}-00000-of-00001.parquet")
    return folder


def model(made, tokenizer, tokenizer_files, folder):
    """The files of a model, with those of a tokenizer: {name: values}, or None for tokenizer.json."""
    made.save_pretrained(folder)
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    folder.joinpath("vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in pieces), encoding="utf-8")
    folder.joinpath("pytorch_model.bin").write_bytes(b"a pickle, which is never read")
    for name, values in tokenizer_files.items():
        text = tokenizer.backend_tokenizer.to_str() if values is None else json.dumps(values)
        folder.joinpath(name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """{(kind, hub id): folder} of all that the presets name. The tokenizer files are those of the real repositories."""
    folder = tmp_path_factory.mktemp("repositories")
    torch.manual_seed(0)
    texts = [text for row in questions("train", False) for text in (row["context"], row["question"])]
    tokenizer = tokenization.train(texts, vocab_size=500)
    size = len(tokenizer.get_vocab())
    bert = BertConfig(vocab_size=size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    distilbert = DistilBertConfig(vocab_size=size, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    without_json = {"tokenizer_config.json": {"init_inputs": []}, "special_tokens_map.json": special}
    with_json = {"tokenizer.json": None, "tokenizer_config.json": {"do_lower_case": True}}
    return {
        ("dataset", "rajpurkar/squad"): data_set("plain_text", False, folder / "squad"),
        ("dataset", "rajpurkar/squad_v2"): data_set("squad_v2", True, folder / "squad_v2"),
        ("model", "google-bert/bert-large-uncased-whole-word-masking-finetuned-squad"): model(
            BertForQuestionAnswering(bert), tokenizer, with_json, folder / "bert"
        ),
        ("model", "deepset/bert-large-uncased-whole-word-masking-squad2"): model(
            BertForQuestionAnswering(bert), tokenizer, without_json | {"added_tokens.json": {}}, folder / "bert2"
        ),
        ("model", "distilbert/distilbert-base-uncased"): model(
            DistilBertForMaskedLM(distilbert), tokenizer, with_json, folder / "distilbert"
        ),
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory, repositories):
    """The hub, and caches of its files and of logits, that the presets have in common."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as monkeypatch, hubs.running(monkeypatch, folder / "hub cache") as hub:
        monkeypatch.setenv(paths.CACHE_VARIABLE, str(folder / "cache"))
        for name in PRESETS:
            values = preset(name)
            teacher, backbone = values["teacher"]["models"]["large"], values["backbone"]
            named = [("dataset", values["dataset"]["source"], values["dataset"]["revision"])]
            named += [("model", source["model"], source["revision"]) for source in (teacher, backbone)]
            for kind, source, revision in named:
                hub.add(kind, source, revision, repositories[kind, source])
                hub.add(kind, source, OTHER, {"README.md": b"", "config.json": b"{", "train.parquet": b""})
        yield hub


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_of_the_hub_runs_to_the_end_and_again_from_its_cache(name, shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = preset(name)
    values["dataset"] |= {f"{split}_size": size for split, size in SIZES.items()}
    values["train"] |= {"epochs": 1}
    paths.PARAMS.write_text(yaml.safe_dump(values))
    unanswerable = name == "squad2"

    run_all(*ALL_STAGES)
    for split, size in SIZES.items():
        records = read_records(paths.DATASET / f"{split}.parquet")
        expected = list(questions(split, unanswerable))[:size]
        assert [{key: record[key] for key in row} for record, row in zip(records, expected, strict=True)] == expected
        assert sum(record["is_impossible"] for record in records) == (size // 2 if unanswerable else 0)
    scores = json.loads(paths.EVAL_METRICS.read_text())
    assert 0 <= scores["exact_match"] <= scores["f1"] <= 100
    assert ("null_threshold" in scores) == unanswerable
    assert "pytorch_model.bin" not in shared.downloads()

    first = outputs()
    shutil.rmtree(paths.DATA)
    hubs.offline(monkeypatch)
    run_all(*ALL_STAGES)
    second = outputs()
    assert second.keys() == first.keys()
    assert [path for path in first if first[path] != second[path]] == []


def outputs():
    """The content of all outputs but the curves, which have times."""
    files = content(paths.DATA, paths.EVAL_METRICS.parent)
    return {path: bytes for path, bytes in files.items() if not path.startswith(str(paths.CURVES))}

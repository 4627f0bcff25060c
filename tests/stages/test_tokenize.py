"""What the stage that makes windows takes from a model folder."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    DistilBertConfig,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

from pipeline import paths
from pipeline.errors import InputError
from pipeline.models.inference import predict
from pipeline.params import Tokenize
from pipeline.questions import synthetic, tokenization
from pipeline.questions.features import read_features
from pipeline.questions.records import open_records, write_records
from pipeline.questions.windows import pack, windows
from pipeline.stages import dataset, tokenize
from pipeline.stages.tokenize import load_tokenizer, write_windows
from tests.tiny import ALL_STAGES, byte_level, run_all, write_params
from tests.words import mentions

SPECIAL = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
# classes that transformers 5 loads as one without `token_type_ids`
CLASSES = [
    "PreTrainedTokenizerFast",
    "TokenizersBackend",
    "HerbertTokenizerFast",
    "SplinterTokenizer",
    "FunnelTokenizer",
    "DistilBertTokenizer",
    "AlbertTokenizer",
    "RemBertTokenizer",
]


def save_tokenizer(folder, tokenizer_class, tokenizer, context_segment=1):
    """Save a tokenizer.json with the template 0 0 0 1 1, and the class in tokenizer_config.json."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    if tokenizer_class in ("AlbertTokenizer", "RemBertTokenizer"):  # these need a unigram model
        pieces = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
        backend = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], unk_id=1))
        backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [(token, tokenizer.get_vocab()[token]) for token in ("[CLS]", "[SEP]")]
    pair = f"[CLS]:0 $A:0 [SEP]:0 $B:{context_segment} [SEP]:{context_segment}"
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair=pair, special_tokens=special
    )
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    values = {"tokenizer_class": tokenizer_class, **SPECIAL}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))


@pytest.fixture
def load(tmp_path, tokenizer, capsys):
    """A function that returns the tokenizer of a model folder, saved and loaded again, and what is printed."""

    def load(tokenizer_class, config=None, **template):
        folder = tmp_path / "model"
        save_tokenizer(folder, tokenizer_class, tokenizer, **template)
        if config:
            config.save_pretrained(folder)
        loaded = load_tokenizer("large", str(folder), None)
        loaded.save_pretrained(tmp_path / "saved")
        saved = tokenization.load(tmp_path / "saved")
        assert tokenization.fingerprint(saved) == tokenization.fingerprint(loaded)
        return saved, capsys.readouterr().out

    return load


@pytest.mark.parametrize("tokenizer_class", CLASSES)
def test_the_template_decides_the_segments_where_the_model_has_two(load, records, tokenizer_class):
    tokenizer, printed = load(tokenizer_class, BertConfig())
    for window in windows(records, tokenizer, 64, 16):
        question, rest = window.context[0], len(window.input_ids) - window.context[0]
        assert window.token_type_ids.tolist() == [0] * question + [1] * rest
    assert tokenizer("a", "b")["token_type_ids"] == [0, 0, 0, 1, 1] and not printed  # the library's answer too


@pytest.mark.parametrize("config", [DistilBertConfig(), BertConfig(type_vocab_size=1), None])
def test_a_model_without_two_segments_leaves_the_tokenizer_as_it_is(load, config):
    tokenizer, printed = load("PreTrainedTokenizerFast", config)
    assert not tokenization.has_segments(tokenizer) and not printed


@pytest.mark.parametrize(("segment", "listed"), [(0, r"[0]"), (2, r"[0, 2]")])
def test_a_template_without_usable_segments_is_named(load, records, segment, listed):
    tokenizer, printed = load("PreTrainedTokenizerFast", BertConfig(), context_segment=segment)
    assert printed.startswith("large: ") and listed in printed and printed.count("\n") == 1
    assert not any(window.token_type_ids.any() for window in windows(records, tokenizer, 64, 16))


def test_the_segments_reach_the_models_embedding(load, records):
    tokenizer, _ = load("PreTrainedTokenizerFast", BertConfig())
    features = pack(windows(records[:1], tokenizer, 64, 16))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForQuestionAnswering(BertConfig(vocab_size=len(tokenizer), **sizes))
    seen = []
    model.bert.embeddings.token_type_embeddings.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    predict(model, features, tokenizer.pad_token_id)
    (ids,) = seen
    np.testing.assert_array_equal(ids[0].numpy(), features.token_type_ids)
    assert set(features.token_type_ids.tolist()) == {0, 1}


def test_answers_without_a_token_are_counted(workspace, records, tokenizer, capsys):
    paths.empty_folder(paths.FEATURES)
    paths.empty_folder(paths.DATASET)
    for record in records[1:3]:
        start = len(record["context"]) + 1
        record |= {"context": record["context"] + " \ufffd", "answers": {"text": ["\ufffd"], "answer_start": [start]}}
    write_records(records, paths.DATASET / "train.parquet")
    stored = {"train": open_records(paths.DATASET / "train.parquet")}
    write_windows("large", tokenizer, stored, Tokenize(max_length=26, stride=6), {"train": ()})
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "no token" in line)
    assert line.startswith("large, train: ") and " 2 questions" in line and line.endswith(records[1]["id"])


@pytest.fixture
def long_questions(workspace):
    """A function that writes questions and parameters with this dataset.faulty; returns the ids of two long questions.

    Only the student's tokenizer, of bytes, makes more tokens of them than a window has room for.
    """

    def write(faulty):
        texts, ids = [], {}
        paths.RAW.mkdir(parents=True, exist_ok=True)
        for split, size in (("train", 24), ("validation", 8)):
            records = list(synthetic.corpus(split, size, seed=0))
            records[5]["question"] += " " + "\u0298" * 40
            ids[split] = records[5]["id"]
            texts += [record["context"] for record in records]
            (paths.RAW / f"{split}.json").write_text(json.dumps(records))
        tokenizer = byte_level(texts, 400, trim_offsets=True)
        tokenizer.save_pretrained(paths.RAW / "roberta")
        sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 1}
        places = {"max_position_embeddings": 70, "pad_token_id": tokenizer.pad_token_id, "type_vocab_size": 1}
        config = RobertaConfig(vocab_size=len(tokenizer), **sizes, **places)
        RobertaForQuestionAnswering(config).save_pretrained(paths.RAW / "roberta")
        files = {f"{split}_file": f"data/raw/{split}.json" for split in ids}
        all_of_them = {"train_size": None, "validation_size": None}
        write_params(
            dataset={"source": "files", **files, **all_of_them, "faulty": faulty},
            backbone={"model": "data/raw/roberta", "layers": None},
        )
        return ids

    return write


@pytest.mark.slow
def test_a_question_too_long_for_one_model_is_left_out_for_all_and_scored_0(long_questions, capsys):
    ids = long_questions("drop")
    run_all(*ALL_STAGES)
    rows = [json.loads(line) for line in (paths.FEATURES / "faulty.jsonl").read_text().splitlines()]
    assert [(row["split"], row["id"], row["action"]) for row in rows] == [
        ("train", ids["train"], "left out"),
        ("validation", ids["validation"], "scored 0"),
    ]
    assert all("student" in row["reason"] for row in rows)
    out = capsys.readouterr().out
    mentions(out, "train: 1 questions", "validation: 1 questions", "too long")
    for model in ("large", "student"):
        for split, size in (("train", 24), ("validation", 8)):
            assert set(read_features(paths.features(model, split)).record) == set(range(size)) - {5}
    table = pq.read_table(paths.question_scores(paths.PREDICTIONS)).to_pylist()
    assert len(table) == json.loads(paths.EVAL_METRICS.read_text())["questions"] == 8
    assert (table[5]["windows"], table[5]["prediction"], table[5]["f1"]) == (0, None, 0)
    assert all(row["windows"] and row["prediction"] for row in table if row is not table[5])


def test_questions_that_are_too_long_stop_the_stage_by_default(long_questions):
    ids = long_questions("error")
    dataset.main()
    with pytest.raises(InputError, match=r"2 questions .*dataset\.faulty") as raised:
        tokenize.main()
    lines = str(raised.value).split("\n")
    assert [ids[split] in line for split, line in zip(ids, lines[1:], strict=True)] == [True, True]
    assert not (paths.FEATURES / "large").exists()

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

from pipeline import paths
from pipeline.answering import answerer
from pipeline.answering.answerer import Answerer, sentence
from pipeline.checksums import seal
from pipeline.models.student import Answering, Student
from pipeline.questions import long_texts
from pipeline.questions.records import read_records
from pipeline.questions.windows import encode
from pipeline.stages import evaluate, train
from tests import tiny
from tests.conftest import MILL, TEA
from tests.words import refused

SETTINGS = Answering(max_length=26, stride=6, max_answer_length=30, null_threshold=None, confidence_temperature=2.0)


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForQuestionAnswering(BertConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes))


def questions_of(records):
    return [(record["question"], record["context"]) for record in records]


@pytest.mark.slow
@pytest.mark.parametrize("unanswerable", [False, True])
def test_answers_are_those_of_evaluate(with_logits, unanswerable):
    tiny.run_all(train)
    if unanswerable:
        config = json.loads((paths.STUDENT / "config.json").read_text())
        config["answering"]["null_threshold"] = 0.1
        (paths.STUDENT / "config.json").write_text(json.dumps(config))
        seal(paths.STUDENT)
        found = Answerer.from_pretrained(paths.STUDENT).answers(
            questions_of(read_records(paths.DATASET / "validation.parquet")), n_best=30
        )
        assert all([reply.text for reply in replies].count("") == 1 for replies in found)
        for replies in found:
            null = next(reply for reply in replies if not reply.text)
            best = next(reply for reply in replies if reply.text)
            assert (replies[0] is null) == (null.score - best.score > 0.1)
        return
    tiny.run_all(evaluate)
    expected = [json.loads(line) for line in (paths.PREDICTIONS / "nbest.jsonl").read_text().splitlines()]
    records = read_records(paths.DATASET / "validation.parquet")
    assert [row["id"] for row in expected] == [record["id"] for record in records]
    found = Answerer.from_pretrained(paths.STUDENT).answers(questions_of(records), n_best=5)
    for replies, row in zip(found, expected, strict=True):
        for reply, answer in zip(replies, row["answers"], strict=True):
            assert (reply.text, reply.start, reply.end) == (answer["text"], answer["start"], answer["end"])
            assert reply.score == pytest.approx(answer["score"], abs=1e-5)


def test_confidences_of_all_candidates_add_up(model, tokenizer, records):
    for replies in Answerer(model, tokenizer, SETTINGS).answers(questions_of(records), n_best=100):
        assert len(replies) == 20
        assert sum(reply.confidence for reply in replies) == pytest.approx(1)
        assert [reply.confidence for reply in replies] == sorted((reply.confidence for reply in replies), reverse=True)


def test_a_context_is_tokenized_once_and_answered_in_groups(model, tokenizer, records, monkeypatch):
    asked = questions_of(records) * 3 + [("Who?", "")]
    expected = Answerer(model, tokenizer, SETTINGS).answers(asked)
    assert expected[-1] == []
    monkeypatch.setattr(answerer, "MOST_WINDOWS", 3)
    counts, done = [], []
    predict = answerer.predict
    monkeypatch.setattr(answerer, "predict", lambda m, f, *a, **o: counts.append(len(f)) or predict(m, f, *a, **o))
    found = Answerer(model, tokenizer, SETTINGS).answers(asked, progress=done.append)
    assert len(counts) > 3 and max(counts) == 3  # a question is divided
    assert sum(done) == sum(len(context) for _, context in asked)
    for a, b in zip(found, expected, strict=True):
        assert [reply.text for reply in a] == [reply.text for reply in b]


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_a_long_text_is_answered_as_in_one_piece(model, tokenizer, monkeypatch, threshold):
    asked = [(question, f"{TEA}\n{MILL} " * 30) for question in ("Who owned the café?", "Where?")] + [("When?", MILL)]
    long = Answerer(model, tokenizer, replace(SETTINGS, null_threshold=threshold))
    expected = long.answers(asked, n_best=21)
    monkeypatch.setattr(answerer, "MOST_WINDOWS", 50)
    monkeypatch.setattr(long_texts, "PIECE", 500)
    read, tokenized = [], []
    found = long.answers(asked, 21, read.append, tokenized.append)
    assert sum(read) == sum(len(context) for _, context in asked) and min(read) >= 0
    assert len(tokenized) > 5 and sum(tokenized) == len(asked[0][1])
    known = {asked[0][1]: long_texts.tokenize(asked[0][1], lambda texts: encode(texts, tokenizer))}
    assert long.answers(asked, 21, tokenized=None, tokens=known) == found
    for ours, theirs in zip(found, expected, strict=True):
        assert [(reply.text, reply.start) for reply in ours] == [(reply.text, reply.start) for reply in theirs]
        scores = [
            [getattr(reply, name) for reply in both] for both in (ours, theirs) for name in ("score", "confidence")
        ]
        np.testing.assert_allclose(scores[:2], scores[2:], atol=1e-4)


@pytest.mark.parametrize("callback", ["progress", "tokenized"])
def test_a_callback_can_stop_the_work(model, tokenizer, monkeypatch, callback):
    monkeypatch.setattr(long_texts, "PIECE", 500)
    calls = []

    def stop(characters):
        calls.append(characters)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Answerer(model, tokenizer, SETTINGS).answers([("Who?", TEA * 300)], **{callback: stop})
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_length": 26}, "stride, max_answer_length, null_threshold, confidence_temperature"),
        (5, "5 object"),
        (vars(SETTINGS) | {"stride": "7"}, "stride '7'"),
        (vars(SETTINGS) | {"max_length": True}, "max_length True"),
        (vars(SETTINGS) | {"stride": 26}, "stride 26"),
        (vars(SETTINGS) | {"confidence_temperature": 0}, "confidence_temperature 0"),
        (vars(SETTINGS) | {"null_threshold": float("nan")}, "null_threshold NaN"),
        (vars(SETTINGS) | {"confidence_temperature": None}, "confidence_temperature None"),
    ],
)
def test_a_config_without_a_setting_is_refused(settings, expected, model, tokenizer, tmp_path):
    student = Student.from_encoder(model.base_model, "mlp", 0)
    student.config.answering = settings
    student.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with refused(tmp_path / "config.json", "`answering`", *expected.split()):
        Answerer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("tea", "Zoë sold tea."),
        ("1899", "It opened in 1899!"),
        ("end", "No end"),
        ("opened in 1899! Zoë", "It opened in 1899! Zoë sold tea."),
        ("三", "第三句。"),
        ("3.5", "It cost 3.5 pounds."),
    ],
)
def test_the_sentence_around_an_answer(span, expected):
    text = "It opened in 1899! Zoë sold tea.\nIt cost 3.5 pounds. 第二句。第三句。 \n No end"
    start = text.index(span)
    first, last = sentence(text, start, start + len(span))
    assert text[first:last] == expected


def test_a_sentence_without_end_is_cut(monkeypatch):
    monkeypatch.setattr(answerer, "FAR", 10)
    text = "words " * 10 + "answer" + " words" * 10
    assert text[slice(*sentence(text, 60, 66))] == "rds words answer words wor"


def test_offsets_are_characters_of_the_context(model, tokenizer):
    context = "Zoë sold 🍰 cakes to the quiet people. " * 20
    (replies,) = Answerer(model, tokenizer, SETTINGS).answers([("Who?", context)], n_best=20)
    assert replies and all(context[reply.start : reply.end] == reply.text for reply in replies)
    assert np.isfinite([reply.score for reply in replies]).all()

import numpy as np
import pytest

from pipeline import paths
from pipeline.about import Example, read_about
from pipeline.answering import examples
from pipeline.answering.examples import choose_examples, trained_on
from pipeline.checksums import verified
from pipeline.models.student import Answering
from pipeline.questions.features import SpanLogits
from pipeline.questions.records import read_records
from pipeline.questions.windows import pack, windows
from pipeline.stages import train
from tests import tiny
from tests.conftest import MILL, TEA, _record

SETTINGS = Answering(64, 16, 30, None, 1.0)


@pytest.fixture
def records(records):
    unanswerable = {**records[0], "id": "none", "answers": {"text": [], "answer_start": []}, "is_impossible": True}
    third = _record("third", "Three oaks stand here.", "What stands here?", "Three oaks")
    long = _record("long", TEA * 100, "When did it open?", "1899")
    return [unanswerable, *records, long, third]


def chosen(records, tokenizer, right, settings=SETTINGS):
    """The examples, if the student gives the right answer to records with these ids, and else the first token."""
    features = pack(windows(records, tokenizer, settings.max_length, settings.stride))

    def predict(some):
        keys = {bytes(key): i for i, key in enumerate(features.keys)}
        start, end = np.zeros((2, len(some.input_ids)), np.float32)
        for i, key in enumerate(some.keys):
            window = keys[bytes(key)]
            is_right = records[features.record[window]]["id"] in right
            first, last = features.labels[window] if is_right else [features.context[window, 0]] * 2
            start[some.starts[i] + first] = end[some.starts[i] + last] = 10
        return SpanLogits(start, end)

    return choose_examples(records, features, predict, settings, "squad")


def test_examples_are_about_different_texts_and_those_answered_right_come_first(records, tokenizer):
    found = chosen(records, tokenizer, {"tea-2", "third"})
    assert found == [
        Example("Who owned the café?", TEA, "Zoë Grün"),
        Example("What stands here?", "Three oaks stand here.", "Three oaks"),
        Example("Where does the old mill stand?", MILL, "by the river"),
    ]


def test_no_answer_to_an_example_is_not_right(records, tokenizer):
    declines = Answering(64, 16, 30, -100.0, 1.0)
    assert chosen(records, tokenizer, {"tea-2", "third"}, declines)[0].question == "When did the café open?"
    assert chosen(records, tokenizer, {"tea-2"}, Answering(64, 16, 30, 5.0, 1.0))[0].question == "Who owned the café?"


def test_few_questions_are_tried(records, tokenizer, monkeypatch):
    monkeypatch.setattr(examples, "TRIED", 2)
    found = chosen(records, tokenizer, {"tea-2", "third"})
    assert [example.question for example in found] == ["When did the café open?", "Where does the old mill stand?"]


def test_without_answers_there_are_none(records, tokenizer):
    assert chosen(records[:1], tokenizer, set()) == []


def test_what_a_student_was_trained_on():
    hub = {"source": "squad", "train_file": None}
    assert trained_on(hub, 87_599) == "87,599 questions of squad"
    assert trained_on({"source": "files", "train_file": "a/train.json"}, 1) == "1 questions of a/train.json"
    both = {"source": "files", "train_file": "a/train.json", "unlabelled_file": "a/more.json"}
    assert trained_on(both, 2) == "2 questions of a/train.json and a/more.json"
    assert "synthetic" in trained_on({"source": "synthetic", "train_file": None}, 5)


@pytest.mark.slow
def test_the_train_stage_stores_them_with_the_student(with_logits):
    tiny.run_all(train)
    about = read_about(verified(paths.STUDENT, "train"))
    assert about.trained_on.startswith("24 questions ")
    records = {record["question"]: record for record in read_records(paths.DATASET / "validation.parquet")}
    assert len(about.examples) == len({record["context"] for record in records.values()}) == 2
    for example in about.examples:
        record = records[example.question]
        assert (example.context, example.answer) == (record["context"], record["answers"]["text"][0])

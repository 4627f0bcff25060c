"""A teacher's answers from its logits; tests/stages/test_answers.py runs the command."""

import numpy as np
import pytest

from pipeline import paths
from pipeline.commands import answers
from pipeline.errors import InputError
from pipeline.questions.features import SpanLogits
from tests.commands.command_line import options
from tests.logits.rows import one_hot


def test_the_command_line(tmp_path):
    assert options("answers", "large") == {"teacher": "large", "n_best": 20, "out": None}
    out = tmp_path / "a.jsonl"
    assert options("answers", "large", "--n-best", 1, "--out", out) == {"teacher": "large", "n_best": 1, "out": out}


@pytest.mark.parametrize(("teacher", "n_best", "words"), [("small", 20, "'small'.*large"), ("large", 21, "21.*20")])
def test_a_wrong_argument_is_refused(workspace, teacher, n_best, words):
    with pytest.raises(InputError, match=words):
        answers.main(teacher, n_best, paths.DATA / "a.jsonl")


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_answers_are_those_of_the_logits_for_batches_of_any_size(features, records, monkeypatch, batch):
    monkeypatch.setattr(answers, "QUESTIONS_PER_BATCH", batch)
    found = dict(answers.answers(features, SpanLogits(*one_hot(features)), records, 30, may_decline=False))
    whole = {records[i]["id"] for i in features.record[features.labels[:, 1] > 0]}
    assert list(found) == [record["id"] for record in records] and whole
    for record in records:
        rows = answers.as_rows(found[record["id"]])
        assert sum(row["probability"] for row in rows) == pytest.approx(1)
        assert all(record["context"][row["start"] : row["end"]] == row["text"] for row in rows)
        if record["id"] in whole:
            # next to this answer, all others have the probability 0 and are left out
            assert [(row["text"], row["probability"]) for row in rows] == [(record["answers"]["text"][0], 1.0)]


def test_no_answer_has_the_probability_of_its_null_score(features, records):
    logits = SpanLogits(*np.zeros((2, len(features.input_ids)), dtype=np.float32))
    found = dict(answers.answers(features, logits, records, 30, may_decline=True))
    rows = answers.as_rows(found["tea-1"])
    assert [row["probability"] for row in rows] == pytest.approx([1 / 21] * 21)
    assert [(row["start"], row["end"]) for row in rows if not row["text"]] == [(0, 0)]


def test_a_question_with_a_window_without_a_target_has_no_answers(features, records):
    logits = SpanLogits(*one_hot(features))
    for end in logits:
        end[features.tokens(int(np.flatnonzero(features.record == 2)[0]))] = -np.inf
    found = dict(answers.answers(features, logits, records, 30, may_decline=True))
    assert [bool(found[record["id"]]) for record in records] == [True, True, False, True]

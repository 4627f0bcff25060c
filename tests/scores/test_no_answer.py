"""Scores with unanswerable questions; tests/stages/test_unanswerable.py compares them with the official evaluation."""

import numpy as np
import pytest

from pipeline.questions.windows import pack, windows
from pipeline.scores import null_threshold
from pipeline.scores.metrics import scores
from pipeline.scores.question_scores import null_odds, question_scores
from pipeline.scores.spans import null_scores


@pytest.fixture(autouse=True)
def unshrunk(monkeypatch):
    """Thresholds of a few questions as they are chosen."""
    monkeypatch.setattr(null_threshold, "SHRINKAGE", 0)


@pytest.fixture
def impossible(records):
    """Two questions with an answer and two without, about four articles."""
    without = {"answers": {"text": [], "answer_start": []}, "is_impossible": True}
    return [{**record, "title": str(i), **(without if i % 2 else {})} for i, record in enumerate(records)]


@pytest.fixture
def split(impossible, tokenizer):
    return pack(windows(impossible, tokenizer, max_length=26, stride=6)), impossible


def labelled_logits(features, height, cls):
    """Logits that are `height` at the labels and `cls` at [CLS] of each window's question."""
    values = np.zeros((2, len(features.input_ids)), dtype=np.float32)
    for side in (0, 1):
        values[side, features.starts[:-1]] = np.array(cls)[features.record]
        spans = features.labels[:, 1] > 0
        values[side, (features.starts[:-1] + features.labels[:, side])[spans]] = height
    return values


def test_the_threshold_is_chosen_on_other_questions(split):
    # with threshold 0, "" is the answer to all; the odds are 6 for the questions with an answer and 12 for the others
    features, records = split
    found, answers = scores(features, records, labelled_logits(features, 1.0, [4, 6, 4, 6]), 30)
    assert (found["exact_match"], found["f1"]) == (100, 100)
    assert (found["HasAns_f1"], found["NoAns_f1"], found["no_answer_rate"]) == (100, 100, 50)
    assert (found["exact_at_0"], found["f1_at_0"], found["no_answer_rate_at_0"]) == (50, 50, 100)
    assert (found["best_f1"], found["best_f1_thresh"], found["null_threshold"]) == (100, 6, 6)
    assert found["null_average_precision"] == 100
    assert [answer[0].text for answer in answers][1::2] == ["", ""]


def test_no_answer_is_ranked_among_the_spans(split):
    features, records = split
    values = labelled_logits(features, 1.0, [4, 6, 4, 6])
    _, answers = scores(features, records, values, 30, n_best=3)
    expected = null_scores(features, *values, len(records))
    for found, score in zip(answers, expected, strict=True):
        assert len(found) == 4
        (none,) = (answer for answer in found if not answer.text)
        assert none.score == score
        assert null_odds(found) == score - max(answer.score for answer in found if answer.text)
    table = question_scores(features, records, answers)
    assert table["null_odds"].to_pylist() == [null_odds(found) for found in answers]
    assert table["prediction"].to_pylist() == [found[0].text for found in answers]


def test_max_answer_length_limits_spans_and_not_no_answer(split):
    features, records = split
    values = np.random.default_rng(0).normal(size=(2, len(features.input_ids))).astype(np.float32)
    short, long = (scores(features, records, values, longest)[1] for longest in (1, 30))
    assert [[a.score for a in found if not a.text] for found in short] == [
        [a.score for a in found if not a.text] for found in long
    ]
    assert all(null_odds(one) >= null_odds(other) for one, other in zip(short, long, strict=True))
    assert any(null_odds(one) > null_odds(other) for one, other in zip(short, long, strict=True))


def test_no_answer_is_right_for_an_unanswerable_question_whose_context_has_no_tokens(impossible, tokenizer):
    records = [{**impossible[1], "context": "\u200b \u200b"}, *impossible]
    features = pack(windows([{**record, "id": str(i)} for i, record in enumerate(records)], tokenizer, 26, 6))
    found, answers = scores(features, records, labelled_logits(features, 1.0, [-9, 4, 6, 4, 6]), 30)
    assert [answer.text for answer in answers[0]] == [""] and answers[0][0].score == -18
    assert (found["NoAns_total"], found["NoAns_f1"], found["exact_match"]) == (3, 100, 100)
    assert (found["no_answer_rate"], found["no_answer_rate_at_0"], found["best_f1"]) == (60, 100, 100)
    assert (found["exact_at_0"], found["null_threshold"]) == (60, 6)
    assert question_scores(features, records, answers)["prediction"].to_pylist()[0] == ""


def test_a_question_without_windows_is_wrong_even_if_unanswerable(split):
    features, records = split
    without = {**records[1], "id": "no windows", "title": "another"}
    found, answers = scores(features, [*records, without], labelled_logits(features, 1.0, [4, 6, 4, 6]), 30)
    assert answers[-1] == []
    assert found["NoAns_total"] == 3
    assert found["NoAns_exact"] == pytest.approx(200 / 3)
    assert found["best_exact"] == 80


def test_without_unanswerable_questions_there_are_no_more_scores(features, records):
    found, answers = scores(features, records, labelled_logits(features, 1.0, [0] * 4), 30)
    assert list(found) == ["exact_match", "f1", "span_accuracy", "questions"]
    assert all(answer.text for found in answers for answer in found)
    table = question_scores(features, records, answers)
    assert table["answerable"].to_pylist() == [True] * 4 and table["null_odds"].null_count == 4

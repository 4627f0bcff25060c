"""SQuAD 2.0's evaluation: each of its rules, and agreement with a second implementation, question by question."""

import random

import numpy as np
import pytest

from pipeline.scores import mlqa_metric
from pipeline.scores.squad2_metric import best_score, by_answerability, score_each
from tests.scores.squad2_oracle import oracle


def record(identifier, *references):
    return {"id": identifier, "answers": {"text": list(references), "answer_start": [0] * len(references)}}


def scores_of(prediction, *references):
    found = score_each({"q": prediction}, [record("q", *references)])
    return found["exact_match"][0], found["f1"][0]


@pytest.mark.parametrize(
    "prediction, references, expected",
    [
        ("", (), (1, 1)),
        ("cat", (), (0, 0)),
        ("the", (), (1, 1)),  # normalizes to nothing
        ("", ("cat",), (0, 0)),
        ("The cat", ("cat",), (1, 1)),
        ("black cat", ("dog", "cat"), (0, pytest.approx(2 / 3))),
        ("a", ("the", "cat"), (0, 0)),  # the reference "the" is dropped, one is left
        ("a", ("the", "!"), (1, 1)),  # none is left: the reference is ""
        ("cat", ("the",), (0, 0)),
        ("!", ("cat",), (0, 0)),  # one side is empty
    ],
)
def test_exact_match_and_f1(prediction, references, expected):
    assert scores_of(prediction, *references) == expected


def test_a_question_without_a_prediction_counts_as_0_even_if_unanswerable():
    found = score_each({"a": ""}, [record("a"), record("b"), record("c", "cat")])
    assert found == {"exact_match": [1, 0, 0], "f1": [1, 0, 0]}


def test_the_rules_hold_for_the_normalization_of_another_language():
    predictions = {"a": "", "b": "die", "c": "", "d": "eine Katze"}
    records = [record("a"), record("b"), record("c", "das"), record("d", "Katze")]
    found = score_each(predictions, records, mlqa_metric.metric("de"))
    assert found == {"exact_match": [1, 1, 1, 1], "f1": [1, 1, 1, 1]}


def test_the_two_kinds_of_questions_apart():
    scores = {"exact_match": np.array([1, 0, 1, 0]), "f1": np.array([1, 0.5, 1, 0])}
    answerable = np.array([True, True, False, False])
    assert by_answerability(scores, answerable) == {
        "HasAns_exact": 50, "HasAns_f1": 75, "HasAns_total": 2, "NoAns_exact": 50, "NoAns_f1": 50, "NoAns_total": 2,
    }  # fmt: skip
    assert set(by_answerability(scores, np.ones(4, bool))) == {"HasAns_exact", "HasAns_f1", "HasAns_total"}


@pytest.mark.parametrize(
    "scores, odds, answerable, predictions, expected",
    [
        # "" for all: one of two is right, at threshold 0.0, although the odds are above it only for both
        ([0, 0], [5, 9], [True, False], ["x", "y"], (50, 0.0)),
        ([0, 0], [-5, -9], [True, False], ["x", "y"], (50, 0.0)),
        # the answerable question is answered, at its own odds
        ([1, 0], [-2, 3], [True, False], ["x", "y"], (100, -2)),
        # the same, but no threshold comes between equal odds; the sweep stops there anyway
        ([1, 0], [3, 3], [True, False], ["x", "y"], (100, 3)),
        # "the" is not "", so it costs the point of the unanswerable question although its own score is 1
        ([1, 1], [2, 3], [False, True], ["the", "x"], (50, 0.0)),
        ([1, 1], [2, 3], [False, True], ["", "x"], (100, 3)),
        # the first of several best thresholds
        ([1, 0, 0], [1, 2, 3], [True, True, False], ["x", "y", "z"], (pytest.approx(200 / 3), 1)),
        # no prediction: never right, in the denominator
        ([0, 1], [np.nan, 3], [False, True], [None, "x"], (50, 3)),
    ],
)
def test_the_best_threshold(scores, odds, answerable, predictions, expected):
    assert best_score(np.array(scores), np.array(odds), np.array(answerable), predictions) == expected


@pytest.mark.parametrize("seed", range(40))
def test_the_figures_are_those_of_the_published_rules(seed):
    rng = random.Random(seed)
    vocabulary = ["cat", "the", "a", "dog", "!", "Black", "cat.", "an"]

    def text(least=1):
        return " ".join(rng.choices(vocabulary, k=rng.randint(least, 3)))

    questions = {str(i): [text() for _ in range(rng.choice([0, 0, 1, 3]))] for i in range(rng.choice([1, 5, 60]))}
    predictions = {q: text(least=rng.choice([0, 1])) for q in questions}
    odds = {q: rng.choice([-2.0, -1.5, -1.0, 0.0, 0.5, 3.0, rng.gauss(0, 1)]) for q in questions}
    threshold = rng.choice([0.0, -1.0, 0.5, 9.0])
    expected = oracle(questions, predictions, odds, threshold)

    records = [record(q, *references) for q, references in questions.items()]
    answerable = np.array([bool(references) for references in questions.values()])
    values, texts = np.array(list(odds.values())), list(predictions.values())
    raw = {name: np.array(each) for name, each in score_each(predictions, records).items()}
    final = {key: np.where(values > threshold, ~answerable, each) for key, each in raw.items()}
    found = by_answerability(final, answerable)
    for key, name in (("exact", "exact_match"), ("f1", "f1")):
        found[key] = 100 * final[name].mean()
        found[f"best_{key}"], found[f"best_{key}_thresh"] = best_score(raw[name], values, answerable, texts)
    totals = {key: found.pop(key) for key in ("HasAns_total", "NoAns_total") if key in found}
    assert found == pytest.approx(expected)
    assert sum(totals.values()) == len(questions)

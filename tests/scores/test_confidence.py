import numpy as np
import pytest

from pipeline.scores import confidence
from pipeline.scores.confidence import adjusted, calibrate, calibration_error, confidences, ranked
from pipeline.scores.spans import Answer


def spans(*scores):
    return [Answer(f"answer {i}", i, i + 1, score) for i, score in enumerate(scores)]


def record(identifier, *references):
    return {"id": identifier, "answers": {"text": list(references), "answer_start": [0] * len(references)}}


def test_confidences_are_shares_of_the_softmax_at_the_temperature():
    found = confidences(spans(3.0, 1.0), None, temperature=2.0)
    assert found == pytest.approx(np.exp([1.5, 0.5]) / np.exp([1.5, 0.5]).sum())
    assert len(confidences([], None, 1.0)) == 0


def test_no_answer_is_ranked_by_its_score_less_the_threshold():
    candidates = [*spans(3.0, 1.0), Answer("", 0, 0, 5.0)]
    assert [answer.text for answer in ranked(candidates, 1.5)] == ["", "answer 0", "answer 1"]
    # null odds of 2 are not above a threshold of 2
    assert [answer.text for answer in ranked(candidates, 2.0)] == ["answer 0", "", "answer 1"]
    assert adjusted(candidates, 1.5).tolist() == [3.0, 1.0, 3.5]
    assert confidences(candidates, 1.5, 1.0)[2] == pytest.approx(np.exp(3.5) / np.exp([3.0, 1.0, 3.5]).sum())


def test_the_calibration_error_of_two_bins_is_the_weighted_distance():
    values, right = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55]), np.array([1, 1, 1, 0, 1, 1])
    assert calibration_error(values, right) == pytest.approx(100 * (4 * 0.2 + 2 * 0.45) / 6)
    assert calibration_error(np.array([1.0, 0.0]), np.array([1, 0])) == 0


def test_the_temperature_that_made_the_answers_right_is_found():
    rng = np.random.default_rng(0)
    records, answers = [], []
    for i in range(4000):
        scores = np.sort(rng.normal(0, 4, 5))[::-1]
        shares = np.exp(scores / 3)
        right = rng.choice(5, p=shares / shares.sum())
        answers.append(spans(*scores))
        records.append(record(str(i), f"answer {right}"))
    found = calibrate(records, answers, "squad", None)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.error < 2 < 5 < found.error_before
    again = calibrate(records, answers, "squad", None, found.temperature)
    assert again == found


def test_unanswerable_questions_and_questions_without_candidates_count_as_they_are():
    records = [record("a", "answer 0"), record("b"), record("c", "x")]
    answers = [[*spans(2.0), Answer("", 0, 0, 0.0)], [*spans(0.0), Answer("", 0, 0, 2.0)], []]
    found = calibrate(records, answers, "squad", 0.0, temperature=1.0)
    share = np.exp(2) / (1 + np.exp(2))
    assert found.error == pytest.approx(100 * (1 - share))
    assert calibrate(records[2:], answers[2:], "squad", None) == confidence.Calibration(1.0, 0.0, 0.0)

import numpy as np
import pytest

from pipeline.scores import confidence
from pipeline.scores.confidence import adjusted, calibrate, calibration_error, chance_error, confidences, ranked
from pipeline.scores.spans import Answer


def spans(*scores):
    return [Answer(f"answer {i}", i, i + 1, score) for i, score in enumerate(scores)]


def record(identifier, *references, title="article"):
    answers = {"text": list(references), "answer_start": [0] * len(references)}
    return {"id": identifier, "title": title, "context": f"about {identifier}", "answers": answers}


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


def drawn(rng, questions, temperature, bias=1.0):
    """Records and candidates: the best is right with its share at a temperature, times a bias."""
    records, answers = [], []
    for i in range(questions):
        scores = np.sort(rng.normal(0, 4, 5))[::-1]
        shares = np.exp(scores / temperature)
        shares[0] *= bias
        records.append(record(str(i), f"answer {rng.choice(5, p=shares / shares.sum())}", title=f"article {i % 40}"))
        answers.append(spans(*scores))
    return records, answers


@pytest.mark.slow
def test_the_temperature_that_made_the_answers_right_is_found():
    records, answers = drawn(np.random.default_rng(0), 4000, 3)
    found = calibrate(records, answers, "squad", None)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.error < 2 < 5 < found.error_before
    assert found.chance_error == pytest.approx(found.error, abs=1)
    again = calibrate(records, answers, "squad", None, found.temperature)
    assert again == found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("temperature", "bias"), [(1, 1), (1.2, 1), (1, 0.7), (0.8, 3), (3, 1)])
def test_calibration_never_raises_the_error(temperature, bias, seed):
    found = calibrate(*drawn(np.random.default_rng(seed), 300, temperature, bias), "squad", None)
    assert found.error <= found.error_before
    assert (found.temperature == 1) == (found.error == found.error_before)


def test_a_temperature_that_does_not_help_is_1():
    """What is fitted on an article does not hold for the others: each has its own temperature."""
    rng, records, answers = np.random.default_rng(1), [], []
    for article, temperature in enumerate([0.3, 0.3, 0.3, 5, 5]):
        for one, candidates in zip(*drawn(rng, 40, temperature), strict=True):
            records.append({**one, "id": f"{article} {one['id']}", "title": str(article)})
            answers.append(candidates)
    assert calibrate(records, answers, "squad", None).temperature == 1


def test_a_given_temperature_is_measured_where_it_was_not_fitted():
    records, answers = drawn(np.random.default_rng(2), 400, 1)
    found = calibrate(records, answers, "squad", None, temperature=2.5)  # of a student of an earlier version
    assert found.temperature == 2.5
    assert calibrate(records, answers, "squad", None, temperature=1.0).error == found.error_before


def test_the_error_of_right_confidences_falls_with_the_number_of_questions():
    rng = np.random.default_rng(3)
    errors = [chance_error(rng.random(questions)) for questions in (50, 1000, 4000)]
    assert errors == sorted(errors, reverse=True) and errors[0] > 10 > 4 > errors[1] > 2 > errors[2]
    values = rng.random(2000)
    right = (rng.random(2000) < values).astype(float)
    assert calibration_error(values, right) == pytest.approx(chance_error(values), rel=0.5)


def test_unanswerable_questions_and_questions_without_candidates_count_as_they_are():
    records = [record("a", "answer 0"), record("b"), record("c", "x")]
    answers = [[*spans(2.0), Answer("", 0, 0, 0.0)], [*spans(0.0), Answer("", 0, 0, 2.0)], []]
    found = calibrate(records, answers, "squad", 0.0, temperature=1.0)
    share = np.exp(2) / (1 + np.exp(2))
    assert found.error == pytest.approx(100 * (1 - share))
    assert calibrate(records[2:], answers[2:], "squad", None) == confidence.Calibration(1.0, 0.0, 0.0, 0.0)

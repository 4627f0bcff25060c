"""The standard error of a score, clustered by article or paragraph, and scores of one model with their errors.

Questions about one paragraph are correlated, and so are those about one article. Which is resampled says what an error
is about: new articles, or other paragraphs of the same articles. On SQuAD 1.1's development set, 48 articles, the
standard error of the F1 of the published BERT ensemble is .25 by paragraph and .47 by article; that of its difference
from Match-LSTM is .40 and .87. Coverage of nominal 95 % in sets of articles drawn from these, in 400 sets each:

    articles                      3     5     8    10    15    20    48
    F1, by article               92    94    93    94    95    93    95
    F1, by paragraph             72    70    71    70    71    68    70
    difference, by article       89    90    92    93    92    94    93
    difference, by paragraph     63    65    63    64    65    66    63
"""

import math
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

# Intervals by article then cover 93 %, and a sign-flip test can tell ten students apart: with n clusters its smallest p
# is 2 / 2^n, which with fewer than nine is above 0.05 after a correction for nine tests.
LEAST_ARTICLES = 10


class Clusters(NamedTuple):
    """Groups of questions whose scores are correlated.

    Attributes:
        labels: (N,) the cluster of each question.
        unit: "article" or "paragraph".
        articles: how many titles the questions have.
    """

    labels: np.ndarray
    unit: str
    articles: int

    @property
    def note(self) -> str:
        """What an interval is, in words; by paragraph, it says nothing of other articles."""
        scope = {0: " for these texts only", 1: " for this article only"}
        by_paragraph = scope.get(self.articles, f" for these {self.articles} articles only")
        return (
            f"95 % confidence intervals{by_paragraph if self.unit == 'paragraph' else ''}; {self.unit}s are resampled "
            f"because questions about the same {self.unit} are correlated"
        )


def clusters_of(table: pa.Table) -> Clusters:
    """The articles of the questions if there are `LEAST_ARTICLES`, else their paragraphs.

    An article is a title. A paragraph without a title is an article of its own; one with several has the first.

    Args:
        table: the scores of each question, with `paragraph`; without `article`, paragraphs are the clusters.
    """
    paragraphs = table["paragraph"].to_pylist()
    titles = table["article"].to_pylist() if "article" in table.column_names else [""] * len(paragraphs)
    title_of = dict(zip(reversed(paragraphs), reversed(titles), strict=True))
    articles = len(set(filter(None, title_of.values())))
    if articles < LEAST_ARTICLES:
        return Clusters(np.array(paragraphs), "paragraph", articles)
    return Clusters(np.array([title_of[each] or each for each in paragraphs]), "article", articles)


def with_errors(scores: dict[str, Any], table: pa.Table) -> dict[str, Any]:
    """The scores, with exact match and F1 first, each followed by its clustered standard error.

    A validation set of a single paragraph has no standard error; then the keys are left out.

    Args:
        scores: 0-100, by name.
        table: the scores of each question.
    """
    labels = clusters_of(table).labels
    first: dict[str, Any] = {}
    for name in ("exact_match", "f1"):
        first[name] = scores[name]
        if len(set(labels)) > 1:
            first[f"{name}_error"] = clustered_error(table[name].to_numpy(), labels)
    return {**first, **{name: value for name, value in scores.items() if name not in first}}


def clustered_error(scores: ArrayLike, clusters: ArrayLike) -> float:
    """Standard error of a mean score: sqrt(sum over clusters of (sum of deviations)^2 * C / (C - 1)) / N.

    Miller 2024 ("Adding error bars to evals", arXiv 2411.00640), with the correction for few clusters, C / (C - 1), of
    cluster-robust regression. Seeds are averaged first. Use it with a t distribution with C - 1 degrees of freedom.

    Args:
        scores: (N,) or (S, N).
        clusters: (N,) labels, numbers or strings.

    Raises:
        ValueError: no scores, NaN or infinity among them, another number of labels than of questions, a missing label,
            or fewer than two clusters.
    """
    sums, counts = cluster_sums(scores, clusters)
    return math.sqrt(question_variance(sums.mean(axis=0), counts))


def cluster_sums(scores: ArrayLike, clusters: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the scores (S, C) and numbers of questions (C,) of each cluster, in the order of the labels."""
    rows, labels = np.asarray(scores, dtype=float), np.asarray(clusters)
    if rows.ndim not in (1, 2):
        raise ValueError(f"scores must have the shape (questions,) or (seeds, questions), not {rows.shape}")
    if not rows.size:
        raise ValueError("no scores")
    if labels.shape != rows.shape[-1:]:
        raise ValueError(f"scores of {rows.shape[-1]} questions, but cluster labels of shape {labels.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("NaN or infinity among the scores")
    if any(label is None or label != label for label in labels.tolist()):
        raise ValueError("a cluster label is missing")
    names, codes = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise ValueError("an error needs questions about two paragraphs or more, and these are about one")
    sums = np.stack([np.bincount(codes, row) for row in np.atleast_2d(rows)])
    return sums, np.bincount(codes).astype(float)


def question_variance(sums: np.ndarray, counts: np.ndarray) -> float:
    """Clustered variance of sums.sum() / counts.sum(), both (C,)."""
    deviations = sums - counts * (sums.sum() / counts.sum())
    return float(clustered(deviations)) / float(counts.sum() ** 2)


def clustered(deviations: np.ndarray) -> float:
    """Sum of squares of the clusters' sums of deviations (…, C), with the correction for few clusters."""
    number = deviations.shape[-1]
    return float(np.sum(deviations**2)) * number / (number - 1)

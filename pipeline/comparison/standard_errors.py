"""Scores of one model with their standard errors."""

from typing import Any

import pyarrow as pa

from pipeline.comparison.statistics import clustered_error


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

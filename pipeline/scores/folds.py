"""Folds of questions for cross-fitting: what is fitted on some questions is measured on others."""

import hashlib
from collections.abc import Sequence

import numpy as np

from pipeline.questions.question import Question

FOLDS = 5


def units(records: Sequence[Question]) -> dict[str, list[str]]:
    """The article, paragraph and id of each record. Questions of one are correlated, so it should be in one fold."""
    return {
        "article": [record["title"] or "" for record in records],
        "paragraph": [record["context"] for record in records],
        "question": [record["id"] for record in records],
    }


def deal(groups: Sequence[str]) -> np.ndarray:
    """(N,) int, the fold of each question: its group is dealt to `FOLDS` folds in the order of a hash."""
    order = sorted(set(groups), key=lambda group: hashlib.blake2b(group.encode()).digest())
    fold = {group: i % FOLDS for i, group in enumerate(order)}
    return np.array([fold[group] for group in groups])


def balanced(records: Sequence[Question]) -> np.ndarray:
    """(N,) int, folds of the largest unit of which there are `FOLDS`; of questions if there are fewer of all."""
    for groups in units(records).values():
        if len(set(groups)) >= FOLDS:
            break
    return deal(groups)

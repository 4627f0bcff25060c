"""Students side by side: scores with intervals, and paired differences to a baseline with verdicts.

Pure: takes the scores of each question, returns rows. A student is a setting with all its seeds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.comparison.statistics import Estimate, compare, holm, mcnemar, score_interval, verdict


@dataclass(frozen=True)
class Student:
    """One setting, trained with one seed or several, and scored on N questions.

    Attributes:
        name: what tells it from the others.
        runs: the names of its S runs.
        exact_match, f1, agreement: (S, N), 0-100.
        parameters, nonzero_parameters, bytes: of the first run.
    """

    name: str
    runs: tuple[str, ...]
    exact_match: np.ndarray
    f1: np.ndarray
    agreement: np.ndarray
    parameters: int
    nonzero_parameters: int
    bytes: int


@dataclass(frozen=True)
class Row:
    """One student of a leaderboard; 0-100, intervals of 95 %. The differences are to the baseline, None in its own row.

    Attributes:
        seed_deviation: standard deviation of F1 between seeds; None with one seed.
        f1_p: of the F1 difference, Holm-corrected over the rows.
        exact_match_p: of the exact match difference, likewise.
        mcnemar_p: McNemar's exact test of exact match, uncorrected, which ignores paragraphs; None with several seeds.
        detectable: smallest F1 difference to the baseline that one test, uncorrected, shows with a power of 80 %.
        verdict: `better`, `worse` or `undecided`, by F1.
    """

    name: str
    runs: tuple[str, ...]
    exact_match: float
    exact_match_low: float
    exact_match_high: float
    f1: float
    f1_low: float
    f1_high: float
    question_error: float
    seed_deviation: float | None
    agreement: float
    parameters: int
    zeros: float
    bytes: int
    f1_difference: float | None = None
    f1_difference_low: float | None = None
    f1_difference_high: float | None = None
    f1_p: float | None = None
    exact_match_difference: float | None = None
    exact_match_p: float | None = None
    mcnemar_p: float | None = None
    detectable: float | None = None
    verdict: str | None = None


def leaderboard(students: Sequence[Student], paragraphs: np.ndarray, baseline: str) -> list[Row]:
    """A row for each student, highest F1 first.

    Args:
        paragraphs: (N,) the paragraph of each question.
        baseline: the name of the student that the others are compared with.

    Raises:
        ValueError: there are fewer than two paragraphs, the students' questions differ in number, or two students have
            one name.
    """
    if len({student.name for student in students}) < len(students):
        raise ValueError("two students have one name")
    (base,) = (student for student in students if student.name == baseline)
    others = [student for student in students if student is not base]
    differences = dict(zip((s.name for s in others), _differences(others, base, paragraphs), strict=True))
    rows = [Row(**_scores(student, paragraphs), **differences.get(student.name, {})) for student in students]
    return sorted(rows, key=lambda row: -row.f1)


def as_dict(row: Row) -> dict[str, Any]:
    """The row's values by name, for CSV and JSON; runs as one text."""
    return {**asdict(row), "runs": " ".join(row.runs)}


def with_interval(name: str, score: Estimate) -> dict[str, float]:
    """A score, 0-100, by its name, and the ends of its interval, which are no higher or lower than a score can be."""
    return {name: score.mean, f"{name}_low": max(score.low, 0.0), f"{name}_high": min(score.high, 100.0)}


def _scores(student: Student, paragraphs: np.ndarray) -> dict[str, Any]:
    exact_match, f1 = (score_interval(scores, paragraphs) for scores in (student.exact_match, student.f1))
    several = len(student.runs) > 1
    return {
        "name": student.name,
        "runs": student.runs,
        **with_interval("exact_match", exact_match),
        **with_interval("f1", f1),
        "question_error": f1.question_error,
        "seed_deviation": float(student.f1.mean(axis=1).std(ddof=1)) if several else None,
        "agreement": float(student.agreement.mean()),
        "parameters": student.parameters,
        "zeros": 1 - student.nonzero_parameters / student.parameters,
        "bytes": student.bytes,
    }


def _differences(others: Sequence[Student], base: Student, paragraphs: np.ndarray) -> list[dict[str, Any]]:
    f1 = [compare(student.f1, base.f1, paragraphs, tests=len(others)) for student in others]
    exact_match = [compare(student.exact_match, base.exact_match, paragraphs, tests=len(others)) for student in others]
    f1_p, exact_match_p = (holm([found.p_value for found in several]) for several in (f1, exact_match))
    return [
        {
            "f1_difference": f1[i].difference.mean,
            "f1_difference_low": f1[i].difference.low,
            "f1_difference_high": f1[i].difference.high,
            "f1_p": f1_p[i],
            "exact_match_difference": exact_match[i].difference.mean,
            "exact_match_p": exact_match_p[i],
            "mcnemar_p": _mcnemar(student, base),
            "detectable": f1[i].detectable,
            "verdict": verdict(f1[i].difference, f1_p[i]),
        }
        for i, student in enumerate(others)
    ]


def _mcnemar(student: Student, base: Student) -> float | None:
    if len(student.runs) > 1 or len(base.runs) > 1:
        return None
    return mcnemar(student.exact_match[0], base.exact_match[0])

"""Scores of slices of the questions, and where two students differ most.

Pure: takes the scores of each question and the records, returns labels and rows.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.comparison.leaderboard import Student, with_interval
from pipeline.comparison.statistics import compare, holm, score_interval, verdict

# English; the first of them in the question counts. `in which` is which, `whose` is who.
QUESTION_WORD = re.compile(r"\b(how (?:many|much)|how|what|when|where|which|who(?:m|se)?|why)\b", re.IGNORECASE)
ANSWER_WORDS = ((1, "1 word"), (3, "2-3 words"), (6, "4-6 words"), (math.inf, "7 or more words"))
NO_ANSWER = "no answer"
THIRDS = ("0-33 %", "33-67 %", "67-100 %")


@dataclass(frozen=True)
class SliceRow:
    """The scores of a student on one slice; 0-100, intervals of 95 %.

    The differences are to the baseline, None in its own rows. Where a slice has fewer than two paragraphs, intervals
    and differences are None.

    Attributes:
        kind, label: a key of `slices` and one of its labels.
        questions: how many the slice has.
        f1_p: of the F1 difference, Holm-corrected over all rows.
        verdict: `better`, `worse` or `undecided`, by F1.
    """

    student: str
    kind: str
    label: str
    questions: int
    exact_match: float
    f1: float
    exact_match_low: float | None = None
    exact_match_high: float | None = None
    f1_low: float | None = None
    f1_high: float | None = None
    f1_difference: float | None = None
    f1_difference_low: float | None = None
    f1_difference_high: float | None = None
    f1_p: float | None = None
    verdict: str | None = None


def slices(table: pa.Table, records: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """The label of each question, in order, for each kind of slice.

    - question word: the first English one in the question, in lower case; else "other".
    - answer length: words of the first reference, split at white space.
    - context length: words, in three slices of about equally many questions; fewer where lengths are equal.
    - place of the answer: its first character, relative to the context's characters.
    - windows: how many the question has.
    - answerable: answerable or unanswerable.

    A question without a reference has the label "no answer" for what depends on one.

    Args:
        table: the scores of each question.
        records: the questions, in the same order.
    """
    lengths = [len(record["context"].split()) for record in records]
    return {
        "question word": [question_word(record["question"]) for record in records],
        "answer length": [_answer_length(record) for record in records],
        "context length": _ranges(lengths),
        "place of the answer": [_place(record) for record in records],
        "windows": [str(n) if n < 3 else "3 or more" for n in table["windows"].to_pylist()],
        "answerable": ["answerable" if value else "unanswerable" for value in table["answerable"].to_pylist()],
    }


def question_word(question: str) -> str:
    """`how many` for how many and how much, `who` for whom and whose, `other` if there is none."""
    found = QUESTION_WORD.search(question)
    if not found:
        return "other"
    word = found[0].lower()
    return "who" if word.startswith("who") else word.replace("much", "many")


def in_order(labels: Sequence[str]) -> list[str]:
    """The different labels, by the first number in them, then by the alphabet."""
    return sorted(set(labels), key=lambda label: (int((re.findall(r"\d+", label) or [0])[0]), label))


def slice_rows(
    students: Sequence[Student], paragraphs: np.ndarray, baseline: str, kinds: dict[str, list[str]]
) -> list[SliceRow]:
    """A row for each student, kind and label.

    Args:
        paragraphs: (N,) the paragraph of each question.
        baseline: the name of the student that the others are compared with.
        kinds: see `slices`.
    """
    (base,) = (student for student in students if student.name == baseline)
    masks = {(kind, label): np.array(of) == label for kind, of in kinds.items() for label in in_order(of)}
    keys = [(student, *key) for student in students for key in masks]
    compared = {
        (student.name, kind, label): (student, mask)
        for student in students
        for (kind, label), mask in masks.items()
        if student is not base and _comparable(paragraphs[mask])
    }
    differences = {
        key: compare(student.f1[:, mask], base.f1[:, mask], paragraphs[mask], tests=len(compared))
        for key, (student, mask) in compared.items()
    }
    p_values = dict(zip(differences, holm([found.p_value for found in differences.values()]), strict=True))
    rows = []
    for student, kind, label in keys:
        mask, key = masks[kind, label], (student.name, kind, label)
        values: dict[str, Any] = _scores(student, mask, paragraphs)
        if key in differences:
            difference = differences[key].difference
            values |= {
                "f1_difference": difference.mean,
                "f1_difference_low": difference.low,
                "f1_difference_high": difference.high,
                "f1_p": p_values[key],
                "verdict": verdict(difference, p_values[key]),
            }
        rows.append(SliceRow(*key, questions=int(mask.sum()), **values))
    return rows


def _scores(student: Student, mask: np.ndarray, paragraphs: np.ndarray) -> dict[str, float]:
    scores = {"exact_match": student.exact_match[:, mask], "f1": student.f1[:, mask]}
    if not _comparable(paragraphs[mask]):
        return {name: float(values.mean()) for name, values in scores.items()}
    found = (with_interval(name, score_interval(values, paragraphs[mask])) for name, values in scores.items())
    return {name: value for values in found for name, value in values.items()}


def _comparable(paragraphs: np.ndarray) -> bool:
    return len(np.unique(paragraphs)) > 1


def _answer_length(record: dict[str, Any]) -> str:
    if not record["answers"]["text"]:
        return NO_ANSWER
    words = len(record["answers"]["text"][0].split())
    return next(label for most, label in ANSWER_WORDS if words <= most)


def _place(record: dict[str, Any]) -> str:
    if not record["answers"]["text"]:
        return NO_ANSWER
    return THIRDS[3 * record["answers"]["answer_start"][0] // max(len(record["context"]), 1)]


def _ranges(lengths: Sequence[int]) -> list[str]:
    """`up to 98 words`, `99-131 words`, `132 or more words`: a third of the questions each, if no lengths are equal."""
    first, second = np.quantile(lengths, [1 / 3, 2 / 3], method="lower").tolist() if lengths else (0, 0)
    labels = (f"up to {first} words", f"{first + 1}-{second} words", f"{second + 1} or more words")
    return [labels[(length > first) + (length > second)] for length in lengths]

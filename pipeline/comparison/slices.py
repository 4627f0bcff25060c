"""Scores of slices of the questions, and where two students differ most.

Pure: takes the scores of each question and the records, returns frames of labels and of rows.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.leaderboard import Candidate
from pipeline.comparison.statistics import compare, holm, verdict, with_interval
from pipeline.questions.question import Question

# English; the first of them in the question counts. `in which` is which, `whose` is who.
QUESTION_WORD = re.compile(r"\b(how (?:many|much)|how|what|when|where|which|who(?:m|se)?|why)\b", re.IGNORECASE)
NO_ANSWER = "no answer"
COLUMNS = [
    "student",
    "kind",
    "label",
    "seeds",
    "questions",
    "exact_match",
    "f1",
    "exact_match_low",
    "exact_match_high",
    "f1_low",
    "f1_high",
    "f1_difference",
    "f1_difference_low",
    "f1_difference_high",
    "f1_p",
    "verdict",
    "verdict_scope",
]


def slices(scores: pd.DataFrame, records: Sequence[Question]) -> pd.DataFrame:
    """The label of each of N questions in each kind of slice: N rows, a categorical column a kind, in order.

    - question word: the first English one in the question, in lower case; else "other".
    - answer length: words of the first reference, split at white space.
    - context length: words, in three slices of about equally many questions; fewer where lengths are equal.
    - answer position: its first character, relative to the context's characters.
    - windows: how many the question has.
    - answerable: answerable or unanswerable.

    A question without a reference has the label "no answer" for what depends on one.

    Args:
        scores: the columns `windows` and `answerable` of `scores.question_scores`.
        records: the questions, in the same order.
    """
    context_words = pd.Series([len(record["context"].split()) for record in records], dtype=int)
    answerable = scores["answerable"].map({True: "answerable", False: "unanswerable"})
    lengths, thirds = ["1 word", "2-3 words", "4-6 words", "7 or more words"], ["0-33 %", "33-67 %", "67-100 %"]
    return pd.DataFrame(
        {
            "question word": question_words([record["question"] for record in records]).astype("category"),
            "answer length": _cut([_answer_words(record) for record in records], [0, 2, 4, 7], lengths),
            "context length": _thirds(context_words),
            "answer position": _cut([_answer_place(record) for record in records], [0, 1 / 3, 2 / 3], thirds),
            "windows": _cut(scores["windows"], [0, 1, 2, 3], ["0", "1", "2", "3 or more"]),
            "answerable": answerable.astype("category"),
        }
    )


def question_words(questions: Sequence[str]) -> pd.Series:
    """`how many` for how many and how much, `who` for whom and whose, `other` if there is none."""
    words = pd.Series(questions, dtype=str).str.extract(QUESTION_WORD, expand=False).str.lower()
    return words.replace({"how much": "how many", "whom": "who", "whose": "who"}).fillna("other")


def slice_rows(
    candidates: Sequence[Candidate], clusters: np.ndarray, baseline: str, labels: pd.DataFrame
) -> pd.DataFrame:
    """A row for each candidate, kind and label, with the columns `COLUMNS`. Scores are 0-100, intervals of 95 %.

    A kind with one label has no rows: its slice is the whole set.

    The differences are to the baseline, and missing in its own rows. Where a slice has fewer than two clusters,
    intervals and differences are missing. `f1_p` is Holm-corrected over all rows; `verdict` is by F1.

    Args:
        clusters: (N,) the cluster of each question, see `scores.standard_errors`.
        baseline: the name of the candidate that the others are compared with.
        labels: see `slices`.
    """
    (base,) = (candidate for candidate in candidates if candidate.name == baseline)
    parts = [
        (kind, label, questions)
        for kind in labels.columns[labels.nunique() > 1]
        for label, questions in labels.groupby(labels[kind], observed=True).indices.items()
    ]
    tests = (len(candidates) - 1) * sum(_comparable(clusters[questions]) for *_, questions in parts)
    rows = [
        {
            "student": candidate.name,
            "kind": kind,
            "label": label,
            "seeds": len(candidate.runs),
            "questions": len(questions),
            **_scores(candidate, questions, clusters),
            **({} if candidate is base else _difference(candidate, base, questions, clusters, tests)),
        }
        for candidate in candidates
        for kind, label, questions in parts
    ]
    found = pd.DataFrame(rows).reindex(columns=COLUMNS).astype({"verdict_scope": str})
    tested = found["f1_p"].notna()
    found.loc[tested, "f1_p"] = holm(found.loc[tested, "f1_p"])
    ends = (found.loc[tested, name] for name in ("f1_difference_low", "f1_difference_high", "f1_p"))
    found["verdict"] = pd.Series([verdict(*row) for row in zip(*ends, strict=True)], found.index[tested], dtype=str)
    return found


def _scores(candidate: Candidate, questions: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    scores = {name: candidate.by_run(name)[:, questions] for name in ("exact_match", "f1")}
    if not _comparable(clusters[questions]):
        return {name: float(values.mean()) for name, values in scores.items()}
    found = (with_interval(name, values, clusters[questions]) for name, values in scores.items())
    return {name: value for values in found for name, value in values.items()}


def _difference(
    candidate: Candidate, base: Candidate, questions: np.ndarray, clusters: np.ndarray, tests: int
) -> dict[str, Any]:
    if not _comparable(clusters[questions]):
        return {}
    one_each = len(candidate.runs) == len(base.runs) == 1
    ours, theirs = (each.by_run("f1")[:, questions] for each in (candidate, base))
    found = compare(ours, theirs, clusters[questions], tests=tests)
    return {
        "f1_difference": found.difference.mean,
        "f1_difference_low": found.difference.low,
        "f1_difference_high": found.difference.high,
        "f1_p": found.p_value,
        "verdict_scope": "these models" if one_each else "settings",
    }


def _comparable(clusters: np.ndarray) -> bool:
    return len(np.unique(clusters)) > 1


def _answer_words(record: Question) -> float:
    """Words of the first reference; NaN without one."""
    texts = record["answers"]["text"]
    return len(texts[0].split()) if texts else math.nan


def _answer_place(record: Question) -> float:
    """Start of the first reference, 0-1 of the context; NaN without one."""
    starts = record["answers"]["answer_start"]
    return starts[0] / len(record["context"]) if starts else math.nan


def _cut(values: Iterable[float], starts: Sequence[float], labels: Sequence[str]) -> pd.Series:
    """The label of the interval, from one start to the next, that each value is in; "no answer" without a value."""
    cut = pd.cut(pd.Series(list(values), dtype=float), [*starts, math.inf], right=False, labels=labels)
    return cut.cat.add_categories(NO_ANSWER).fillna(NO_ANSWER)


def _thirds(lengths: pd.Series) -> pd.Series:
    """`up to 98 words`, `99-131 words`, `132 or more words`: a third of the questions each, if no lengths are equal."""
    first, second = lengths.quantile([1 / 3, 2 / 3], interpolation="lower").fillna(0).astype(int)
    labels = [f"up to {first} words", f"{first + 1}-{second} words", f"{second + 1} or more words"]
    third = (lengths > first).astype(int) + (lengths > second)
    return third.map(dict(enumerate(labels))).astype(pd.CategoricalDtype(labels))

"""Students side by side: scores with intervals, and paired differences to a baseline with verdicts.

Pure: takes the scores of each question, returns a frame with a row for each candidate, a setting with all its seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.statistics import compare, holm, mcnemar, score_interval, verdict, with_interval

# of the difference to the baseline; missing in its own row
DIFFERENCES = [
    "f1_difference",
    "f1_difference_low",
    "f1_difference_high",
    "f1_p",
    "exact_match_difference",
    "exact_match_p",
    "mcnemar_p",
    "detectable",
    "verdict",
]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One setting, trained with one seed or several, and scored on N questions.

    Attributes:
        name: what tells it from the others.
        scores: by run, a row for each question; the columns are those of `scores.question_scores`.
        parameters, nonzero_parameters, bytes: of the first run.
    """

    name: str
    scores: Mapping[str, pd.DataFrame]
    parameters: int
    nonzero_parameters: int
    bytes: int

    @property
    def runs(self) -> list[str]:
        """The names of its S runs."""
        return list(self.scores)

    def by_run(self, column: str) -> np.ndarray:
        """(S, N) one column of the scores."""
        return np.stack([scores[column].to_numpy(dtype=float) for scores in self.scores.values()])


def leaderboard(candidates: Sequence[Candidate], paragraphs: np.ndarray, baseline: str) -> pd.DataFrame:
    """A row for each candidate, highest F1 first. Scores are 0-100, intervals of 95 %.

    Columns: `name`; `runs`, their names in one text; `seeds`, how many; `exact_match` and `f1` with `_low` and `_high`;
    `question_error`, the standard error of F1 due to the questions; `seed_deviation`, the standard deviation of F1
    between seeds, missing with one; `agreement`; `parameters`, `nonzero_parameters`, `zeros`, a share, and `bytes`; and
    those of `DIFFERENCES`. `f1_p` and `exact_match_p` are Holm-corrected over the rows. `mcnemar_p` is that of
    McNemar's exact test of exact match, uncorrected, which ignores paragraphs, and is missing with several seeds.
    `detectable` is the smallest F1 difference that one test, uncorrected, shows with a power of 80 %. `verdict`, by F1,
    is `better`, `worse` or `undecided`.

    Args:
        paragraphs: (N,) the paragraph of each question.
        baseline: the name of the candidate that the others are compared with.

    Raises:
        ValueError: there are fewer than two paragraphs, the candidates' questions differ in number, or two candidates
            have one name.
    """
    if len({candidate.name for candidate in candidates}) < len(candidates):
        raise ValueError("two students have one name")
    (base,) = (candidate for candidate in candidates if candidate.name == baseline)
    others = [candidate for candidate in candidates if candidate is not base]
    rows = pd.DataFrame([_scores(candidate, paragraphs) for candidate in candidates])
    differences = pd.DataFrame([_difference(other, base, paragraphs, tests=len(others)) for other in others])
    differences = differences.reindex(columns=["name", *DIFFERENCES])
    for p_value in ("f1_p", "exact_match_p"):
        differences[p_value] = holm(differences[p_value])
    ends = (differences[name] for name in ("f1_difference_low", "f1_difference_high", "f1_p"))
    differences["verdict"] = [verdict(*row) for row in zip(*ends, strict=True)]
    return rows.merge(differences, on="name", how="left").sort_values("f1", ascending=False, kind="stable")


def _scores(candidate: Candidate, paragraphs: np.ndarray) -> dict[str, Any]:
    exact_match, f1 = (score_interval(candidate.by_run(name), paragraphs) for name in ("exact_match", "f1"))
    several = len(candidate.runs) > 1
    return {
        "name": candidate.name,
        "runs": " ".join(candidate.runs),
        "seeds": len(candidate.runs),
        **with_interval("exact_match", exact_match),
        **with_interval("f1", f1),
        "question_error": f1.question_error,
        "seed_deviation": float(candidate.by_run("f1").mean(axis=1).std(ddof=1)) if several else math.nan,
        "agreement": float(candidate.by_run("agreement").mean()),
        "parameters": candidate.parameters,
        "nonzero_parameters": candidate.nonzero_parameters,
        "zeros": 1 - candidate.nonzero_parameters / candidate.parameters,
        "bytes": candidate.bytes,
    }


def _difference(candidate: Candidate, base: Candidate, paragraphs: np.ndarray, tests: int) -> dict[str, Any]:
    exact_match, f1 = (
        compare(candidate.by_run(name), base.by_run(name), paragraphs, tests=tests) for name in ("exact_match", "f1")
    )
    one_each = len(candidate.runs) == len(base.runs) == 1
    rights = (each.by_run("exact_match")[0] for each in (candidate, base))
    return {
        "name": candidate.name,
        "f1_difference": f1.difference.mean,
        "f1_difference_low": f1.difference.low,
        "f1_difference_high": f1.difference.high,
        "f1_p": f1.p_value,
        "exact_match_difference": exact_match.difference.mean,
        "exact_match_p": exact_match.p_value,
        "mcnemar_p": mcnemar(*rights) if one_each else math.nan,
        "detectable": f1.detectable,
    }

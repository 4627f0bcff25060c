"""Students side by side: scores with intervals, and paired differences to a baseline with verdicts.

Pure: takes the scores of each question, returns a frame with a row for each candidate, a setting with all its seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.statistics import compare, holm, mcnemar, verdict, with_interval
from pipeline.scores.standard_errors import clustered_error

# columns of the difference to the baseline; missing in its own row
DIFFERENCES = [
    "f1_difference",
    "f1_difference_low",
    "f1_difference_high",
    "f1_p",
    "exact_match_difference",
    "exact_match_p",
    "mcnemar_p",
    "mde",
    "verdict",
    "verdict_scope",
]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One setting, trained with one seed or several, and scored on N questions.

    Attributes:
        name: what tells it from the others.
        scores: by run, a row for each question with the columns of `scores.question_scores`.
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


def leaderboard(candidates: Sequence[Candidate], clusters: np.ndarray, baseline: str) -> pd.DataFrame:
    """A row for each candidate, highest F1 first. Scores are 0-100, intervals of 95 %.

    Columns:

    - `name`; `runs`, the names of the runs in one text; `seeds`, how many.
    - `exact_match`, `f1`, with `_low` and `_high`; `agreement`.
    - `question_error`: standard error of F1 due to the questions.
    - `seed_deviation`: standard deviation of F1 between seeds; missing with one seed.
    - `parameters`, `nonzero_parameters`, `zeros` (a share), `bytes`.
    - `f1_difference` with `_low` and `_high`, `exact_match_difference`: from the baseline. These and the next columns
      are missing in the baseline's own row.
    - `f1_p`, `exact_match_p`: Holm-adjusted over the rows.
    - `mcnemar_p`: McNemar's exact test of exact match, unadjusted, which ignores clusters; missing with several seeds.
    - `mde`: minimum detectable F1 difference, 80 % power, unadjusted; missing where `statistics.compare` has none.
    - `verdict`, by F1: `better`, `worse` or `undecided`.
    - `verdict_scope`: `these models` where both have one seed, else `settings`.

    Args:
        clusters: (N,) the cluster of each question, see `scores.standard_errors`.
        baseline: the name of the candidate that the others are compared with.

    Raises:
        ValueError: there are fewer than two clusters, the candidates' questions differ in number, or two candidates
            have one name.
    """
    if len({candidate.name for candidate in candidates}) < len(candidates):
        raise ValueError("two students have one name")
    (base,) = (candidate for candidate in candidates if candidate.name == baseline)
    others = [candidate for candidate in candidates if candidate is not base]
    rows = pd.DataFrame([_scores(candidate, clusters) for candidate in candidates])
    differences = pd.DataFrame([_difference(other, base, clusters, tests=len(others)) for other in others])
    differences = differences.reindex(columns=["name", *DIFFERENCES]).astype({"name": str, "verdict_scope": str})
    for p_value in ("f1_p", "exact_match_p"):
        differences[p_value] = holm(differences[p_value])
    ends = (differences[name] for name in ("f1_difference_low", "f1_difference_high", "f1_p"))
    differences["verdict"] = pd.Series([verdict(*row) for row in zip(*ends, strict=True)], dtype=str)
    return rows.merge(differences, on="name", how="left").sort_values("f1", ascending=False, kind="stable")


def _scores(candidate: Candidate, clusters: np.ndarray) -> dict[str, Any]:
    exact_match, f1 = candidate.by_run("exact_match"), candidate.by_run("f1")
    return {
        "name": candidate.name,
        "runs": " ".join(candidate.runs),
        "seeds": len(candidate.runs),
        **with_interval("exact_match", exact_match, clusters),
        **with_interval("f1", f1, clusters),
        "question_error": clustered_error(f1, clusters),
        "seed_deviation": float(f1.mean(axis=1).std(ddof=1)) if len(f1) > 1 else math.nan,
        "agreement": float(pd.Series(candidate.by_run("agreement").ravel()).mean()),  # without missing ones
        "parameters": candidate.parameters,
        "nonzero_parameters": candidate.nonzero_parameters,
        "zeros": 1 - candidate.nonzero_parameters / candidate.parameters,
        "bytes": candidate.bytes,
    }


def _difference(candidate: Candidate, base: Candidate, clusters: np.ndarray, tests: int) -> dict[str, Any]:
    exact_match, f1 = (
        compare(candidate.by_run(name), base.by_run(name), clusters, tests=tests) for name in ("exact_match", "f1")
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
        "mde": f1.mde,
        "verdict_scope": "these models" if one_each else "settings",
    }

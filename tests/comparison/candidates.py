"""Invented candidates of a comparison."""

import pandas as pd

from pipeline.comparison.leaderboard import Candidate


def candidate(name, f1, exact_match=None, sizes=(1, 1, 1)):
    """A candidate with runs NAME0, NAME1 ...

    Args:
        f1, exact_match: (S, N); agreement is as exact match, which is as F1 by default.
    """
    rights = f1 if exact_match is None else exact_match
    runs = {
        f"{name}{i}": pd.DataFrame({"f1": ours, "exact_match": right, "agreement": right})
        for i, (ours, right) in enumerate(zip(f1, rights, strict=True))
    }
    return Candidate(name, runs, *sizes)

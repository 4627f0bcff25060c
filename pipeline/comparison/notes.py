"""What to know about the columns of a comparison, in sentences, for the tables and the report."""

import pandas as pd

from pipeline.scores.standard_errors import Clusters

THESE_MODELS = (
    "(these models): with one seed each, the verdict is about these trained models; another seed of the same settings "
    "may reverse it."
)
BORROWED = "A student with one seed, compared with one that has several, borrows its seed variance."
TWO_SEEDS = "Two seeds say little about a third, so their intervals are wide: use three or more."


def of_leaderboard(rows: pd.DataFrame, clusters: Clusters) -> list[str]:
    """The notes on a leaderboard."""
    seeds = rows["seeds"]
    several = bool(seeds.max() > 1)
    found = [intervals(clusters, several)]
    if (seeds == 2).any():
        found.append(TWO_SEEDS)
    if not rows["verdict"].notna().any():
        return found
    found.append(tests(clusters, several))
    if (rows["verdict_scope"] == "these models").any():
        found.append(THESE_MODELS)
    if several and (seeds == 1).any():
        found.append(BORROWED)
    return [*found, *power(rows[rows["verdict"].notna()], clusters)]


def of_slices(rows: pd.DataFrame, clusters: Clusters) -> list[str]:
    """The notes on a table of slices."""
    several = bool(rows["seeds"].max() > 1)
    found = [intervals(clusters, several), *([tests(clusters, several)] if rows["verdict"].notna().any() else [])]
    return found + [THESE_MODELS] * bool((rows["verdict_scope"] == "these models").any())


def intervals(clusters: Clusters, several_seeds: bool) -> str:
    """What an interval is of, and what is resampled."""
    return f"{clusters.note}{'; seeds are resampled too' * several_seeds}."


def tests(clusters: Clusters, several_seeds: bool) -> str:
    """What p and the verdict are."""
    larger = "; with several seeds, the larger of this and the p-value of a t-test that includes seed variance"
    return (
        f"p: Holm-adjusted over all rows; of a sign-flip test, paired by question, with {clusters.unit}s as units"
        f"{larger * several_seeds}. verdict: by F1, for a baseline that was chosen before the scores were seen."
    )


def power(compared: pd.DataFrame, clusters: Clusters) -> list[str]:
    """What the minimum detectable effect is, and why it is missing where it is."""
    found = []
    if compared["mde"].notna().any():
        found.append("MDE: minimum detectable F1 difference (80 % power, uncorrected).")
    if len(set(clusters.labels)) <= 5:
        found.append(f"With five {clusters.unit}s or fewer no difference is significant.")
    elif compared["mde"].isna().any():
        found.append("No MDE is given for unequal numbers of seeds, or for two.")
    return found

"""Scores and differences of scores with their uncertainty: intervals, tests, power.

Scores are arrays of shape (N,), one seed, or (S, N): S seeds of one setting on the same N questions. They may be 0-1 or
0-100; means, intervals and errors are in the unit of the scores. `clusters` holds N labels, articles or paragraphs
(see `scores.standard_errors`). Questions about the same one are correlated, so clusters are the unit of every error,
resample and sign flip, except in `mcnemar`.

The model behind the errors is a crossed one: score = mean + effect of the question + effect of the seed + interaction.

- Variance due to questions: the clustered variance of the seed-averaged scores (Miller 2024, "Adding error bars to
  evals", arXiv 2411.00640). It holds the questions' effects and the interaction.
- Variance due to seeds: the variance s² of the S mean scores, less what the interaction alone contributes to it, at
  least 0, over S. With one question a cluster this is the two-way analysis of variance (Searle, Casella & McCulloch
  1992, "Variance components"). With one seed it is unknown (None); see `compare` for one beside several.

Their sum is the variance of the mean over all questions and all seeds. Its degrees of freedom are Satterthwaite's
(1946), where s² counts in full, with S - 1. Two or three seeds leave few of them: the interval is wide, since two seeds
say little about a third.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from pipeline.scores.standard_errors import cluster_sums, clustered, question_variance

FLIPS_PER_TEST = 100  # the smallest p is then 0.02 after a correction for any number of tests
BATCH_VALUES = 2**20  # values a batch of resamples holds; bounds the memory, changes no result


@dataclass(frozen=True)
class Estimate:
    """A mean, or a mean difference, with its interval.

    Attributes:
        mean: over questions and seeds.
        low, high: the interval.
        question_error: standard error due to the questions, clustered.
        seed_error: standard error due to the seeds; None where no student has several. Of one student it is the
            standard deviation between seeds, without the interaction, over sqrt(S).
        degrees_of_freedom: of `standard_error`; clusters less one where there is one seed.
    """

    mean: float
    low: float
    high: float
    question_error: float
    seed_error: float | None
    degrees_of_freedom: float

    @property
    def standard_error(self) -> float:
        """Of questions and seeds together: the root of the sum of the squares."""
        return math.hypot(self.question_error, self.seed_error or 0.0)


@dataclass(frozen=True)
class Comparison:
    """The first student's scores less the second's, on the same questions.

    Attributes:
        difference: the mean difference; above 0 where the first is better.
        sign_flip_p: p-value of the sign-flip test, which ignores seeds.
        p_value: what a verdict depends on; equal to `sign_flip_p` where both students have one seed.
        mde: minimum detectable effect, the smallest true difference that these data would have shown with the power
            asked for, before any correction for several comparisons; NaN where that is not known, see `compare`.
    """

    difference: Estimate
    sign_flip_p: float
    p_value: float
    mde: float


def score_interval(
    scores: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """A mean score and its interval: seeds are resampled, then whole clusters.

    With one seed this is the percentile interval of sum / count over resampled clusters, with its distances from the
    mean multiplied by t / z * sqrt(C / (C - 1)), t with C - 1 degrees of freedom (the expanded percentile interval of
    Hesterberg 2015, "What teachers should know about the bootstrap", The American Statistician 69). Coverage of nominal
    95 % in 2,000 simulated sets, clusters of 1 to about 20 questions, true mean 0.8:

        clusters             10     20     50    200
        expanded           92.7   93.2   95.3   95.4
        percentile         88.3   90.9   94.7   95.1
        BCa                89.9   92.0   94.8   95.3
        basic              84.2   88.0   92.7   94.7
        without clusters   82.0   80.6   82.8   83.6

    A mean near the end of the scale needs more clusters: with a true mean of 0.95, coverage is 91.6 % with 50, 93.8 %
    with 200 and 94.3 % with 1,000.

    With several seeds, each resample also adds the mean of S seed effects, drawn with replacement and scaled to the
    variance due to seeds. Whole seeds are not drawn as they are: that would count the interaction three times (Owen
    2007, "The pigeonhole bootstrap") and lose a part 1 / S of the rest. Where seeds differ far more than questions, the
    interval covers 91 % with two seeds, and 93 to 95 % with three or five.

    Args:
        scores: (N,) or (S, N).
        clusters: (N,) labels, numbers or strings.
        confidence: 0-1.
        resamples: bootstrap resamples.
        seed: of the resampling; the same seed and scores give the same interval.

    Raises:
        ValueError: no scores, NaN or infinity among them, another number of labels than of questions, a missing label,
            or fewer than two clusters.
    """
    sums, counts = cluster_sums(scores, clusters)
    return _estimate(sums.mean(axis=0), counts, _seed_levels(counts, sums), confidence, resamples, seed)


def compare(
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike,
    *,
    confidence: float = 0.95,
    power: float = 0.8,
    resamples: int = 10_000,
    seed: int = 0,
    tests: int = 1,
) -> Comparison:
    """Two students on the same questions, paired by question: first less second.

    Questions are paired, seeds are not; the numbers of seeds may differ. The interval is
    computed as in `score_interval`, on the differences of the seed-averaged scores, with the seed level of each student
    added.

    With one seed each, `p_value` is the sign-flip test's. It says whether these two trained models differ, not
    whether their settings do. With several seeds it is the larger of this and a t-test's, with the error of questions
    and seeds together and Satterthwaite's degrees of freedom. A student with one seed beside one with several borrows
    the other's seed variance; if its own is larger, false positives exceed the nominal rate.

    False positives at alpha = 0.05, in %, in 1,500 simulated pairs of settings with equal means (50 clusters of
    unequal size, standard error due to the questions 0.02 to 0.05). A range runs from settings with the same question
    effects to settings with different ones:

        seeds of the two students            1, 3        2, 2        2, 5        3, 3        5, 5
        standard deviation of seeds 0     0.5 - 2.8   1.1 - 2.5   1.6 - 2.6   1.2 - 3.7   1.3 - 3.8
        0.03                              3.9 - 5.1   3.2 - 3.9   3.2 - 4.4   2.3 - 4.1   3.8 - 5.6
        0.1                               5.3 - 8.0   4.2 - 6.3   6.1 - 6.9   3.3 - 3.9   4.9 - 5.6
        0.1 and 0                          31 - 34    6.9 - 7.5   7.6 - 9.2   5.3 - 5.7   5.3 - 6.1
        0.1, the sign-flip test alone      42 - 61     39 - 62     31 - 60     33 - 61     27 - 62

    The minimum detectable effect is given where both students have one seed, or equally many from three on. In 600
    simulated pairs each, such an effect (the median over pairs) is detected in 69 to 78 % of cases; with two seeds or
    unequal numbers in 55 to 73 %, since the error of few seeds is itself uncertain. It is not given with five clusters
    or fewer, where no p-value of the sign-flip test is below 0.05.

    Args:
        first, second: (N,) or (S, N); as many questions, in the same order.
        clusters: (N,) labels.
        confidence: 0-1; `mde` is for a two-sided test at 1 - confidence.
        power: 0-1, for `mde`.
        resamples: bootstrap resamples, and sign flips.
        seed: of the resampling.
        tests: that p will be adjusted for. Of more than 100, there are more sign flips, since the smallest p, which
            is 2 / (flips + 1), would be above 0.05 after the correction, whatever the scores.

    Raises:
        ValueError: as `score_interval`, or the students have different numbers of questions.
    """
    ours, theirs = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if ours.shape[-1:] != theirs.shape[-1:]:
        raise ValueError(f"scores of different questions: shapes {ours.shape} and {theirs.shape}")
    (ours, counts), (theirs, _) = cluster_sums(ours, clusters), cluster_sums(theirs, clusters)
    sums = ours.mean(axis=0) - theirs.mean(axis=0)
    sums[np.isclose(ours.mean(axis=0), theirs.mean(axis=0), rtol=1e-9, atol=1e-12)] = 0.0  # rounding
    estimate = _estimate(sums, counts, _seed_levels(counts, ours, -theirs), confidence, resamples, seed)
    sign_flip_p = sign_flip(sums, resamples=max(resamples, FLIPS_PER_TEST * tests), seed=seed)
    p_value = sign_flip_p if estimate.seed_error is None else max(sign_flip_p, _t_test(estimate))
    mde = math.nan
    if len(ours) == len(theirs) != 2 and 2 / 2.0 ** len(counts) < 1 - confidence:
        mde = minimum_detectable_effect(
            estimate.standard_error, estimate.degrees_of_freedom, alpha=1 - confidence, power=power
        )
    return Comparison(estimate, sign_flip_p, p_value, mde)


def sign_flip(sums: ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of a mean difference of 0, by flipping the signs of whole clusters.

    Under the null hypothesis that the two students are exchangeable on each cluster, each cluster's sum of
    differences is as likely with the other sign (the paired permutation test of Dror et al. 2018, "The hitchhiker's
    guide to testing statistical significance in NLP", with clusters). All flips are enumerated where there are no more
    than `resamples`; else one is added to the counts of flips and of extreme flips, so that p is never 0 (Phipson &
    Smyth 2010). At 5 % the test is wrong in 4 to 5 % of simulated null cases with continuous scores, and in 3 to 4 %
    with exact match on 300 questions, where sums tie. Scores averaged over seeds are taken as they are: the p-value
    does not allow for what other seeds would have scored.

    Args:
        sums: (C,) sum of the differences in each cluster.

    Raises:
        ValueError: no sums, or NaN among them.
    """
    sums = np.asarray(sums, dtype=float)
    if sums.ndim != 1 or not sums.size or not np.isfinite(sums).all():
        raise ValueError(f"expected a row of finite sums, one a cluster, not shape {sums.shape}")
    sums = sums[sums != 0]  # a flip changes nothing there
    if sums.size < 2:
        return 1.0
    return float(
        stats.permutation_test(
            (sums,),
            lambda flipped, axis: flipped.sum(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=resamples,
            batch=_batch(sums.size),
            rng=np.random.default_rng(seed),
        ).pvalue
    )


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided p-value of McNemar's exact test (1947) for right-or-wrong scores of one seed each.

    A binomial test with probability 1/2 on the questions that only one of the two answers right. It ignores
    clusters: where questions of a cluster are correlated, it is too small.

    Args:
        first, second: (N,), 0 where wrong and one other value (1 or 100) where right.

    Raises:
        ValueError: no scores, different lengths, or scores that are not right or wrong.
    """
    ours, theirs = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if ours.ndim != 1 or ours.shape != theirs.shape or not ours.size:
        raise ValueError(f"expected two rows of scores of one length, not shapes {ours.shape} and {theirs.shape}")
    values = np.unique([ours, theirs])
    if np.isnan(values).any() or np.setdiff1d(values, 0.0).size > 1:
        raise ValueError("McNemar's test needs scores of 0 and one other value, such as exact match of one seed")
    only_first, only_second = int(np.sum(ours > theirs)), int(np.sum(ours < theirs))
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def holm(p_values: ArrayLike) -> list[float]:
    """P-values adjusted for multiple comparisons (Holm 1979), in the order given.

    The i-th smallest of m is multiplied by m - i + 1; none is smaller than those before it, none above 1. The chance of
    one false positive or more among them all stays below alpha, whatever their dependence.

    Raises:
        ValueError: a p-value outside 0-1, or NaN.
    """
    values = np.asarray(p_values, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must lie in 0-1: {values.tolist()}")
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected.tolist()


def minimum_detectable_effect(
    standard_error: float, degrees_of_freedom: float = math.inf, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Smallest true difference that a two-sided test at `alpha` detects with probability `power`.

    (t at 1 - alpha / 2 + t at power) * standard error of the paired difference: 2.80 standard errors by default, more
    with few degrees of freedom (Miller 2024; Card et al. 2020, "With little power comes great responsibility").
    With five degrees of freedom or more it is within 1 % of what the noncentral t distribution gives.

    Raises:
        ValueError: an error that is not finite or below 0, degrees of freedom not above 0, or alpha or power not within
            0-1.
    """
    if not 0 <= standard_error < math.inf or not degrees_of_freedom > 0:
        raise ValueError(f"no such standard error and degrees of freedom: {standard_error}, {degrees_of_freedom}")
    if not 0 < alpha < 1 or not 0 < power < 1:
        raise ValueError(f"alpha and power must lie within 0-1, not {alpha} and {power}")
    quantiles = stats.t.ppf([1 - alpha / 2, power], degrees_of_freedom)
    return float(quantiles.sum() * standard_error)


def verdict(low: float, high: float, p_value: float, *, alpha: float = 0.05) -> Literal["better", "worse", "undecided"]:
    """Whether the first student is better or worse than the second.

    Decided only where the p-value is below alpha *and* the interval excludes 0, so that no row contradicts itself.

    Args:
        low, high: the interval of the first less the second.
        p_value: `Comparison.p_value`, adjusted where several comparisons are shown.
    """
    if p_value < alpha and low > 0:
        return "better"
    if p_value < alpha and high < 0:
        return "worse"
    return "undecided"


def with_interval(name: str, scores: ArrayLike, clusters: ArrayLike) -> dict[str, float]:
    """A mean score by its name, and the ends of its 95 % interval, cut at 0 and 100.

    Where all clusters have the same mean, 100 for example, resampling gives a single point. Their interval is the exact
    binomial one (Clopper & Pearson 1934) with a trial a cluster, since the correlation in a cluster is not known.

    Args:
        scores: (N,) or (S, N), 0-100.
        clusters: (N,) labels.

    Raises:
        ValueError: as `score_interval`.
    """
    found = score_interval(scores, clusters)
    low, high = max(found.low, 0.0), min(found.high, 100.0)
    if found.standard_error < 1e-9:
        low, high = clopper_pearson(found.mean / 100, len(np.unique(np.asarray(clusters))))
    return {name: found.mean, f"{name}_low": low, f"{name}_high": high}


def clopper_pearson(share: float, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Ends of the exact binomial interval, 0-100, of a share of successes, 0-1."""
    successes, tail = share * trials, (1 - confidence) / 2
    low = stats.beta.ppf(tail, successes, trials - successes + 1) if successes > 0 else 0.0
    high = stats.beta.ppf(1 - tail, successes + 1, trials - successes) if successes < trials else 1.0
    return 100 * float(low), 100 * float(high)


@dataclass(frozen=True)
class _SeedLevel:
    """What is known of the seeds of one setting, and the students it is used for.

    Attributes:
        effects: (S,), mean 0 and mean square `variance`.
        variance: between seeds, without the interaction.
        spread: s², with the interaction.
        seeds: number of seeds of each student.
    """

    effects: np.ndarray
    variance: float
    spread: float
    seeds: tuple[int, ...]

    @property
    def share(self) -> float:
        """Variance of a mean over the students' seeds, per variance of a seed."""
        return sum(1 / number for number in self.seeds)


def _seed_levels(counts: np.ndarray, *students: np.ndarray) -> list[_SeedLevel]:
    """The seed levels of the students' sums (S, C); those with one seed use the others'."""
    levels = [_seed_level(sums, counts) for sums in students if len(sums) > 1]
    single = tuple(1 for sums in students if len(sums) == 1)
    if levels and single:
        return [_SeedLevel(level.effects, level.variance, level.spread, level.seeds + single) for level in levels]
    return levels


def _seed_level(sums: np.ndarray, counts: np.ndarray) -> _SeedLevel:
    """The seed level of one student's sums (S, C), S > 1."""
    seeds = len(sums)
    means = sums.sum(axis=1) / counts.sum()
    deviations = sums - counts * means[:, None]
    interaction = clustered(deviations - deviations.mean(axis=0)) / (seeds - 1) / counts.sum() ** 2
    spread = float(means.var(ddof=1))
    variance = max(spread - interaction, 0.0)
    scale = math.sqrt(variance / spread * seeds / (seeds - 1)) if spread else 0.0
    return _SeedLevel(scale * (means - means.mean()), variance, spread, (seeds,))


def _estimate(
    sums: np.ndarray, counts: np.ndarray, levels: list[_SeedLevel], confidence: float, resamples: int, seed: int
) -> Estimate:
    """The mean sums.sum() / counts.sum(), both (C,), with the errors and the interval of `score_interval`."""
    clusters = len(counts)
    mean = float(sums.sum() / counts.sum())
    questions = question_variance(sums, counts)
    seeds = sum(level.variance * level.share for level in levels)
    noise = questions**2 / (clusters - 1)
    noise += sum((level.spread * level.share) ** 2 / (len(level.effects) - 1) for level in levels)
    freedom = max((questions + seeds) ** 2 / noise, 1.0) if levels and noise else clusters - 1.0

    rng = np.random.default_rng(seed)
    drawn = stats.bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=_batch(clusters),
        method="percentile",
        rng=rng,
    ).bootstrap_distribution
    deviations = (drawn - mean) * math.sqrt(clusters / (clusters - 1))
    for level in levels:
        for number in level.seeds:
            deviations += rng.choice(level.effects, (resamples, number)).mean(axis=1)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    expansion = stats.t.ppf(tails[1], freedom) / stats.norm.ppf(tails[1])
    low, high = mean + expansion * np.quantile(deviations, tails)
    seed_error = math.sqrt(seeds) if levels else None
    return Estimate(mean, float(low), float(high), math.sqrt(questions), seed_error, float(freedom))


def _t_test(estimate: Estimate) -> float:
    """Two-sided p-value of a mean of 0."""
    if estimate.mean == 0:
        return 1.0
    if estimate.standard_error == 0:
        return 0.0
    return float(2 * stats.t.sf(abs(estimate.mean) / estimate.standard_error, estimate.degrees_of_freedom))


def _batch(clusters: int) -> int:
    return max(BATCH_VALUES // clusters, 1)

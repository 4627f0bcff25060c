import itertools
import math

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison.statistics import (
    Estimate,
    compare,
    holm,
    mcnemar,
    minimum_detectable_effect,
    score_interval,
    sign_flip,
    verdict,
    with_interval,
)
from pipeline.scores.standard_errors import clustered_error


def paragraphs_of_unequal_size(rng, number=60):
    """(N,) labels; 1 to about 20 questions a paragraph, 5 in the mean."""
    return np.repeat(np.arange(number), 1 + rng.negative_binomial(2, 1 / 3, number))


def clustered_noise(rng, paragraphs, rows=1, scale=1.0):
    """(rows, N) values with mean 0; half of their variance is shared within a paragraph."""
    shared = rng.normal(0, scale / math.sqrt(2), (rows, paragraphs.max() + 1))[:, paragraphs]
    return shared + rng.normal(0, scale / math.sqrt(2), (rows, len(paragraphs)))


def seeds_of_a_setting(rng, paragraphs, questions, seeds, between_seeds):
    """(seeds, N) scores with mean 0: effects of the questions, of the seeds, and their interaction."""
    return questions + rng.normal(0, between_seeds, (seeds, 1)) + clustered_noise(rng, paragraphs, seeds, 0.3)


def decided(comparison):
    return verdict(comparison.difference.low, comparison.difference.high, comparison.p_value)


# Errors and intervals of a mean


def test_resampling_agrees_with_all_resamples_of_a_tiny_case():
    sums, counts = np.array([0.0, 2.0, 3.0]), np.array([1, 3, 3])
    scores, paragraphs = [0, 1, 1, 0, 1, 1, 1], [0, 1, 1, 1, 2, 2, 2]
    draws = np.array(list(itertools.product(range(3), repeat=3)))
    every_mean = sums[draws].sum(1) / counts[draws].sum(1)
    expansion = stats.t.ppf(0.9, 2) / stats.norm.ppf(0.9) * math.sqrt(3 / 2)
    expected = 5 / 7 + expansion * (np.quantile(every_mean, [0.1, 0.9], method="inverted_cdf") - 5 / 7)
    estimate = score_interval(scores, paragraphs, confidence=0.8, resamples=20_000)
    assert (estimate.low, estimate.high) == pytest.approx(expected)
    assert estimate.mean == pytest.approx(5 / 7)
    assert (estimate.seed_error, estimate.degrees_of_freedom) == (None, 2)


@pytest.mark.slow
def test_intervals_cover_the_truth_and_those_without_clusters_do_not():
    rng, trials = np.random.default_rng(2), 1000  # binomial error 0.7 points, so that 93 to 97 is 2.9 errors each way
    covered = plain_covered = 0
    for trial in range(trials):
        paragraphs = paragraphs_of_unequal_size(rng)
        right = (rng.random(len(paragraphs)) < rng.beta(4, 1, 60)[paragraphs]).astype(float)  # true mean 0.8
        estimate = score_interval(right, paragraphs, resamples=400, seed=trial)
        covered += estimate.low <= 0.8 <= estimate.high
        plain_covered += abs(right.mean() - 0.8) <= 1.96 * stats.sem(right)
    assert 0.93 <= covered / trials <= 0.97
    assert plain_covered / trials < 0.88


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_over_seeds_cover_the_mean_of_all_seeds(seeds):
    rng, trials = np.random.default_rng(3), 400  # binomial error 1.1 points
    covered = one_seed_covered = 0
    for trial in range(trials):
        paragraphs = paragraphs_of_unequal_size(rng, 30)
        scores = seeds_of_a_setting(rng, paragraphs, clustered_noise(rng, paragraphs, scale=0.5), seeds, 0.1)
        estimate = score_interval(scores, paragraphs, resamples=200, seed=trial)
        covered += estimate.low <= 0 <= estimate.high
        one_seed_covered += abs(scores[0].mean()) <= 1.96 * clustered_error(scores[0], paragraphs)
    assert 0.92 <= covered / trials <= 0.98
    assert one_seed_covered / trials < 0.85


def test_the_variances_due_to_seeds_and_to_questions_are_told_apart():
    rng, trials = np.random.default_rng(4), 300
    paragraphs = paragraphs_of_unequal_size(rng)
    sets = [seeds_of_a_setting(rng, paragraphs, clustered_noise(rng, paragraphs), 4, 0.5) for _ in range(trials)]
    estimates = [score_interval(scores, paragraphs, resamples=10) for scores in sets]
    questions = np.mean([estimate.question_error**2 for estimate in estimates])
    seeds = np.mean([estimate.seed_error**2 for estimate in estimates])
    assert seeds == pytest.approx(0.5**2 / 4, rel=0.15)
    assert questions + seeds == pytest.approx(np.var([scores.mean() for scores in sets]), rel=0.25)
    assert all(
        estimate.standard_error**2 == pytest.approx(estimate.question_error**2 + estimate.seed_error**2)
        for estimate in estimates
    )


def test_the_variance_due_to_seeds_is_that_of_the_two_way_analysis_of_variance():
    scores = np.random.default_rng(14).normal(size=(4, 12)) + 2 * np.arange(4)[:, None]
    rows, columns = scores.mean(axis=1, keepdims=True), scores.mean(axis=0)
    between_seeds = 12 * np.sum((rows - scores.mean()) ** 2) / 3  # mean squares
    interaction = np.sum((scores - rows - columns + scores.mean()) ** 2) / (3 * 11)
    estimate = score_interval(scores, np.arange(12), resamples=10)
    assert estimate.seed_error**2 == pytest.approx((between_seeds - interaction) / 12 / 4)
    questions, spread = np.var(columns, ddof=1) / 12, between_seeds / 12 / 4
    freedom = estimate.standard_error**4 / (questions**2 / 11 + spread**2 / 3)
    assert estimate.degrees_of_freedom == pytest.approx(freedom)


def test_two_seeds_that_differ_alike_on_every_question_by_hand():
    estimate = score_interval([[1.0] * 5, [3.0] * 5], np.arange(5))
    assert (estimate.mean, estimate.question_error, estimate.seed_error) == pytest.approx((2, 0, 1))
    # two draws of +-sqrt(2) have a mean of sqrt(2) in a quarter of the cases; one degree of freedom
    half_width = math.sqrt(2) * stats.t.ppf(0.975, 1) / stats.norm.ppf(0.975)
    assert (estimate.low, estimate.high) == pytest.approx((2 - half_width, 2 + half_width))


def test_seeds_that_differ_no_more_than_their_answers_explain_have_no_variance():
    estimate = score_interval([[1, 0, 1, 0], [0, 1, 0, 1]], [0, 1, 2, 3], resamples=10)
    assert (estimate.seed_error, estimate.question_error) == (0, 0)


def test_seeds_that_score_alike_add_nothing():
    rng = np.random.default_rng(5)
    paragraphs = paragraphs_of_unequal_size(rng)
    scores = clustered_noise(rng, paragraphs)
    one, three = score_interval(scores, paragraphs), score_interval(np.repeat(scores, 3, axis=0), paragraphs)
    assert three.seed_error == pytest.approx(0, abs=1e-9)
    assert (three.mean, three.low, three.high) == pytest.approx((one.mean, one.low, one.high))


def test_results_depend_on_the_seed_and_on_no_order_or_name():
    rng = np.random.default_rng(6)
    paragraphs = paragraphs_of_unequal_size(rng, 20)
    scores = rng.integers(0, 2, (2, len(paragraphs)))
    order = rng.permutation(len(paragraphs))
    names = np.array([f"{number:03}" for number in paragraphs], dtype=object)
    first = compare(*scores, paragraphs, resamples=200)
    assert first == compare(*scores, paragraphs, resamples=200)
    assert first == compare(*scores[:, order], names[order], resamples=200)
    assert first.difference.low != compare(*scores, paragraphs, resamples=200, seed=1).difference.low


# Differences


def test_the_sign_flip_p_value_agrees_with_all_flips():
    sums = np.array([0.4, -0.1, 0.7, 0.0, 0.2, 0.5, -0.3, 0.6])
    flips = np.array(list(itertools.product([-1, 1], repeat=8))) @ sums
    expected = np.mean(np.abs(flips) >= sums.sum() - 1e-12)
    assert sign_flip(sums) == pytest.approx(expected)
    assert sign_flip(sums, resamples=100) == pytest.approx(expected, abs=0.08)  # drawn, not enumerated


@pytest.mark.parametrize("sums", [[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
def test_a_difference_in_no_more_than_one_paragraph_shows_nothing(sums):
    assert sign_flip(sums) == 1


def test_differences_are_paired_clustered_and_signed():
    rng = np.random.default_rng(7)
    paragraphs = paragraphs_of_unequal_size(rng)
    common = 50 * clustered_noise(rng, paragraphs)[0]
    first, second = common + 0.5 + clustered_noise(rng, paragraphs)[0], common
    comparison, reverse = compare(first, second, paragraphs), compare(second, first, paragraphs)
    difference = comparison.difference
    assert difference.mean == pytest.approx(np.mean(first - second))
    assert difference.question_error == pytest.approx(clustered_error(first - second, paragraphs))
    assert (difference.low, difference.high) == pytest.approx(
        (lambda estimate: (estimate.low, estimate.high))(score_interval(first - second, paragraphs))
    )
    assert (reverse.difference.low, reverse.difference.high) == pytest.approx((-difference.high, -difference.low))
    assert comparison.p_value == comparison.sign_flip_p == reverse.p_value < 0.05
    assert decided(comparison) == "better"
    assert decided(reverse) == "worse"


def test_swapping_students_with_skewed_seeds_mirrors_the_interval():
    paragraphs = np.arange(30)
    first = clustered_noise(np.random.default_rng(15), paragraphs, scale=0.1) + np.array([[0.0]] * 7 + [[8]])
    second = clustered_noise(np.random.default_rng(16), paragraphs, scale=0.1) + np.array([[0.0]] * 7 + [[4]])
    difference, reverse = (compare(*pair, paragraphs).difference for pair in [(first, second), (second, first)])
    assert (reverse.low, reverse.high) == pytest.approx((-difference.high, -difference.low), rel=0.03)
    assert difference.high - difference.mean > 1.2 * (difference.mean - difference.low)


def test_equal_students_are_undecided_whatever_the_rounding():
    rng = np.random.default_rng(8)
    paragraphs = paragraphs_of_unequal_size(rng)
    scores = 100 * rng.random((3, len(paragraphs)))
    for first, second in [(scores[0], scores[0]), (scores, scores[::-1])]:
        comparison = compare(first, second, paragraphs, resamples=100)
        assert comparison.p_value == comparison.sign_flip_p == 1
        assert decided(comparison) == "undecided"


def test_the_same_difference_everywhere_is_seen():
    ones, zeros = np.ones((2, 16)), np.zeros((2, 16))
    comparison = compare(ones, zeros, np.arange(16) // 2)
    assert comparison.difference == Estimate(1.0, 1.0, 1.0, 0.0, 0.0, 7.0)
    assert comparison.p_value == comparison.sign_flip_p == pytest.approx(2 / 2**8)


@pytest.mark.slow
def test_false_positives_under_the_null_come_at_the_nominal_rate():
    rng, trials = np.random.default_rng(9), 800  # binomial error 0.8 points
    p_values = np.empty(trials)
    for trial in range(trials):
        paragraphs = paragraphs_of_unequal_size(rng, 40)
        sums = np.bincount(paragraphs, clustered_noise(rng, paragraphs)[0])
        p_values[trial] = sign_flip(sums, resamples=399, seed=trial)
    assert 0.035 <= np.mean(p_values <= 0.05) <= 0.065
    assert 0.45 <= np.mean(p_values <= 0.5) <= 0.55


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(2, 2), (3, 3), (1, 3)])
def test_false_positives_between_settings_that_differ_in_their_seeds_alone(seeds):
    rng, trials = np.random.default_rng(10), 300  # binomial error 1.3 points
    significant = verdicts = sign_flips = 0
    for trial in range(trials):
        paragraphs = paragraphs_of_unequal_size(rng, 30)
        questions = clustered_noise(rng, paragraphs)
        first, second = (seeds_of_a_setting(rng, paragraphs, questions, number, 0.1) for number in seeds)
        comparison = compare(first, second, paragraphs, resamples=200, seed=trial)
        significant += comparison.p_value < 0.05
        verdicts += decided(comparison) != "undecided"
        sign_flips += comparison.sign_flip_p < 0.05
    assert verdicts / trials <= significant / trials <= 0.08
    assert sign_flips / trials > 0.3


def test_one_seed_beside_several_borrows_their_variance():
    rng = np.random.default_rng(11)
    paragraphs = paragraphs_of_unequal_size(rng)
    one, three = clustered_noise(rng, paragraphs), clustered_noise(rng, paragraphs, 3) + np.array([[-1.0], [0], [1]])
    variance = 3 * score_interval(three, paragraphs, resamples=10).seed_error ** 2
    for comparison in (compare(one, three, paragraphs), compare(three, one, paragraphs)):
        assert comparison.difference.seed_error**2 == pytest.approx(variance * (1 + 1 / 3))
        assert comparison.difference.degrees_of_freedom < 3
        assert comparison.sign_flip_p <= comparison.p_value


def test_mcnemar_agrees_with_statsmodels_and_with_a_count():
    first, second = np.repeat([[1, 1, 0, 0], [1, 0, 1, 0]], [50, 3, 9, 20], axis=1)
    expected = 2 * sum(math.comb(12, wins) for wins in range(4)) / 2**12
    assert mcnemar(first, second) == mcnemar(100 * second, 100 * first) == pytest.approx(expected)
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    assert mcnemar(first, second) == pytest.approx(tables.mcnemar([[50, 3], [9, 20]], exact=True).pvalue)


def test_mcnemar_without_discordant_answers():
    assert mcnemar([1, 0, 1], [1, 0, 1]) == 1


# Several comparisons, power, verdicts


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_holm_agrees_with_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p_values = [*np.random.default_rng(12).random(20) ** 3, 0.01, 0.01, 0.0, 1.0]
    assert holm(p_values) == pytest.approx(multitest.multipletests(p_values, method="holm")[1])


def test_minimum_detectable_effects_agree_with_statsmodels():
    power = pytest.importorskip("statsmodels.stats.power")
    effect = power.TTestPower().solve_power(nobs=50, alpha=0.05, power=0.8)
    assert minimum_detectable_effect(1 / math.sqrt(50), 49) == pytest.approx(effect, rel=0.002)
    assert minimum_detectable_effect(1.0) == pytest.approx(2.8016, abs=1e-4)


@pytest.mark.slow
def test_the_minimum_detectable_effect_is_detected_with_the_power_it_names():
    rng, trials = np.random.default_rng(13), 300  # binomial error 2.3 points
    paragraphs = paragraphs_of_unequal_size(rng, 40)
    zeros = np.zeros(len(paragraphs))
    estimates = [compare(clustered_noise(rng, paragraphs)[0], zeros, paragraphs, resamples=10) for _ in range(100)]
    effect = np.mean([comparison.mde for comparison in estimates])
    found = sum(
        sign_flip(np.bincount(paragraphs, clustered_noise(rng, paragraphs)[0] + effect), resamples=399, seed=trial)
        < 0.05
        for trial in range(trials)
    )
    assert found / trials == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(
    "low, high, p_value, word",
    [
        (0.1, 0.9, 0.01, "better"),
        (-0.9, -0.1, 0.01, "worse"),
        (-0.1, 0.9, 0.01, "undecided"),
        (0.1, 0.9, 0.2, "undecided"),  # as after a correction
        (-0.9, -0.1, 0.05, "undecided"),
    ],
)
def test_verdicts(low, high, p_value, word):
    assert verdict(low, high, p_value) == word


@pytest.mark.parametrize(
    ("seeds", "clusters", "known"),
    [
        ((1, 1), 6, True),
        ((3, 3), 6, True),
        ((1, 1), 5, False),
        ((2, 2), 6, False),
        ((1, 3), 6, False),
        ((3, 5), 9, False),
    ],
)
def test_an_effect_is_named_where_its_power_is_known(seeds, clusters, known):
    rng = np.random.default_rng(17)
    first, second = (rng.random((number, 60)) for number in seeds)
    assert math.isfinite(compare(first, second, np.arange(60) % clusters, resamples=100).mde) == known


def test_all_right_answers_have_the_exact_binomial_interval():
    right = np.full((2, 5), 100.0)
    assert with_interval("f1", right, np.arange(5)) == {
        "f1": 100.0,
        "f1_low": pytest.approx(47.82, abs=0.01),  # 100 * 0.025 ** (1 / 5)
        "f1_high": 100.0,
    }
    assert with_interval("f1", 0 * right, np.arange(5)) == {
        "f1": 0.0,
        "f1_low": 0.0,
        "f1_high": pytest.approx(52.18, abs=0.01),
    }
    assert with_interval("f1", np.full(10, 100.0), np.arange(10) // 5)["f1_low"] == pytest.approx(15.81, abs=0.01)


def test_clusters_of_equal_means_have_the_exact_binomial_interval():
    found = with_interval("f1", [100.0, 0.0] * 4, np.arange(8) // 2)
    exact = stats.binomtest(2, 4).proportion_ci(method="exact")
    assert (found["f1_low"], found["f1_high"]) == pytest.approx((100 * exact.low, 100 * exact.high))


def test_an_interval_ends_where_scores_do():
    found = with_interval("f1", [100.0] * 7 + [0.0], np.arange(8))
    assert found["f1_high"] == 100.0 and 0 < found["f1_low"] < found["f1"] == 87.5


# Bad input


@pytest.mark.parametrize(
    "scores, paragraphs, message",
    [
        ([], [], "no scores"),
        (np.empty((0, 3)), [0, 1, 2], "no scores"),
        ([1, 0, 1], [0, 1], "3 questions"),
        ([[1, 0], [1, 0]], [0, 1, 2], "2 questions"),
        (np.ones((1, 1, 2)), [0, 1], "shape"),
        (1.0, [0], "shape"),
        ([1, math.nan], [0, 1], "NaN"),
        ([1, math.inf], [0, 1], "infinity"),
        ([1, 0, 1], ["a", "a", "a"], "two paragraphs"),
        ([1, 0], ["a", None], "label .*missing"),
        ([1, 0], [1.0, math.nan], "label .*missing"),
    ],
)
def test_bad_scores(scores, paragraphs, message):
    for function in (clustered_error, score_interval, lambda *arguments: compare(arguments[0], *arguments)):
        with pytest.raises(ValueError, match=message):
            function(scores, paragraphs)


def test_students_with_different_questions_are_not_compared():
    with pytest.raises(ValueError, match="different questions"):
        compare([1, 0, 1], [[1, 0], [0, 1]], [0, 1, 2])


@pytest.mark.parametrize("sums", [[], [1, math.nan], [[1, 2]]])
def test_bad_sums(sums):
    with pytest.raises(ValueError, match="finite sums"):
        sign_flip(sums)


@pytest.mark.parametrize("first, second", [([], []), ([1], [1, 0]), ([[1]], [[1]])])
def test_mcnemar_of_bad_shapes(first, second):
    with pytest.raises(ValueError, match="shapes"):
        mcnemar(first, second)


@pytest.mark.parametrize("first, second", [([1, 0.5], [1, 0]), ([100, 0], [1, 0]), ([math.nan, 0], [1, 0])])
def test_mcnemar_of_scores_that_are_not_right_or_wrong(first, second):
    with pytest.raises(ValueError, match="exact match"):
        mcnemar(first, second)


@pytest.mark.parametrize("p_value", [-0.1, 1.1, math.nan])
def test_bad_p_values(p_value):
    with pytest.raises(ValueError, match="0-1"):
        holm([0.5, p_value])


def test_bad_plans():
    for arguments in [(-1.0,), (math.nan,), (math.inf,), (1.0, 0.0)]:
        with pytest.raises(ValueError, match="standard error"):
            minimum_detectable_effect(*arguments)
    with pytest.raises(ValueError, match="alpha and power"):
        minimum_detectable_effect(1.0, power=1.0)


def test_the_largest_difference_is_significant_after_a_correction_for_many_tests():
    """The smallest p of 10,000 flips, corrected for 300 tests, would be .06."""
    paragraphs, right, wrong = np.arange(60), np.ones(60), np.zeros(60)
    assert 300 * compare(right, wrong, paragraphs).p_value > 0.05
    assert 300 * compare(right, wrong, paragraphs, tests=300).p_value < 0.05
    assert compare(right, wrong, paragraphs, tests=100).p_value == compare(right, wrong, paragraphs).p_value

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison.statistics import score_interval
from pipeline.scores.standard_errors import clustered_error
from tests.comparison.test_statistics import clustered_noise, paragraphs_of_unequal_size


def test_the_clustered_error_by_hand():
    # mean 0.5; deviations sum to 0.5 - 0.5 = 0, 0.5 and -0.5: sqrt((0 + 0.25 + 0.25) * 3 / 2) / 4
    assert clustered_error([1, 0, 1, 0], ["a", "a", "b", "c"]) == pytest.approx(math.sqrt(0.75) / 4)


def test_with_one_question_a_paragraph_the_clustered_error_is_the_plain_one():
    scores = np.random.default_rng(0).random(40)
    assert clustered_error(scores, np.arange(40)) == pytest.approx(stats.sem(scores))


def test_the_clustered_error_agrees_with_statsmodels():
    linear_model = pytest.importorskip("statsmodels.regression.linear_model")
    rng = np.random.default_rng(1)
    paragraphs = paragraphs_of_unequal_size(rng)
    scores = clustered_noise(rng, paragraphs)[0]
    fit = linear_model.OLS(scores, np.ones(len(scores))).fit(
        cov_type="cluster", cov_kwds={"groups": paragraphs, "use_correction": False}
    )
    expected = fit.bse[0] * math.sqrt(60 / 59)  # statsmodels' own correction has a factor more, (N - 1) / (N - K)
    assert clustered_error(scores, paragraphs) == pytest.approx(expected)
    assert score_interval(scores, paragraphs, resamples=100).standard_error == pytest.approx(expected)

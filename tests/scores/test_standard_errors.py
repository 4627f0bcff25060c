import json
import lzma
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from pipeline.comparison.statistics import score_interval
from pipeline.scores import squad_metric
from pipeline.scores.standard_errors import LEAST_ARTICLES, clustered_error, clusters_of, with_errors
from tests.comparison.test_statistics import clustered_noise, paragraphs_of_unequal_size

SQUAD = Path(__file__).parents[3] / "shared/squad"


def table(articles, paragraphs, **columns):
    return pa.table({"article": articles, "paragraph": paragraphs, **columns})


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


def test_ten_articles_are_the_clusters():
    titles = [f"article {i // 4}" for i in range(40)]
    found = clusters_of(table(titles, [str(i // 2) for i in range(40)]))
    assert (found.labels.tolist(), found.unit, found.articles) == (titles, "article", 10)
    assert found.note.startswith("95 % confidence intervals; articles are resampled")


@pytest.mark.parametrize(
    ("articles", "scope"),
    [
        ([f"article {i}" for i in range(9)] * 2, "for these 9 articles only; paragraphs are resampled"),
        (["article"] * 18, "for this article only; paragraphs are resampled"),
        ([""] * 18, "for these texts only; paragraphs are resampled"),
    ],
)
def test_fewer_articles_leave_their_paragraphs_and_the_note_says_so(articles, scope):
    paragraphs = [str(i) for i in range(18)]
    found = clusters_of(table(articles, paragraphs))
    assert (found.labels.tolist(), found.unit) == (paragraphs, "paragraph")
    assert scope in found.note


def test_a_table_without_titles_is_read():
    found = clusters_of(pa.table({"paragraph": ["a", "a", "b"]}))
    assert (found.labels.tolist(), found.unit, found.articles) == (["a", "a", "b"], "paragraph", 0)


def test_no_paragraph_is_in_two_clusters():
    """A paragraph with several titles has the first, one without a title is a cluster of its own."""
    titles = [f"article {i}" for i in range(10)]
    found = clusters_of(table([*titles, "", "article 3", "other", ""], [*map(str, range(10)), "x", "y", "3", "x"]))
    assert found.unit == "article"
    assert found.labels.tolist() == [*titles, "x", "article 3", "article 3", "x"]


def test_a_title_for_each_question_leaves_the_paragraphs():
    titles, paragraphs = [f"question {i}" for i in range(60)], [str(i // 3) for i in range(60)]
    labels = clusters_of(table(titles, paragraphs)).labels
    assert clustered_error(np.arange(60), labels) == pytest.approx(clustered_error(np.arange(60), paragraphs))


@pytest.mark.parametrize("articles", [9, 10])
def test_errors_are_clustered_by_article_from_ten_on(articles):
    rng = np.random.default_rng(2)
    names, paragraphs = [f"article {i % articles}" for i in range(90)], [f"{i % (3 * articles)}" for i in range(90)]
    scores = {name: 100.0 * (rng.random(90) < 0.5) for name in ("exact_match", "f1")}
    found = with_errors({"f1": 1, "exact_match": 2, "loss": 3}, table(names, paragraphs, **scores))
    assert list(found) == ["exact_match", "exact_match_error", "f1", "f1_error", "loss"]
    expected = names if articles >= LEAST_ARTICLES else paragraphs
    assert found["f1_error"] == clustered_error(scores["f1"], expected)


def test_one_paragraph_has_no_error():
    found = with_errors({"f1": 1, "exact_match": 2}, table(["a"] * 3, ["p"] * 3, f1=[0, 1, 2], exact_match=[0, 1, 1]))
    assert found == {"exact_match": 2, "f1": 1}


def test_intervals_by_article_cover_new_articles_and_those_by_paragraph_do_not():
    """Ten articles of 5 to 40 paragraphs with five questions; a tenth of the variance is shared by an article."""
    rng, trials = np.random.default_rng(3), 500  # binomial error of 93 %: 1.1 points
    covered = {"article": 0, "paragraph": 0}
    for _ in range(trials):
        paragraphs = np.repeat(np.arange(10), rng.integers(5, 41, 10))  # the article of each paragraph
        articles = np.repeat(paragraphs, 5)
        labels = {"article": articles, "paragraph": np.repeat(np.arange(len(paragraphs)), 5)}
        shared = rng.normal(0, math.sqrt(0.1), 10)[articles] + rng.normal(0, math.sqrt(0.1), len(paragraphs)).repeat(5)
        scores = shared + rng.normal(0, math.sqrt(0.8), len(articles))
        for unit, each in labels.items():
            quantile = stats.t.ppf(0.975, len(set(each)) - 1)
            covered[unit] += abs(scores.mean()) <= quantile * clustered_error(scores, each)
    assert covered["article"] / trials > 0.9
    assert covered["paragraph"] / trials < 0.75


def test_with_nine_comparisons_ten_clusters_can_decide_and_eight_cannot():
    smallest = {number: 9 * 2 / 2**number for number in (8, LEAST_ARTICLES)}  # of a sign-flip test, Holm-adjusted
    assert smallest[LEAST_ARTICLES] < 0.05 < smallest[8]


@pytest.mark.slow
@pytest.mark.skipif(not (SQUAD / "predictions").exists(), reason="../shared/squad/predictions is missing")
def test_errors_of_published_predictions():
    articles = json.loads(lzma.decompress((SQUAD / "dev-v1.1.json.xz").read_bytes()))["data"]
    questions = [
        (article["title"], paragraph["context"], question["id"], [answer["text"] for answer in question["answers"]])
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    titles, paragraphs, ids, answers = zip(*questions, strict=True)
    records = [{"id": name, "answers": {"text": texts}} for name, texts in zip(ids, answers, strict=True)]
    bert, match = (
        100 * np.array(squad_metric.score_each(squad_metric.f1, predictions(system), records))
        for system in ("bert-ensemble", "match-lstm")
    )
    units = (paragraphs, titles)
    assert [clustered_error(bert, unit) for unit in units] == pytest.approx([0.246, 0.470], abs=5e-4)
    assert [clustered_error(bert - match, unit) for unit in units] == pytest.approx([0.404, 0.868], abs=5e-4)


def predictions(system):
    return json.loads(lzma.decompress((SQUAD / f"predictions/{system}-v1.1.json.xz").read_bytes()))

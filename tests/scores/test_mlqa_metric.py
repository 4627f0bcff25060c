# ruff: noqa: RUF001
"""Values of MLQA's `mlqa_evaluation_v1.py` (github.com/facebookresearch/MLQA, 5ef5c73)."""

import pytest

from pipeline.scores.mlqa_metric import metric


@pytest.mark.parametrize(
    "language, prediction, reference, exact, overlap",
    [
        ("de", "Die „Alte Brücke“", "der alten Brücke", 0, 0.5),
        ("de", "das Haus des Meeres", "Haus Meeres", 1, 1),
        ("es", "¿El Prado?", "prado", 1, 1),
        ("es", "los gatos y las casas", "unos gatos", 0, 0.5),
        ("es", "—", "!", 1, 0),  # both empty
        ("vi", "Thành phố Hà Nội", "của thành phố Hà Nội", 1, 1),
        ("vi", "những chiếc xe", "xe máy", 0, 0.666667),
        ("hi", "घर में।", "घर में", 1, 1),
        ("hi", "एक घर में", "घर", 0, 0.5),
        ("ar", "البيت الكبير", "بيت كبير", 1, 1),
        ("ar", "في البيت،", "بيت", 0, 0.666667),
        ("zh", "北京大学，", "北京大学", 1, 1),
        ("zh", "1998年的北京", "1998 年北京", 0, 0.888889),
        ("zh", "NBA 50 大巨星", "50大巨星之一", 0, 0.727273),
        ("en", "“The cat”", "cat", 1, 1),
        ("en", "the", "a", 1, 0),
        ("en", "$5 million", "5 million", 1, 1),
    ],
)
def test_the_scores_are_those_of_the_published_script(language, prediction, reference, exact, overlap):
    scores = metric(language)
    assert scores.exact_match(prediction, reference) == exact
    assert scores.f1(prediction, reference) == pytest.approx(overlap, abs=1e-6)

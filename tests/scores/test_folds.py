import numpy as np
import pytest

from pipeline.scores.folds import FOLDS, balanced, deal


def test_a_group_is_in_one_fold_whatever_the_order_of_the_questions():
    groups = [f"article {i // 10}" for i in range(120)]
    found = deal(groups)
    assert len(set(zip(groups, found, strict=True))) == 12
    assert sorted(np.bincount(found)) == [20, 20, 20, 30, 30]
    assert (deal(groups[::-1]) == found[::-1]).all()


@pytest.mark.parametrize(
    ("articles", "paragraphs", "unit"), [(5, 20, "title"), (4, 20, "context"), (1, 3, "id"), (1, 1, "id")]
)
def test_folds_are_of_the_largest_unit_that_there_are_five_of(articles, paragraphs, unit):
    records = [{"title": f"a{i % articles}", "context": f"p{i % paragraphs}", "id": str(i)} for i in range(40)]
    found = balanced(records)
    assert (found == deal([record[unit] for record in records])).all()
    assert len(set(found)) == FOLDS


def test_missing_titles_are_one_article():
    records = [{"title": None, "context": f"p{i // 2}", "id": str(i)} for i in range(20)]
    assert (balanced(records) == deal([record["context"] for record in records])).all()

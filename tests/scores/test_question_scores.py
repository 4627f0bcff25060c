import pytest

from pipeline.scores.question_scores import QUESTIONS, question_scores
from pipeline.scores.spans import Answer


@pytest.fixture
def answers(records):
    return [[Answer(text, 0, len(text), 1.0)] for text in ("1899", "“Zoë Grün”", "by the river", "Two")]


def test_a_table_has_the_scores_of_its_metric(features, records, answers):
    found = {
        metric: question_scores(features, records, answers, metric=metric)["exact_match"].to_pylist()
        for metric in ("squad", "mlqa-en")
    }
    assert found == {"squad": [100, 0, 100, 100], "mlqa-en": [100, 100, 100, 100]}


def test_tables_of_other_metrics_or_references_are_not_comparable(features, records, answers):
    def questions(metric="squad"):
        return question_scores(features, records, answers, metric=metric).schema.metadata[QUESTIONS]

    same, by_another_metric = questions(), questions("mlqa-en")
    assert questions() == same != by_another_metric
    records[0]["answers"]["text"] = ["in 1899"]
    assert questions() != same


def test_agreement_is_null_where_the_teacher_has_no_answer(features, records, answers):
    table = question_scores(features, records, answers, [answers[0], None, answers[0], []])
    assert table["agreement"].to_pylist() == [100, None, 0, 0]

import numpy as np
import pytest

from pipeline import names
from pipeline.scores.metrics import METRICS, PUBLISHED, score_each, scores


def test_the_names_are_those_of_the_parameter():
    assert tuple(METRICS) == tuple(names.METRICS)


def test_the_metric_by_name_scores_the_answers(features, records):
    logits = np.zeros((2, len(features.input_ids)), dtype=np.float32)
    for row, labels in zip(logits, features.labels.T, strict=True):
        row[features.starts[:-1] + labels] = 9
    records[3]["answers"]["text"] = ["“Two”"]
    expected = {"squad": 75, "cmrc2018": 100, "mlqa-en": 100}  # squad alone counts curly quotes
    assert {name: scores(features, records, tuple(logits), 30, name)[0]["exact_match"] for name in expected} == expected


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("reference", ["שלום\u200f", "\u202a茶楼\u202c", " \u200bTea 12\ufeff "])
def test_invisible_characters_at_the_edges_of_a_reference_do_not_make_a_right_answer_wrong(metric, reference):
    answer = reference.strip(" \u200b\u200f\u202a\u202c\ufeff")
    record = {"id": "q", "answers": {"text": [reference]}}
    impossible = {"id": "r", "answers": {"text": []}}
    for records in ([record], [record, impossible]):  # as in SQuAD 1.1 and 2.0
        for prediction in (answer, reference):
            found = score_each({"q": prediction, "r": ""}, records, metric)
            assert found == {"exact_match": [1] * len(records), "f1": [1] * len(records)}


@pytest.mark.parametrize("metric", METRICS)
def test_other_texts_have_the_scores_of_the_published_metrics(metric):
    texts = ["The tea.", " the", "tea\u200bhouse", "茶楼\u3000", "(שלום\u200f)", "two\xa0teas\n", "x\u00ad y", "a"]
    for prediction in texts:
        for reference in texts:
            for ours, published in zip(METRICS[metric], PUBLISHED[metric], strict=True):
                assert ours(prediction, reference) == published(prediction, reference)

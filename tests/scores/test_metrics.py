import numpy as np

from pipeline import names
from pipeline.scores.metrics import METRICS, scores


def test_the_names_are_those_of_the_parameter():
    assert tuple(METRICS) == tuple(names.METRICS)


def test_the_metric_by_name_scores_the_answers(features, records):
    logits = np.zeros((2, len(features.input_ids)), dtype=np.float32)
    for row, labels in zip(logits, features.labels.T, strict=True):
        row[features.starts[:-1] + labels] = 9
    records[3]["answers"]["text"] = ["“Two”"]
    expected = {"squad": 75, "cmrc2018": 100, "mlqa-en": 100}  # squad alone counts curly quotes
    assert {name: scores(features, records, tuple(logits), 30, name)[0]["exact_match"] for name in expected} == expected

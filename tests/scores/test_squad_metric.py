import pytest

from pipeline.scores.squad_metric import exact_match, f1, normalize_answer, score


@pytest.mark.parametrize(
    "text, normal",
    [
        ("The  Cat", "cat"),
        ("a cat, an owl & the hen", "cat owl hen"),
        ("U.S.", "us"),
        ("another theory", "another theory"),
        ("the-end", "theend"),  # punctuation is removed before articles
        ("“quoted”", "“quoted”"),  # only ASCII punctuation is removed
        ("\tthe\n", ""),
    ],
)
def test_normalize_answer(text, normal):
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    "prediction, reference, exact, overlap",
    [
        ("the cat", "Cat.", 1, 1),
        ("black cat", "cat", 0, 2 / 3),
        ("cat cat dog", "cat dog dog", 0, 2 / 3),  # bags: one cat and one dog in common
        ("dog", "cat", 0, 0),
        ("the", "a", 1, 1),  # both empty
        ("", "cat", 0, 0),
    ],
)
def test_exact_match_and_f1(prediction, reference, exact, overlap):
    assert exact_match(prediction, reference) == exact
    assert f1(prediction, reference) == pytest.approx(overlap)


def record(identifier, *references):
    return {"id": identifier, "answers": {"text": list(references), "answer_start": [0] * len(references)}}


def test_the_best_reference_counts_and_a_missing_prediction_scores_0():
    records = [record("a", "dog", "black cat"), record("b", "hen")]
    assert score({"a": "cat"}, records) == pytest.approx({"exact_match": 0, "f1": 100 * (2 / 3) / 2})
    assert score({"a": "the dog", "b": "hen", "c": "owl"}, records) == {"exact_match": 100, "f1": 100}


def test_no_records_raises():
    with pytest.raises(ValueError, match="no questions"):
        score({}, [])

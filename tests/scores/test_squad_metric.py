import json
import lzma
import string
from pathlib import Path

import pytest

from pipeline.scores.squad_metric import exact_match, f1, normalize_answer, score_each

SQUAD = Path(__file__).parents[3] / "shared/squad"


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
        ("the", "a", 1, 0),  # both empty, as in the script of SQuAD 1.1; in that of 2.0 F1 is 1
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
    assert score_each(f1, {"a": "cat"}, records) == pytest.approx([2 / 3, 0])
    assert score_each(exact_match, {"a": "the dog", "b": "hen", "c": "owl"}, records) == [1, 1]


def official_words(text):
    """The words that are compared by the rules of SQuAD's script, in its order: case, punctuation, articles, spaces."""
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    words, word = [], ""
    for character in plain + " ":
        if character.isalnum() or character == "_":
            word += character
            continue
        words.append(("" if word in ("a", "an", "the") else word) + (" " if character.isspace() else character))
        word = ""
    return "".join(words).split()


def official_scores(prediction, references):
    """Exact match and F1, 0-1, by precision and recall."""
    pairs = []
    for reference in references:
        predicted, expected = official_words(prediction), official_words(reference)
        left = list(expected)
        common = 0
        for word in predicted:
            if word in left:
                left.remove(word)
                common += 1
        precision, recall = (common / len(words) if words else 0 for words in (predicted, expected))
        pairs.append((predicted == expected, 2 * precision * recall / (precision + recall) if common else 0))
    return tuple(map(max, zip(*pairs, strict=True)))


@pytest.fixture(scope="module")
def squad():
    data = json.loads(lzma.decompress((SQUAD / "dev-v1.1.json.xz").read_bytes()))["data"]
    questions = (question for article in data for paragraph in article["paragraphs"] for question in paragraph["qas"])
    return [record(question["id"], *(answer["text"] for answer in question["answers"])) for question in questions]


@pytest.mark.slow
@pytest.mark.skipif(not (SQUAD / "predictions").exists(), reason="../shared/squad/predictions is missing")
@pytest.mark.parametrize(
    ("system", "published"), [("bert-ensemble", (86.206, 92.196)), ("match-lstm", (67.635, 76.756))]
)
def test_published_predictions_have_their_published_scores_and_those_of_the_rules(squad, system, published):
    """Each of the 10,570 questions; torchmetrics 1.9.0 gives the same scores, checked once by hand."""
    predictions = json.loads(lzma.decompress((SQUAD / f"predictions/{system}-v1.1.json.xz").read_bytes()))
    exact, overlaps = (score_each(metric, predictions, squad) for metric in (exact_match, f1))
    assert tuple(round(100 * sum(each) / len(squad), 3) for each in (exact, overlaps)) == published
    expected = [official_scores(predictions[record["id"]], record["answers"]["text"]) for record in squad]
    assert exact == [each for each, _ in expected]
    assert overlaps == pytest.approx([overlap for _, overlap in expected], abs=1e-12)

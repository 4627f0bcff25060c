import pytest

from pipeline.report.examples import answers, pack, place, references
from tests.report import generated


def test_an_answer_is_its_place_in_the_context():
    assert place("The café 😀 opened.", 9, "😀 opened") == [9, 8]


@pytest.mark.parametrize(("start", "text"), [(None, None), (None, ""), (0, ""), (3, "The"), (99, "The"), (None, "The")])
def test_a_text_that_is_not_there_is_kept_as_text(start, text):
    assert place("The café", start, text) == [None, text]


def test_equal_references_count_once():
    answers = {"text": ["café", "The café", "café"], "answer_start": [4, 0, 4]}
    assert references({"context": "The café", "answers": answers}) == [[4, 4], [0, 8]]


def test_a_context_is_stored_once(records, teacher):
    packed = pack(records, {"large": teacher}, [generated.entry("linear", {}, [teacher, teacher]).candidate])
    assert len(packed["contexts"]) == 6
    assert [packed["contexts"][i] for i in packed["context"]] == [record["context"] for record in records]
    assert [len(seeds) for seeds in packed["students"]] == [2]
    assert packed["teachers"][0]["name"] == "large"


def test_packed_answers_are_those_of_the_table(records, teacher):
    packed = answers(records, teacher)
    for i, record in enumerate(records):
        start, length = packed["start"][i], packed["answer"][i]
        assert record["context"][start : start + length] == teacher["prediction"][i]
    assert packed["exact"] == [int(value == 100) for value in teacher["exact_match"]]


def test_a_question_without_an_answer(records, teacher):
    packed = answers(records, teacher.assign(start=None, prediction=None, score=None, exact_match=0.0, f1=0.0))
    assert (packed["start"][0], packed["answer"][0], packed["score"][0]) == (None, None, None)

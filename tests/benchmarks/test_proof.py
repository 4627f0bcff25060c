import pytest

from benchmarks.proof import part, without_answers

QUESTIONS = {
    "version": "1.1",
    "data": [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": f"{title} is here.",
                    "qas": [
                        {"id": f"{title}{i}", "question": "What?", "answers": [{"text": title, "answer_start": 0}]}
                        for i in range(3)
                    ],
                }
            ],
        }
        for title in ("first", "second")
    ],
}


def ids(data):
    return [qa["id"] for article in data["data"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]]


def test_questions_are_taken_by_their_number_in_the_file():
    assert ids(part(QUESTIONS, range(2, 4))) == ["first2", "second0"]
    assert [article["title"] for article in part(QUESTIONS, range(3))["data"]] == ["first"]
    assert part(QUESTIONS, range(6)) == QUESTIONS


def test_too_few_questions_are_refused():
    with pytest.raises(SystemExit, match=r"6.*7"):
        part(QUESTIONS, range(7))


def test_questions_lose_their_answers():
    data = without_answers(part(QUESTIONS, range(2)))
    assert ids(data) == ["first0", "first1"] and "answer" not in str(data)
    assert QUESTIONS["data"][0]["paragraphs"][0]["qas"][0]["answers"]

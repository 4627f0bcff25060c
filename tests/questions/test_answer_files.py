import json
import math
import tracemalloc

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.questions.answer_files import read_answers
from pipeline.questions.question import unlabeled
from tests.conftest import MILL, TEA


@pytest.fixture
def read(tmp_path, records):
    """Read a file: JSON Lines of the values in a list, or JSON of an object, or a text."""

    def read(content, questions=records):
        if isinstance(content, list):
            content = "".join(json.dumps(value) + "\n" for value in content)
        path = tmp_path / "answers"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return read_answers(path, "a.jsonl", {"train": questions})

    return read


def line(identifier, *answers):
    return {"id": identifier, "answers": list(answers)}


def found(answers, question, context):
    """{text: probability} of the places of a question; at several places one has the last."""
    places = answers.of(question)
    pairs = zip(answers.places[places].tolist(), answers.probabilities[places].tolist(), strict=True)
    return {context[start:end]: pytest.approx(probability) for (start, end), probability in pairs}


def test_the_three_formats_and_their_indented_forms_are_known_by_their_content(read):
    nbest = [{"text": "1899", "probability": 0.75, "start_logit": 5.0}, {"text": "Oak Lane", "probability": 0.25}]
    lines = [line("mill-1", {"text": "by the river"}), line("tea-1", *nbest)]
    document = {"mill-1": [{"text": "by the river", "probability": 1.0}], "tea-1": nbest}
    for content in (lines, document, json.dumps(document, indent=2), "\ufeff" + json.dumps(document)):
        answers = read(content)
        assert found(answers, 0, TEA) == {"1899": 0.75, "Oak Lane": 0.25}
        assert found(answers, 2, MILL) == {"by the river": 1.0}
        assert answers.first.tolist()[1::2] == [-1, -1] and answers.count.tolist() == [2, 0, 1, 0]
    texts = {"mill-1": "by the river", "tea-1": None}
    for content in (texts, json.dumps({**texts, "tea-1": ""}, indent=1)):
        answers = read(content)
        assert found(answers, 2, MILL) == {"by the river": 1.0}
        assert answers.places[answers.of(0)].tolist() == [[0, 0]] and answers.probabilities[answers.of(0)] == [1]


def test_the_answers_that_ask_writes_are_read(read):
    reply = {"text": "1899", "start": 31, "end": 35, "score": 7.5, "confidence": 0.8, "sentence": "The café ..."}
    none = {"text": "", "start": 0, "end": 0, "score": 1.0, "confidence": 0.2, "sentence": ""}
    answers = read([{"id": "tea-1", "question": "When?", "answers": [reply, none]}])
    assert answers.places.tolist() == [[31, 35], [0, 0]]
    assert answers.probabilities.tolist() == pytest.approx([0.8, 0.2])


def test_a_probability_counts_before_a_confidence_and_this_before_a_score(read):
    texts = [{"text": "1899"}, {"text": "Oak Lane"}]
    numbers = {"probability": [0.5, 0.3], "confidence": [0.6, 0.1], "score": [math.log(3), 0.0]}
    expected = {"probability": [0.5, 0.3], "confidence": [0.6, 0.1], "score": [0.75, 0.25]}
    while numbers:
        entries = [{**text, **{name: value[i] for name, value in numbers.items()}} for i, text in enumerate(texts)]
        first = next(iter(numbers))
        assert read([line("tea-1", *entries)]).probabilities.tolist() == pytest.approx(expected[first])
        del numbers[first]


def test_large_scores_have_a_softmax(read):
    answers = read([line("tea-1", {"text": "1899", "score": 5000}, {"text": "Oak Lane", "score": -5000})])
    assert answers.probabilities.tolist() == [1.0, 0.0]


def test_an_answer_in_several_places_has_an_equal_part_in_each(read):
    answers = read([line("mill-1", {"text": "the river", "probability": 0.6}, {"text": "Two", "probability": 0.4})])
    first, two = MILL.index("the river"), MILL.index("Two")
    second = MILL.index("the river", first + 1)
    assert answers.places.tolist() == [[first, first + 9], [second, second + 9], [two, two + 3]]
    assert answers.probabilities.tolist() == pytest.approx([0.3, 0.3, 0.4])
    assert answers.counts.several == 1
    # with its offset there is one
    assert read([line("mill-1", {"text": "the river", "start": second})]).places.tolist() == [[second, second + 9]]


def test_answers_that_are_nowhere_are_dropped_and_counted(read):
    lines = [
        line("tea-1", {"text": "in 1899", "probability": 0.5}, {"text": "around 1899", "probability": 0.5}),
        line("tea-2", {"text": "the owner"}),
        line("mill-1", {"text": "nowhere"}),
        line("mill-2", {"text": "zwei"}),
    ]
    answers = read(lines)
    assert answers.count.tolist() == [1, 0, 0, 0] and answers.probabilities.tolist() == [0.5]
    assert (answers.counts.answers, answers.counts.unfound) == (5, 4)
    assert [example.text for example in answers.counts.examples] == ["around 1899", "the owner", "nowhere"]
    assert answers.first.tolist() == [0, 1, 1, 1]  # the file has them


def test_a_question_may_have_an_empty_list(read):
    answers = read([line("tea-1"), line("tea-2", {"text": "Zoë Grün"})])
    assert answers.count.tolist() == [0, 1, 0, 0] and answers.first[0] == 0


TWO = [{"text": "1899", "probability": 0.7}, {"text": "Oak Lane", "probability": 0.4}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("[]", "a.jsonl"),
        ("{}", "a.jsonl has no answers"),
        ("{'a': 1}", "not JSON"),
        ('{"id": "tea-1", "answers": [{"text": "1899"}]}\n{"id": ', "line 2"),
        ('{"id": "tea-1", "answers": [{"text": "1899"}]}\n\n[]\n', "line 3"),
        ([line("tea-1", {"text": "1899"}), {"id": "tea-2", "answer": "Zoë"}], "line 2"),
        ([line("tea-1", {"text": "1899"}), line("cow-1", {"text": "1899"})], "line 2: question cow-1"),
        ([line(None, {"text": "1899"})], "line 1: question None"),
        ([line([1], {"text": "1899"})], r"line 1: question \[1\]"),
        ({"cow-1": "milk"}, "question cow-1"),
        ([line("tea-1", {"text": "1899"}), line("tea-1", {"text": "1899"})], "line 2: question tea-1"),
        ('{"tea-1": "1899", "tea-1": "Oak"}', "tea-1"),
        ([line("tea-1", "1899")], "line 1: question tea-1"),
        ([{"id": "tea-1", "answers": "1899"}], "line 1: question tea-1"),
        ([line("tea-1", {"start": 5})], "line 1: question tea-1.*text"),
        ([line("tea-1", {"text": 1899})], "line 1: question tea-1.*text"),
        ([line("tea-1", {"text": "1899", "start": 30})], "line 1: question tea-1.*1899.*30.* 189'"),
        ([line("tea-1", {"text": "1899", "start": -80})], "line 1: question tea-1.*-80"),
        ([line("tea-1", {"text": "1899", "start": 31.0})], "line 1: question tea-1.*31.0"),
        ([line("tea-1", {"text": "1899", "start": True})], "line 1: question tea-1.*True"),
        ([line("tea-1", *TWO)], "line 1: question tea-1.*1.1"),
        ([line("tea-1", {"text": "1899", "confidence": 95})], "line 1: question tea-1.*confidence.*95"),
        ([line("tea-1", {"text": "1899", "probability": -0.1})], "line 1: question tea-1.*-0.1"),
        ([line("tea-1", {"text": "1899", "probability": float("nan")})], "line 1: question tea-1.*nan"),
        ([line("tea-1", {"text": "1899", "score": 10**400})], "line 1: question tea-1.*score"),
        ([line("tea-1", {"text": "1899", "score": "high"})], "line 1: question tea-1.*'high'"),
        ([line("tea-1", {"text": "1899"}, {"text": "Oak"})], "line 1: question tea-1.*probability"),
        ([line("tea-1", {"text": "1899", "score": 1}, {"text": "Oak"})], "line 1: question tea-1.*score.*None"),
        ("[" * 100_000, "not JSON"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_line_and_the_id(read, content, words):
    with pytest.raises(InputError, match=words) as refused:
        read(content)
    assert str(refused.value).startswith("a.jsonl") and "\n" not in str(refused.value)


def test_a_file_that_is_not_text_is_refused(tmp_path, records):
    path = tmp_path / "answers"
    path.write_bytes(b'{"tea-1": "\xff"}')
    with pytest.raises(InputError, match=r"a\.jsonl.*UTF-8"):
        read_answers(path, "a.jsonl", {"train": records})


def test_an_id_of_two_splits_is_refused_where_it_is_answered(tmp_path, records):
    path = tmp_path / "answers"
    path.write_text('{"tea-1": "1899", "mill-2": "Two"}')
    with pytest.raises(InputError, match=r"mill-2.*train, validation"):
        read_answers(path, "a.json", {"train": records, "validation": records[3:]})
    answers = read_answers(path, "a.json", {"train": records[:3], "validation": records[3:]})
    assert answers.count.tolist() == [1, 0, 0, 1]


def test_an_answer_of_json_lines_takes_at_most_100_bytes(tmp_path):
    """1,000,000 lines are measured in docs/answers.md; the ids are those of the questions."""
    size = 20_000
    questions = [unlabeled(f"{i:024x}", "When did it open?", TEA) for i in range(size)]
    path = tmp_path / "answers"
    with open(path, "w") as file:
        for question in questions:
            file.write(json.dumps(line(question["id"], {"text": "1899", "start": 31, "confidence": 0.5})) + "\n")
    tracemalloc.start()
    try:
        answers = read_answers(path, "a.jsonl", {"train": questions})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(answers.places) == size and np.all(answers.places == (31, 35))
    assert peak <= 100 * size + 500_000  # buffers of the file and modules that are loaded

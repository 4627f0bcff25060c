import json
import sys
from types import SimpleNamespace

import pytest

from pipeline.errors import InputError
from pipeline.questions import squad

CONTEXT = "Ann keeps bees. Zoë keeps two hens."
BEES = {"id": "q1", "question": "What does Ann keep?", "answers": [{"text": "bees", "answer_start": 10}]}
HENS = {"id": "q2", "question": "What does Zoë keep?", "answers": [{"text": "two hens", "answer_start": 26}]}
COWS = {"id": "q3", "question": "Who keeps cows?", "answers": [], "is_impossible": True}


@pytest.fixture
def write(tmp_path):
    """Writes questions about one context as a SQuAD file; `text` replaces the file's whole content."""

    def write(*questions, title="Farm", context=CONTEXT, text=None):
        paragraph = {"context": context, "qas": list(questions)}
        document = {"version": "x", "data": [{"title": title, "paragraphs": [paragraph]}]}
        path = tmp_path / "questions.json"
        path.write_text(json.dumps(document) if text is None else text, encoding="utf-8")
        return path

    return write


def read_and_check(path):
    records, _ = squad.read_json(path)
    return squad.checked(records, path.name)


def one_problem(path):
    with pytest.raises(InputError) as refused:
        read_and_check(path)
    head, problem = str(refused.value).split("\n")
    assert head == "1 bad of 1 questions:"
    return problem


def numbered(count):
    return [{**BEES, "id": f"q{i}"} for i in range(count)]


def test_squad_1_records_are_as_the_hubs(write):
    assert read_and_check(write(BEES, HENS)) == [
        {
            "id": "q1",
            "title": "Farm",
            "context": CONTEXT,
            "question": "What does Ann keep?",
            "answers": {"text": ["bees"], "answer_start": [10]},
        },
        {
            "id": "q2",
            "title": "Farm",
            "context": CONTEXT,
            "question": "What does Zoë keep?",
            "answers": {"text": ["two hens"], "answer_start": [26]},
        },
    ]


def test_squad_2_leaves_out_and_counts_unanswerable_questions(write):
    answerable = {**BEES, "is_impossible": False, "plausible_answers": []}
    records, unanswerable = squad.read_json(write(COWS, answerable, {**COWS, "id": "q4"}))
    assert [record["id"] for record in records] == ["q1"]
    assert unanswerable == 2


def test_several_references_are_kept_in_order(write):
    answers = [{"text": "hens", "answer_start": 30}, {"text": "two hens", "answer_start": 26}]
    (record,) = read_and_check(write({**HENS, "answers": answers}))
    assert record["answers"] == {"text": ["hens", "two hens"], "answer_start": [30, 26]}


def test_articles_and_paragraphs_are_read_in_order(write):
    paragraphs = [{"context": CONTEXT, "qas": [question]} for question in (HENS, BEES)]
    articles = [{"title": "B", "paragraphs": paragraphs}, {"paragraphs": [{"context": "", "qas": []}]}]
    records, _ = squad.read_json(write(text=json.dumps({"data": articles})))
    assert [(record["title"], record["id"]) for record in records] == [("B", "q2"), ("B", "q1")]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": None}, "question number 0 (no id): id is missing"),
        ({"id": 7}, "id is missing or not text"),
        ({"id": ""}, "question number 0 (no id): id is empty"),
        ({"question": None}, "question q1: question is missing"),
        ({"question": ["why"]}, "question is missing or not text"),
        ({"question": " \n"}, "question is empty"),
        ({"answers": "bees"}, "answers are missing, or not a list"),
        ({"answers": ["bees"]}, "answers are missing, or not a list"),
        ({"answers": [{"answer_start": 10}]}, "text is missing"),
        ({"answers": [{"text": " ", "answer_start": 3}]}, "text is missing or empty"),
        ({"answers": [{"text": ["bees"], "answer_start": 10}]}, "text is missing"),
        ({"answers": [{"text": "bees"}]}, "answer_start of 'bees' is missing"),
        ({"answers": [{"text": "bees", "answer_start": "10"}]}, "not a whole number"),
        ({"answers": [{"text": "bees", "answer_start": 10.0}]}, "not a whole number"),
        ({"answers": [{"text": "nn", "answer_start": True}]}, "not a whole number"),
        ({"answers": [{"text": "bees", "answer_start": 9}]}, "answer_start 9 points at ' bee', the answer is 'bees'"),
        ({"answers": [{"text": "Bees", "answer_start": 10}]}, "points at 'bees', the answer is 'Bees'"),
        ({"answers": [{"text": "bees", "answer_start": 99}]}, "answer_start 99 points at ''"),
        ({"answers": [{"text": "s.", "answer_start": -2}]}, "answer_start -2 points at ''"),
        ({"answers": [*BEES["answers"], {"text": "hens", "answer_start": 0}]}, "points at 'Ann '"),
        ({"answers": {"text": ["bees"], "answer_start": []}}, "q1: answers"),
        ({"answers": {"text": ["bees"], "answer_start": [10, 11]}}, "q1: answers"),
        ({"answers": {"text": "bees", "answer_start": 10}}, "q1: answers"),
        ({"answers": {"text": "bees", "answer_start": [10, 10, 10, 10]}}, "q1: answers"),
        ({"question": "half a pair \ud800"}, "q1: question"),
    ],
)
def test_a_bad_question_is_refused_with_its_fault(write, change, expected):
    problem = one_problem(write({**BEES, **change}))
    assert problem.startswith("  questions.json: question ")
    assert expected in problem


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"context": None}, "q1: context is missing or not text"),
        ({"context": 5}, "q1: context is missing or not text"),
        ({"context": "  "}, "q1: context is empty"),
        ({"context": CONTEXT + "\ud800"}, "q1: context"),
        ({"title": 5}, "q1: title"),
    ],
)
def test_a_bad_paragraph_or_article_is_refused_with_its_question(write, place, expected):
    assert expected in one_problem(write(BEES, **place))


def test_an_article_without_a_title_is_fine(write):
    assert read_and_check(write(BEES, title=None))[0]["title"] is None


def test_a_repeated_id_is_refused(write):
    with pytest.raises(InputError, match=r"1 bad of 2 questions:\n  questions\.json: question q1: the id occurs twice"):
        read_and_check(write(BEES, {**HENS, "id": "q1"}))


def test_all_bad_questions_are_listed_in_order(write):
    bad = [{**question, "question": ""} for question in numbered(3)]
    with pytest.raises(InputError) as refused:
        read_and_check(write(bad[2], {**BEES, "id": "good"}, bad[0], bad[1]))
    lines = str(refused.value).split("\n")
    assert lines[0] == "3 bad of 4 questions:"
    assert [line.split()[2] for line in lines[1:]] == ["q2:", "q0:", "q1:"]


@pytest.mark.parametrize(
    ("count", "head"), [(20, "20 bad of 20 questions:"), (21, "21 bad of 21 questions, the first 20:")]
)
def test_at_most_twenty_bad_questions_are_listed(write, count, head):
    with pytest.raises(InputError) as refused:
        read_and_check(write(*numbered(count), context="other"))
    lines = str(refused.value).split("\n")
    assert lines[0] == head
    assert len(lines) == 21


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("[]", "the file has no list 'data'"),
        ('{"data": {}}', "the file has no list 'data'"),
        ('{"data": [1]}', r"data\[0\] has no list 'paragraphs'"),
        ('{"data": [{"paragraphs": []}, {}]}', r"data\[1\] has no list 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"context": "x"}]}]}', r"data\[0\]\.paragraphs\[0\] has no list 'qas'"),
        ('{"data": [{"paragraphs": [{"qas": [1]}]}]}', r"data\[0\]\.paragraphs\[0\]\.qas\[0\] is not an object"),
        ('{"data": []}', "has no question that can be used"),
    ],
)
def test_a_file_of_another_layout_is_refused(write, text, expected):
    with pytest.raises(InputError, match=rf"questions\.json.*{expected}"):
        read_and_check(write(text=text))


@pytest.mark.parametrize("answers", [{}, {"answers": None}, {"answers": []}], ids=["left out", "null", "empty"])
def test_a_question_without_answers_is_kept_without_a_label(write, answers):
    unlabelled = {"id": "q9", "question": HENS["question"], **answers}
    first, second = read_and_check(write(BEES, unlabelled))
    assert second["answers"] == squad.NO_ANSWERS
    assert squad.labelled([first, second]) == [first]


def test_only_unanswerable_questions_are_too_few(write):
    with pytest.raises(InputError, match=r"questions\.json has no question that can be used"):
        read_and_check(write(COWS))


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "questions.json"
    path.write_bytes('{"data": "Zoë"}'.encode("latin-1"))
    with pytest.raises(InputError, match=r"questions\.json is not JSON"):
        squad.read_json(path)


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(InputError, match=r"none\.json is missing; put it there and run `dvc add \S*none\.json`"):
        squad.read_json(tmp_path / "none.json")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match=tmp_path.name):
        squad.read_json(tmp_path)


@pytest.mark.parametrize(("size", "kept"), [(None, 3), (2, 2), (3, 3), (5, 3)])
def test_the_first_records_are_kept(write, size, kept):
    records, _ = squad.read_json(write(*numbered(3)))
    assert squad.checked(records, "file", size) == records[:kept]


def test_records_beyond_the_size_are_not_looked_at(write):
    records, _ = squad.read_json(write(BEES, {**HENS, "question": ""}))
    assert len(squad.checked(records, "file", 1)) == 1


def hub_row(identifier, text, start, **more):
    answers = {"text": text, "answer_start": start}
    return {"id": identifier, "title": "Farm", "context": CONTEXT, "question": "What?", "answers": answers, **more}


@pytest.fixture
def hub(monkeypatch):
    """A `datasets` module that gives these rows, or raises them, and notes what it is asked for."""

    def hub(rows):
        asked = []

        def load_dataset(source, **more):
            asked.append((source, more))
            if isinstance(rows, Exception):
                raise rows
            return rows

        monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
        return asked

    return hub


def test_hub_rows_become_records(hub):
    rows = [hub_row("a", ["bees"], [10], extra=1), hub_row("b", [], []), hub_row("c", ["Ann"], [0])]
    asked = hub(rows)
    records, unanswerable = squad.read_hub("some/questions", "abc", "train", None)
    assert asked == [("some/questions", {"revision": "abc", "split": "train"})]
    assert [record["id"] for record in squad.checked(records, "hub")] == ["a", "c"]
    assert records[0].keys() == {"id", "title", "context", "question", "answers"}
    assert unanswerable == 1


@pytest.mark.parametrize(("size", "expected"), [(1, (["a"], 0)), (2, (["a", "c"], 1)), (9, (["a", "c"], 1))])
def test_the_size_counts_answerable_hub_rows(hub, size, expected):
    hub([hub_row("a", ["bees"], [10]), hub_row("b", [], []), hub_row("c", ["Ann"], [0])])
    records, unanswerable = squad.read_hub("some/questions", "abc", "train", size)
    assert ([record["id"] for record in records], unanswerable) == expected


def test_a_hub_set_of_other_columns_is_refused(hub):
    hub([{"id": "a", "text": "x", "label": 1}])
    records, _ = squad.read_hub("some/labels", "abc", "train", None)
    with pytest.raises(InputError, match="question a: context is missing"):
        squad.checked(records, "hub")


def test_a_hub_that_cannot_be_reached_is_one_line(hub):
    hub(ConnectionError("no route"))
    with pytest.raises(InputError, match="hub data set some/questions, revision abc, split validation: no route"):
        squad.read_hub("some/questions", "abc", "validation", None)

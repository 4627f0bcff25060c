import pytest

from pipeline.errors import InputError
from pipeline.questions import squad
from pipeline.questions.checks import checked
from tests.questions.farm import BEES, CONTEXT, COWS, HENS, all_of, numbered
from tests.words import mentions, refused


def read_and_check(path):
    return list(checked(squad.read_json(path), path.name).records)


def one_problem(path):
    with pytest.raises(InputError) as raised:
        read_and_check(path)
    head, problem = str(raised.value).split("\n")
    mentions(head, "1 of 1", "invalid", "`dataset.faulty: drop`")
    return problem


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": None}, ("number 0", "id", "missing")),
        ({"id": 7.5}, ("id", "string")),
        ({"id": True}, ("id", "string")),
        ({"id": ""}, ("number 0", "id", "empty")),
        ({"question": None}, ("q1: question", "missing")),
        ({"question": ["why"]}, ("q1: question", "string")),
        ({"question": " \n"}, ("q1: question", "empty")),
        ({"answers": "bees"}, ("q1: answers", "list")),
        ({"answers": ["bees", 5]}, ("q1: answers", "list")),
        ({"answers": ["bees", "cows"]}, ("context", "'cows'")),
        ({"answers": [{"answer_start": 10}]}, ("text", "missing")),
        ({"answers": [{"text": " ", "answer_start": 3}]}, ("text", "empty", "invisible")),
        ({"answers": [{"text": "\u200f\u00ad", "answer_start": 3}]}, ("text", "empty", "invisible")),
        ({"answers": [""]}, ("text", "empty", "invisible")),
        ({"answers": [{"text": ["bees"], "answer_start": 10}]}, ("text", "missing")),
        ({"answers": [{"text": "bees"}]}, ("answer_start", "'bees'", "missing")),
        ({"answers": [{"text": "bees", "answer_start": "10"}]}, ("answer_start", "integer")),
        ({"answers": [{"text": "bees", "answer_start": 10.0}]}, ("answer_start", "integer")),
        ({"answers": [{"text": "nn", "answer_start": True}]}, ("answer_start", "integer")),
        (
            {"answers": [{"text": "bees", "answer_start": 9}]},
            ("answer_start 9", "' bee'", "'bees'"),
        ),
        ({"answers": [{"text": "Bees", "answer_start": 10}]}, ("answer_start 10", "'bees'", "'Bees'")),
        ({"answers": [{"text": "bees", "answer_start": 99}]}, ("answer_start 99", "''")),
        ({"answers": [{"text": "s.", "answer_start": -2}]}, ("answer_start -2", "''")),
        ({"answers": [*BEES["answers"], {"text": "hens", "answer_start": 0}]}, ("answer_start 0", "'Ann '")),
        ({"answers": {"text": ["bees"], "answer_start": []}}, ("q1: answers",)),
        ({"answers": {"text": ["bees"], "answer_start": [10, 11]}}, ("q1: answers",)),
        ({"answers": {"text": "bees", "answer_start": 10}}, ("q1: answers",)),
        ({"answers": {"text": "bees", "answer_start": [10, 10, 10, 10]}}, ("q1: answers",)),
        (
            {"question": "half a pair \ud800 of two"},
            ("q1: question", "surrogate", r"'half a pair \ud800'"),
        ),
        ({"id": "\udc80"}, ("id", "surrogate", r"'\udc80'")),
    ],
)
def test_an_invalid_question_raises_with_its_problem(write, change, expected):
    problem = one_problem(write({**BEES, **change}))
    assert problem.startswith("  questions.json: question ")
    mentions(problem, *expected)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"context": None}, ("q1: context", "string")),
        ({"context": 5}, ("q1: context", "string")),
        ({"context": "  "}, ("q1: context", "empty")),
        (
            {"context": CONTEXT + "\ud800"},
            ("context", "surrogate", r"' Zo\xeb keeps two hens.\ud800'"),
        ),
    ],
)
def test_an_invalid_paragraph_or_article_raises_with_its_question(write, place, expected):
    mentions(one_problem(write(BEES, **place)), *expected)


@pytest.mark.parametrize(
    ("context", "text", "expected"),
    [
        ("two\xa0hens", "two hens", (r"'two\xa0hens'", "'two hens'", "character 3",
         "U+00A0 NO-BREAK SPACE in the context", "U+0020 SPACE in the answer")),
        ("cafe\u0301", "caf\xe9", ("character 3", "U+0065 LATIN SMALL LETTER E",
         "U+00E9 LATIN SMALL LETTER E WITH ACUTE")),
        ("\u0430bc", "abc", ("character 0", "U+0430 CYRILLIC SMALL LETTER A", "U+0061 LATIN")),
        ("\u200babc", "abc", (r"'\u200bab'", "'abc'", "character 0", "U+200B ZERO WIDTH SPACE")),
        ("two\nhens", "two hens", (r"'two\nhens'", "'two hens'")),
    ],
)  # fmt: skip
def test_strings_that_look_the_same_are_told_apart(write, context, text, expected):
    answers = [{"text": text, "answer_start": 0}]
    mentions(one_problem(write({**BEES, "answers": answers}, context=context)), *expected)


def test_a_duplicate_id_raises(write):
    with refused("1 of 2", "questions.json: question q1", "duplicate id", one_line=False):
        read_and_check(write(BEES, {**HENS, "id": "q1"}))


def test_all_invalid_questions_are_listed_in_order(write):
    bad = [{**question, "question": ""} for question in numbered(3)]
    with pytest.raises(InputError) as raised:
        read_and_check(write(bad[2], {**BEES, "id": "good"}, bad[0], bad[1]))
    lines = str(raised.value).split("\n")
    assert lines[0].startswith("3 of 4 ")
    assert [line.split()[2] for line in lines[1:]] == ["q2:", "q0:", "q1:"]


@pytest.mark.parametrize(("count", "head"), [(20, "20 of 20 questions"), (21, "21 of 21 questions")])
def test_at_most_twenty_invalid_questions_are_listed(write, count, head):
    with pytest.raises(InputError) as raised:
        read_and_check(write(*numbered(count), context="other"))
    lines = str(raised.value).split("\n")
    assert lines[0].startswith(head) and ("first 20" in lines[0]) == (count > 20)
    assert len(lines) == 21


@pytest.mark.parametrize(("size", "count"), [(None, 3), (2, 2), (3, 3), (5, 3)])
def test_the_first_records_are_selected(write, size, count):
    records = list(squad.read_json(write(*numbered(3))))
    assert list(checked(records, "file", size).records) == records[:count]


def test_records_beyond_the_size_are_not_checked(write):
    records = squad.read_json(write(BEES, {**HENS, "question": ""}))
    assert len(list(checked(records, "file", 1).records)) == 1


WRONG_START = {**HENS, "answers": [{"text": "two hens", "answer_start": 25}]}
NOWHERE = {**BEES, "id": "q4", "answers": [{"text": "cows", "answer_start": 3}]}


def test_the_error_names_the_option_and_what_it_would_do(write):
    with refused("2 of 3", "`dataset.faulty: drop`", "`repair`", "1 of", one_line=False):
        read_and_check(write(BEES, WRONG_START, NOWHERE))


def test_dropped_questions_are_left_out_and_returned_with_their_reason(write):
    found = all_of(
        checked(squad.read_json(write(BEES, WRONG_START, NOWHERE, BEES, {**COWS, "id": None})), "file", None, "drop")
    )
    assert [record["id"] for record in found.records] == ["q1"]
    assert [(fault.id, fault.action) for fault in found.faults] == [
        (name, "left out") for name in ("q2", "q4", "q1", "number 4 (no id)")
    ]
    assert [word in fault.reason for word, fault in zip(("25", "cows", "dupl", "id is"), found.faults, strict=True)]


def test_repaired_answers_get_the_nearest_place_and_its_text(write):
    context = "two hens, two\xa0hens and a cafe\u0301"
    answers = [
        {"text": "two hens", "answer_start": 9},
        {"text": "two hens", "answer_start": 0},
        {"text": "caf\xe9", "answer_start": None},
    ]
    questions = [{**HENS, "answers": answers}, {**BEES, "answers": []}, NOWHERE]
    found = all_of(checked(squad.read_json(write(*questions, context=context)), "file", None, "repair"))
    assert [record["id"] for record in found.records] == ["q2", "q1"]
    assert found.records[0]["answers"] == {
        "text": ["two\xa0hens", "two hens", "cafe\u0301"],
        "answer_start": [10, 0, 25],
    }
    assert [(fault.id, fault.action) for fault in found.faults] == [("q2", "repaired"), ("q4", "left out")]
    assert "answer_start 9 points to" in found.faults[0].reason


@pytest.mark.parametrize(
    "change",
    [
        {"question": ""},
        {"answers": {"text": "bees", "answer_start": [10, 10, 10, 10]}},
        {"answers": [*BEES["answers"], {"text": "cows", "answer_start": 0}]},
        {"answers": [{"text": "", "answer_start": 0}]},
        {"answers": ["cows"]},
    ],
)
def test_what_cannot_be_repaired_is_left_out(write, change):
    found = all_of(checked(squad.read_json(write({**BEES, **change}, HENS)), "file", None, "repair"))
    assert [record["id"] for record in found.records] == ["q2"]
    assert [fault.action for fault in found.faults] == ["left out"]


@pytest.mark.parametrize("faulty", ["drop", "repair"])
def test_the_size_counts_the_questions_that_are_kept(write, faulty):
    found = all_of(checked(squad.read_json(write(NOWHERE, BEES, HENS)), "file", 1, faulty))
    assert [record["id"] for record in found.records] == ["q1"] and len(found.faults) == 1


@pytest.mark.parametrize("faulty", ["drop", "repair"])
def test_no_valid_question_is_an_error_that_lists_them(write, faulty):
    with refused("1 of 1", "question q4: answer_start 3", one_line=False):
        all_of(checked(squad.read_json(write(NOWHERE)), "file", None, faulty))


def test_answers_without_a_start_get_the_first_place_and_are_counted_if_there_are_more():
    questions = [{**HENS, "answers": ["hens"]}, {**BEES, "answers": {"text": ["keeps"]}}]
    found = all_of(checked([squad.record("Farm", CONTEXT, question, "file") for question in questions], "file"))
    assert [record["answers"]["answer_start"] for record in found.records] == [[30], [4]]
    assert (found.faults, found.ambiguous) == ([], 1)


def test_records_are_checked_as_they_are_used():
    def two():
        for question in (BEES, HENS):
            yield squad.record("Farm", CONTEXT, question, "file")
        raise AssertionError("read beyond the second record")

    found = checked(two(), "file")
    assert [next(found.records)["id"], next(found.records)["id"]] == ["q1", "q2"]
    with pytest.raises(AssertionError, match="second"):
        next(found.records)


def test_duplicates_are_found_by_the_hash_of_an_id():
    records = [squad.record("Farm", CONTEXT, {**BEES, "id": name}, "file") for name in ("a", "b", "a", "B", "b")]
    found = all_of(checked(records, "file", None, "drop"))
    assert [record["id"] for record in found.records] == ["a", "b", "B"]
    assert [fault.reason for fault in found.faults] == ["duplicate id"] * 2

import json

import pytest

from pipeline.errors import InputError
from pipeline.questions import squad
from pipeline.questions.checks import checked
from tests.questions.farm import BEES, CONTEXT, COWS, HENS, flat
from tests.words import mentions, refused


def read_and_check(path):
    return list(checked(squad.read_json(path), path.name).records)


def test_squad_1_records_match_the_hubs_format(write):
    assert read_and_check(write(BEES, HENS)) == [
        {
            "id": "q1",
            "title": "Farm",
            "context": CONTEXT,
            "question": "What does Ann keep?",
            "answers": {"text": ["bees"], "answer_start": [10]},
            "is_impossible": False,
        },
        {
            "id": "q2",
            "title": "Farm",
            "context": CONTEXT,
            "question": "What does Zoë keep?",
            "answers": {"text": ["two hens"], "answer_start": [26]},
            "is_impossible": False,
        },
    ]


def test_squad_2_unanswerable_questions_have_no_answer_and_are_labelled(write):
    plausible = {**COWS, "id": "q4", "plausible_answers": [{"text": "Ann", "answer_start": 0}]}
    records = read_and_check(write(COWS, {**BEES, "is_impossible": False, "plausible_answers": []}, plausible))
    assert [record["is_impossible"] for record in records] == [True, False, True]
    assert [record["answers"]["text"] for record in records] == [[], ["bees"], []]
    assert all(squad.is_labelled(record) for record in records)


def test_several_answers_keep_their_order(write):
    answers = [{"text": "hens", "answer_start": 30}, {"text": "two hens", "answer_start": 26}]
    (record,) = read_and_check(write({**HENS, "answers": answers}))
    assert record["answers"] == {"text": ["hens", "two hens"], "answer_start": [30, 26]}


def test_articles_and_paragraphs_are_read_in_order(write):
    paragraphs = [{"context": CONTEXT, "qas": [question]} for question in (HENS, BEES)]
    articles = [{"title": "B", "paragraphs": paragraphs}, {"paragraphs": [{"context": "", "qas": []}]}]
    records = list(squad.read_json(write(text=json.dumps({"data": articles}))))
    assert [(record["title"], record["id"]) for record in records] == [("B", "q2"), ("B", "q1")]


@pytest.mark.parametrize(
    ("title", "expected"), [(None, None), ("", ""), (1984, "1984"), (float("nan"), None), ({}, None), ("\ud800", None)]
)
def test_any_title_is_accepted(write, title, expected):
    assert read_and_check(write(BEES, title=title))[0]["title"] == expected


def test_an_integer_is_accepted_as_an_id(write):
    assert [record["id"] for record in read_and_check(write({**BEES, "id": 7}, {**HENS, "id": -1}))] == ["7", "-1"]
    with refused("question 7", "duplicate id", one_line=False):
        read_and_check(write({**BEES, "id": 7}, {**HENS, "id": "7"}))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_accepted(write, encoding):
    path = write(HENS)
    expected = read_and_check(path)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    assert read_and_check(path) == expected


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": "bees", "answer_start": 10, "answer_end": 14, "answer_id": 3}],
        {"text": ["bees"], "answer_start": [10], "answer_end": [14]},
    ],
)
def test_surplus_keys_are_ignored(write, answers):
    (record,) = read_and_check(write({**BEES, "answers": answers, "document_id": 4, "is_yesno": False}))
    assert record["answers"] == {"text": ["bees"], "answer_start": [10]}


@pytest.mark.parametrize("value", [False, "False", "false", "FALSE", 0, "0", None])
def test_a_question_that_is_not_impossible_keeps_its_answer(write, value):
    (record,) = squad.read_json(write({**BEES, "is_impossible": value}))
    assert (record["answers"]["text"], record["is_impossible"]) == (["bees"], False)


@pytest.mark.parametrize("value", [True, "True", "true", 1, "1"])
def test_an_impossible_question_may_be_written_in_several_ways(write, value):
    assert read_and_check(write({**COWS, "is_impossible": value}))[0]["is_impossible"] is True


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"is_impossible": "maybe"}, "is_impossible 'maybe' true false"),
        ({"is_impossible": 2}, "is_impossible 2 true false"),
        ({"is_impossible": []}, "is_impossible [] true false"),
        ({"is_impossible": True}, "is_impossible True answers"),
        (
            {"is_impossible": "true", "answers": {"text": ["a"]}},
            "is_impossible 'true' answers",
        ),
        (
            {"isImpossible": True},
            "'isImpossible' 'is_impossible' rename",
        ),
        ({"impossible": True}, "'impossible' 'is_impossible' rename"),
    ],
)
def test_an_unclear_is_impossible_raises(write, change, expected):
    with refused("questions.json: question q1", *expected.split()):
        list(squad.read_json(write({**BEES, **change})))


@pytest.mark.parametrize("key", ["answer", "Answers", "anwsers", "answer_text", "answer_start", "expected_answer"])
def test_a_misspelt_answers_raises(write, key):
    question = {"id": "q1", "question": BEES["question"], key: BEES["answers"]}
    with refused("question q1", f"'{key}'", "'answers'", "rename"):
        list(squad.read_json(write(question)))
    (record,) = squad.read_json(write({**BEES, key: 1}))
    assert record["answers"]["text"] == ["bees"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([flat(BEES), flat(HENS)]),
        json.dumps({"data": [flat(BEES), flat(HENS)]}),
        "\n".join(json.dumps(flat(question)) for question in (BEES, HENS)),
        "\n\n".join(json.dumps(flat(question), ensure_ascii=False) for question in (BEES, HENS)) + "\r\n",
    ],
    ids=["list", "data", "lines", "lines with empty ones"],
)
def test_a_list_of_questions_is_read_like_squad_json(write, text):
    assert read_and_check(write(text=text)) == read_and_check(write(BEES, HENS))


def test_json_lines_may_have_one_line_and_unicode_line_separators(write):
    context = CONTEXT + "\u2028\x85"
    (record,) = read_and_check(write(text=json.dumps(flat(BEES, context=context), ensure_ascii=False)))
    assert record["context"] == context


def test_empty_lists_of_answers_are_unanswerable_as_on_the_hub(write):
    lines = [flat(BEES), flat({**COWS, "answers": squad.NO_ANSWERS})]
    del lines[1]["is_impossible"]
    records = read_and_check(write(text="\n".join(map(json.dumps, lines))))
    assert [record["is_impossible"] for record in records] == [False, True]


def test_a_line_that_is_not_json_is_named(write):
    with refused("questions.json", "not JSON", "line 3"):
        list(squad.read_json(write(text=f"{json.dumps(flat(BEES))}\n\n{{'id'")))
    with refused("questions.json", "not JSON", "line 4 column 1"):
        list(squad.read_json(write(text='{\n"data": []\n}\n{}')))


def test_a_header_is_a_surplus_key_of_a_question(write):
    assert read_and_check(write(text=json.dumps([flat(BEES, header="x")])))[0]["id"] == "q1"


@pytest.mark.parametrize("header", [True, False])
def test_the_layout_of_mrqa_is_named(write, header):
    detected = [{"text": "bees", "char_spans": [[10, 13]], "token_spans": [[2, 2]]}]
    qas = [{"qid": "q1", "question": "What?", "answers": ["bees"], "detected_answers": detected}]
    lines = [{"header": {"dataset": "SQuAD", "split": "train"}}] * header + [{"id": "", "context": CONTEXT, "qas": qas}]
    with pytest.raises(InputError) as raised:
        list(squad.read_json(write(text="\n".join(map(json.dumps, lines + lines[-1:])))))
    message = str(raised.value)
    mentions(message, "questions.json: [0]", "MRQA", "SQuAD JSON", "answer_start", "char_spans[0][0]")
    assert "\n" not in message


PARAGRAPH = {"title": "Farm", "context": CONTEXT, "qas": [BEES, HENS]}


@pytest.mark.parametrize(
    "text", [json.dumps([PARAGRAPH]), json.dumps({"data": [PARAGRAPH]}), json.dumps([{"paragraphs": [PARAGRAPH]}])]
)
def test_a_list_of_paragraphs_is_read_like_squad_json(write, text):
    expected = read_and_check(write(BEES, HENS))
    for record, other in zip(read_and_check(write(text=text)), expected, strict=True):
        assert {**record, "title": "Farm"} == other


def test_the_layout_of_cmrc_is_read(write):
    qas = [{"query_id": "q1", "query_text": "1820 年的什么?", "answers": ["1820", "茶楼"]}]
    paragraph = {"context_id": "p", "context_text": "茶楼建于\uff11\uff18\uff12\uff10年。", "title": "茶", "qas": qas}
    (record,) = read_and_check(write(text=json.dumps([paragraph])))
    assert record == {
        "id": "q1",
        "title": "茶",
        "context": "茶楼建于\uff11\uff18\uff12\uff10年。",
        "question": "1820 年的什么?",
        "answers": {"text": ["\uff11\uff18\uff12\uff10", "茶楼"], "answer_start": [4, 0]},
        "is_impossible": False,
    }


def test_the_layout_of_multispanqa_is_named(write):
    question = {"id": "q", "question": ["When", "?"], "context": ["In", "1820"], "label": ["O", "B"]}
    with refused("questions.json: data[0]", "MultiSpanQA", "SQuAD JSON"):
        list(squad.read_json(write(text=json.dumps({"data": [question]}))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[]", "no usable questions"),
        ("3", "'data' SQuAD JSON"),
        ("[[]]", "[0] 'paragraphs'"),
        ("[" * 100_000, "not JSON recursion"),
        ('{"data": ' + "9" * 5000 + "}", "not JSON digits"),
        ('{"data": [], "data": [1]}', "not JSON 'data' twice"),
        ('{"data": [{"id": "q1", "answers": [], "answers": [1]}]}', "'answers' twice q1"),
        ('{"data": {}}', "list 'data'"),
        ('{"data": [1]}', "data[0] 'paragraphs'"),
        ('{"data": [{"paragraphs": []}, {}]}', "data[1] 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"context": "x"}]}]}', "data[0].paragraphs[0] 'qas'"),
        ('{"data": [{"paragraphs": [{"qas": [1]}]}]}', "data[0].paragraphs[0].qas[0] object"),
        ('{"data": []}', "no usable questions"),
    ],
)
def test_a_file_with_another_structure_raises(write, text, expected):
    with refused("questions.json", *expected.split()):
        read_and_check(write(text=text))


@pytest.mark.parametrize("answers", [{}, {"answers": None}, {"answers": []}], ids=["left out", "null", "empty"])
def test_a_question_without_answers_is_unlabelled(write, answers):
    unlabelled = {"id": "q9", "question": HENS["question"], **answers}
    first, second = read_and_check(write(BEES, unlabelled))
    assert second["answers"] == squad.NO_ANSWERS
    assert [squad.is_labelled(record) for record in (first, second)] == [True, False]
    assert not second["is_impossible"]


def test_a_file_in_another_encoding_raises(tmp_path):
    path = tmp_path / "questions.json"
    path.write_bytes('{"data": "Zoë"}'.encode("latin-1"))
    with refused("questions.json", "not JSON"):
        list(squad.read_json(path))


def test_a_missing_file_raises_with_the_command_to_run(tmp_path):
    with refused("none.json", "missing", f"`dvc add {tmp_path / 'none.json'}`"):
        list(squad.read_json(tmp_path / "none.json"))


def test_a_folder_instead_of_a_file_raises(tmp_path):
    with pytest.raises(InputError, match=tmp_path.name):
        list(squad.read_json(tmp_path))


def test_json_lines_are_read_line_by_line(write):
    lines = [json.dumps(flat(BEES)), "", json.dumps(flat(HENS)), "not JSON"]
    records = squad.read_json(write(text="\n".join(lines)))
    assert [next(records)["id"], next(records)["id"]] == ["q1", "q2"]
    with pytest.raises(InputError, match=r"questions\.json is not JSON: line 4: Expecting"):
        next(records)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
@pytest.mark.parametrize("lines", [True, False])
def test_every_encoding_of_json_is_read(tmp_path, encoding, lines):
    questions = [flat(BEES), flat(HENS)]
    text = "\n\n".join(map(json.dumps, questions)) if lines else json.dumps(questions, indent=1, ensure_ascii=False)
    (tmp_path / "questions.json").write_bytes(text.encode(encoding))
    assert [record["id"] for record in squad.read_json(tmp_path / "questions.json")] == ["q1", "q2"]

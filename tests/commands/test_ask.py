import contextlib
import io
import json
import shutil
import sys

import pytest

from pipeline import paths
from pipeline.about import About, Example, write_about
from pipeline.answering.answerer import Answerer
from pipeline.checksums import seal
from pipeline.commands import ask
from pipeline.errors import InputError
from pipeline.models.student import Student
from pipeline.web.service import served
from tests.commands.students import write_student
from tests.conftest import MILL, TEA
from tests.damage import flip_bit
from tests.words import refused

OPTIONS = {"context": None, "batch": None, "out": None, "student": str(paths.STUDENT), "n_best": 1, "json": False}


def run(*questions, **options):
    ask.main(list(questions), **{**OPTIONS, **options})


@pytest.fixture
def student(workspace, tokenizer):
    """A student with random weights in data/student, and the text tea.txt."""
    write_student(tokenizer, "mlp")
    (workspace / "tea.txt").write_text(TEA, encoding="utf-8")
    return workspace


def set_threshold(value):
    path = paths.STUDENT / "config.json"
    config = json.loads(path.read_text())
    config["answering"]["null_threshold"] = value
    path.write_text(json.dumps(config))
    seal(paths.STUDENT)


def test_answers_are_printed_with_their_place_and_sentence(student, capsys):
    run("When did it open?", "Who sold tea?", context=student / "tea.txt")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "When did it open?" and lines[2] == "Who sold tea?"
    expected = Answerer.from_pretrained(paths.STUDENT).answers([("When did it open?", TEA)])[0][0]
    assert f"{100 * expected.confidence:3.0f} %  {expected.text}  (characters {expected.start} to" in lines[1]


def test_json_lines_hold_everything(student, capsys):
    run("When did it open?", context=student / "tea.txt", n_best=3, json=True)
    row = json.loads(capsys.readouterr().out)
    assert row["question"] == "When did it open?"
    assert len(row["answers"]) == 3
    for answer in row["answers"]:
        assert TEA[answer["start"] : answer["end"]] == answer["text"]
        assert answer["text"] in answer["sentence"] and answer["sentence"] in TEA
        assert answer.keys() == {"text", "start", "end", "score", "confidence", "sentence"}


def test_places_are_those_of_the_file_whatever_its_line_ends(student, capsys):
    text = "Notes.\r\nMore notes.\r\n" + TEA
    (student / "windows.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    run("When did it open?", context=student / "windows.txt", n_best=3, json=True)
    for answer in json.loads(capsys.readouterr().out)["answers"]:
        assert text[answer["start"] : answer["end"]] == answer["text"]
    batch = json.dumps({"question": "When did it open?", "context": TEA}).encode()
    (student / "batch.jsonl").write_bytes(b"\xef\xbb\xbf" + batch + b"\r\n")
    run(batch=student / "batch.jsonl")
    assert json.loads(capsys.readouterr().out)["question"] == "When did it open?"


def test_a_student_that_finds_no_answer_says_so(student, capsys):
    set_threshold(-1e6)
    run("When did it open?", context=student / "tea.txt")
    assert "no answer" in capsys.readouterr().out


def test_a_batch_keeps_order_and_ids(student, monkeypatch):
    monkeypatch.setattr(ask, "QUESTIONS_PER_BATCH", 2)
    rows = [
        {"id": "a", "question": "When?", "context": TEA},
        {"question": "Where?", "context": MILL},
        {"id": 3, "question": "Who?", "context": TEA},
    ]
    (student / "questions.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    run(batch=student / "questions.jsonl", out=student / "answers.jsonl")
    found = [json.loads(line) for line in (student / "answers.jsonl").read_text().splitlines()]
    assert [row.get("id") for row in found] == ["a", None, 3]
    assert [row["question"] for row in found] == ["When?", "Where?", "Who?"]
    assert all(row["answers"][0]["text"] in given["context"] for row, given in zip(found, rows, strict=True))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"question": "Who?", "context": "Me."}\n{"question": "Who?"}', "line 2 `question` `context`"),
        ('{"question": " ", "context": "Me."}', "line 1 question empty"),
        ('{"question": "Who\\ud800?", "context": "Me."}', r"line 1 '\ud800' surrogate"),
        ('{"question": "Who?", "context": "Me\\ud800."}', r"line 1 '\ud800' surrogate"),
        ('{"id": "\\ud800", "question": "Who?", "context": "Me."}', r"line 1 '\ud800' surrogate"),
        ('{"id": NaN, "question": "Who?", "context": "Me."}', "line 1 not JSON"),
        ('{"id": 1e999, "question": "Who?", "context": "Me."}', "line 1 not JSON"),
        ('{"question": "Who?", "context": " "}', "line 1 context empty"),
        ('\n{"question": "' + "Who? " * 40 + '", "context": "Me."}', "line 2 80 tokens 16"),
        ("\n", "no questions"),
        ("not json", "line 1 not JSON"),
    ],
)
def test_a_bad_line_is_named_and_an_earlier_result_stays(student, content, words):
    (student / "questions.jsonl").write_text(content)
    (student / "answers.jsonl").write_text("earlier")
    with refused("questions.jsonl", *words.split()):
        run(batch=student / "questions.jsonl", out=student / "answers.jsonl")
    assert (student / "answers.jsonl").read_text() == "earlier"


@pytest.mark.parametrize(
    ("questions", "options", "words"),
    [
        ([], {}, "--batch --example"),
        (["Who?"], {"batch": "x"}, "--batch --example"),
        (["Who?"], {"context": "missing.txt"}, "missing.txt missing"),
        (["Who?"], {"context": "empty.txt"}, "empty.txt no text"),
        (["Who?"], {"context": "latin.txt"}, "latin.txt not UTF-8"),
        ([], {"batch": "latin.txt"}, "latin.txt not UTF-8"),
        ([" "], {"context": "tea.txt"}, "question empty"),
        (["Who?"], {"context": "tea.txt", "n_best": 21}, "--n-best 21"),
        (["Who?", "Who? " * 40], {"context": "tea.txt"}, "question 2 80 tokens 16"),
        ([], {"example": True}, "no examples"),
        (["Who?"], {"example": True}, "--batch --example"),
        (["Who?"], {"context": "tea.txt", "student": "/missing"}, "/missing missing"),
    ],
)
def test_bad_input_raises(student, questions, options, words):
    (student / "empty.txt").write_text(" \n")
    (student / "latin.txt").write_bytes("Zoë".encode("latin-1"))
    paths_of = {key: student / value if key in ("context", "batch") else value for key, value in options.items()}
    with refused(*words.split()):
        run(*questions, **paths_of)


def test_the_examples_of_the_student(student, capsys):
    examples = [Example("When did it open?", TEA, "1899"), Example("Who?", MILL, "Two millers")]
    write_about(About("2 questions", examples), paths.STUDENT)
    run(example=True)
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[3]] == ["When did it open?", "Who?"]
    assert "1899" in lines[2] and "Two millers" in lines[5] and len(lines) == 6
    run(example=True, json=True)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = Answerer.from_pretrained(paths.STUDENT).answers([(one.question, one.context) for one in examples])
    assert [row["answers"][0]["text"] for row in rows] == [replies[0].text for replies in expected]
    assert [(row["context"], row["reference"]) for row in rows] == [(one.context, one.answer) for one in examples]


def test_the_text_is_read_from_standard_input(student, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEA.encode()), encoding="utf-8"))
    monkeypatch.setattr(ask, "open_text", lambda path: contextlib.nullcontext(sys.stdin))
    run("Who?", json=True)
    assert json.loads(capsys.readouterr().out)["answers"]


def test_a_missing_student_is_an_error(student):
    shutil.rmtree(paths.STUDENT)
    with refused("data/student", "missing", "`dvc repro`"):
        run("Who?", context=student / "tea.txt")


def test_a_damaged_student_is_not_asked(student):
    seal(paths.STUDENT)
    flip_bit(paths.STUDENT / "model.safetensors")
    with refused("model.safetensors", "damaged"):
        run("When?", context=student / "tea.txt")
    with refused("model.safetensors", "damaged"):
        Student.from_pretrained(paths.STUDENT)
    with refused("model.safetensors", "damaged"):
        served.load([paths.STUDENT], None, None)


def test_the_text_is_not_replaced_by_the_answers(student):
    with pytest.raises(InputError, match=r"--out .*tea.txt"):
        run("When?", context=student / "tea.txt", out=student / "tea.txt")
    assert (student / "tea.txt").read_text(encoding="utf-8") == TEA

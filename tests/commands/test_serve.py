import shutil
from dataclasses import asdict, astuple, replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipeline import paths
from pipeline.answering.answerer import Answerer
from pipeline.commands import serve
from pipeline.models.encoders import load_qa_model
from pipeline.questions import tokenization
from pipeline.questions.records import read_records
from pipeline.stages import train
from pipeline.web.service.app import build
from pipeline.web.service.limits import Limits
from tests import tiny
from tests.commands.command_line import options
from tests.words import mentions, refused

TEACHER = paths.TEACHER / "large"


@pytest.fixture
def served(monkeypatch):
    """What `serve` was asked to serve; nothing listens any more."""
    calls = []
    monkeypatch.setattr(serve.server, "run", lambda *call: calls.append(call))
    return calls


@pytest.mark.slow
def test_a_student_and_its_teacher_answer_as_they_do_without_the_service(with_logits, served, capsys):
    tiny.run_all(train)
    shutil.copytree(paths.STUDENT, "copy")
    serve.main([paths.STUDENT, Path("copy")], TEACHER, 0, "127.0.0.1", **asdict(Limits()))
    ((students, limits, host, _),) = served
    assert [(one.name, one.is_teacher) for one in students] == [("student", False), ("copy", False), ("large", True)]
    assert capsys.readouterr().out.splitlines()[-1].startswith("student, copy, large: ask at http://127.0.0.1:")
    records = read_records(paths.DATASET / "validation.parquet")
    pairs = [(record["question"], record["context"]) for record in records]
    student = Answerer.from_pretrained(paths.STUDENT)
    settings = replace(student.settings, null_threshold=None, confidence_temperature=1.0)
    teacher = Answerer(load_qa_model(TEACHER), tokenization.load(paths.tokenizer("large")), settings)
    body = {
        "contexts": [context for _, context in pairs],
        "questions": [{"question": question, "context": i} for i, (question, _) in enumerate(pairs)],
        "n_best": 3,
    }
    with TestClient(build(students, limits, host), base_url="http://127.0.0.1") as client:
        for name, answerer in (("student", student), ("copy", student), ("large", teacher)):
            found = client.post("/answer", json={**body, "student": name}).json()["answers"]
            for best, expected in zip(found, answerer.answers(pairs, n_best=3), strict=True):
                assert [tuple(answer.values()) for answer in best] == [
                    pytest.approx(astuple(reply), abs=1e-5) for reply in expected
                ]


def test_another_host_than_loopback_is_warned_of(served, monkeypatch, capsys):
    monkeypatch.setattr(serve, "load", lambda *_: [])
    serve.main([Path("student")], None, 0, "127.0.0.1")
    assert capsys.readouterr().err == ""
    serve.main([Path("student")], None, 0, "0.0.0.0")
    mentions(capsys.readouterr().err, "warning", "--host 0.0.0.0", "password", "encryption")


def test_each_limit_is_an_option(capsys):
    given = options("serve", "student")
    assert given["host"] == "127.0.0.1"
    limits = {name: value for name, value in given.items() if name in asdict(Limits())}
    assert Limits(**limits) == Limits()
    assert options("serve", "student", "--batch-ms", "0.5", "--queue", "3")["batch_ms"] == 0.5
    for wrong in (["--queue", "0"], ["--queue", "1.5"], ["--timeout", "inf"], ["--timeout", "nan"]):
        with pytest.raises(SystemExit):
            options("serve", "student", *wrong)
        assert "invalid positive" in capsys.readouterr().err


def test_a_folder_without_a_student_is_one_line(workspace):
    with refused("nothing/config.json", "missing"):
        serve.main([Path("nothing")], None, 0, "127.0.0.1")

"""The service in process: each answer, and each limit with its status and sentence."""

import contextlib
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipeline.about import About, Example
from pipeline.web.service.app import PAGE, build
from pipeline.web.service.limits import Limits
from pipeline.web.service.served import Served
from tests.conftest import MILL, TEA
from tests.web.service.conftest import FirstWords
from tests.words import mentions

HOST = "http://127.0.0.1:8000"


@pytest.fixture
def client(students):
    """`client(limit=...)`: a client of a service with these limits."""
    with contextlib.ExitStack() as stack:
        yield lambda **limits: stack.enter_context(
            TestClient(build(students, Limits(**limits)), base_url=HOST, raise_server_exceptions=False)
        )


def request(*questions, contexts=(TEA,), **more):
    return {"contexts": list(contexts), "questions": [{"question": question} for question in questions], **more}


def refused(response):
    """The status and the sentence of an error."""
    assert response.json().keys() == {"error"} and "\n" not in response.json()["error"]
    return response.status_code, response.json()["error"]


def test_answers_are_in_the_order_of_the_questions(client, answerer):
    body = {
        "contexts": [TEA, MILL],
        "questions": [{"question": "a"}, {"question": "bb", "context": 1}, {"question": "ccc", "context": 0}],
        "n_best": 2,
    }
    response = client().post("/answer", json=body)
    answered = response.json()
    assert response.status_code == 200 and answered["student"] == "first" and answered["milliseconds"] > 0
    assert [[answer["text"] for answer in best] for best in answered["answers"]] == [
        ["The", "The café"],
        ["An", "An old"],
        ["The", "The café"],
    ]
    assert [best[0]["score"] for best in answered["answers"]] == [1, 2, 3]
    assert answered["answers"][1][1] == {"text": "An old", "start": 0, "end": 6, "score": 2, "confidence": 1 / 3}
    assert answerer.calls == [["a", "bb", "ccc"]]


def test_a_student_is_chosen_by_name_and_no_path_of_a_client_is_opened(client, students, monkeypatch, tmp_path):
    asking = client()
    for name in ("second", "large"):
        assert asking.post("/answer", json=request("a", student=name)).json()["student"] == name
    assert [len(student.answerer.calls) for student in students] == [0, 1, 1]

    def opened(*_, **__):
        raise AssertionError("a file was opened")

    for module, name in ((io, "open"), (Path, "open"), (Path, "read_bytes")):
        monkeypatch.setattr(module, name, opened)
    monkeypatch.setattr("builtins.open", opened)
    for name in ("third", str(tmp_path), "../second", "second\0", ""):
        response = asking.post("/answer", json=request("a", student=name))
        assert refused(response) == (404, f"there is no student {name!r}; there are: first, second, large")
    for path in ("/page.html", "/../app.py", "/%2e%2e/app.py", "/docs", "/redoc"):
        assert refused(asking.get(path))[0] == 404
    for path in PAGE:
        assert asking.get(path).status_code == 200


def test_requests_at_the_same_time_are_one_call(client, answerer):
    asking = client(batch_ms=500)
    with ThreadPoolExecutor(4) as threads:
        for response in threads.map(lambda i: asking.post("/answer", json=request(f"question {i}")), range(4)):
            assert response.status_code == 200
    assert [sorted(call) for call in answerer.calls] == [[f"question {i}" for i in range(4)]]


def test_a_thousand_questions_in_one_request(client, answerer):
    questions = ["x" * (1 + i % 20) for i in range(1000)]
    answered = client(windows=100_000).post("/answer", json=request(*questions, contexts=["An old mill"])).json()
    assert [best[0]["score"] for best in answered["answers"]] == list(map(len, questions))
    assert len(answerer.calls) > 10  # in parts, so that others need not wait for all of it


def test_a_text_of_200_kilobytes(client):
    text = (TEA + MILL) * 1000
    assert len(text.encode()) > 200_000
    asking = client(windows=100_000)
    assert asking.post("/answer", json=request("Who?", contexts=[text])).status_code == 200
    status, sentence = refused(client(windows=2000).post("/answer", json=request("Who?", contexts=[text])))
    assert status == 413
    mentions(sentence, "2,000")


ASK = request("Who?", "When?")
LIMITED = [
    ({"body_bytes": 100}, ASK, 413, "body 100 bytes"),
    ({"characters": len(TEA) + 7}, ASK, 413, f"{len(TEA) + 9} characters {len(TEA) + 7}"),
    ({"questions": 1}, ASK, 413, "2 questions 1"),
    ({"windows": 3}, ASK, 413, "4 windows 3"),
]


@pytest.mark.parametrize(("limits", "body", "status", "words"), LIMITED, ids=lambda value: str(value)[:20])
def test_a_request_over_a_limit(client, answerer, limits, body, status, words):
    found = refused(client(**limits).post("/answer", json=body))
    assert found[0] == status
    mentions(found[1], *words.split())
    assert answerer.calls == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_only_a_post_has_a_body(client, answerer, method):
    status, sentence = refused(client().request(method, "/answer", content=b"x"))
    assert status == 413
    mentions(sentence, "body", "0 bytes")
    assert client().request(method, "/answer").status_code == 405
    assert answerer.calls == []


INVALID = [
    (b"{", 422, "not JSON character 1"),
    (b"\xff", 400, "parsing body"),
    (b"[" * 100_000, 400, "parsing body"),
    (b"[1]", 422, "JSON object application/json"),
    ({}, 422, "contexts: required"),
    (request(), 422, "questions: 1 0"),
    (request("a", contexts=[]), 422, "contexts: 1 0"),
    (request("a", contexts=[" \n"]), 422, "contexts[0] empty"),
    (request("a", " "), 422, "questions[1] empty"),
    (request("a", n_best=0), 422, "n_best: greater 1"),
    (request("a", n_best=21), 422, "n_best: less 20"),
    (request("a", folder="/"), 422, "folder: permitted"),
    (request("a", n_best=True), 422, "n_best: integer"),
    (request("mill " * 30), 422, "question first 30 tokens 20"),
    (
        request("a", "w" * 2001),
        422,
        "questions[1] first 2,001 characters 2,000",
    ),
    (request("a", request="x" * 101), 422, "request: 100 characters"),
    (
        {"contexts": [TEA], "questions": [{"question": "a", "context": 1}]},
        422,
        "questions[0] context 1 0",
    ),
    (
        {"contexts": [TEA], "questions": [{"question": "a", "context": -1}]},
        422,
        "questions[0].context: greater 0",
    ),
    (rb'{"contexts": ["\ud800"], "questions": []}', 422, "contexts[0] surrogate"),
]


@pytest.mark.parametrize(("body", "status", "words"), INVALID, ids=lambda value: str(value)[:30])
def test_an_invalid_request(client, answerer, body, status, words):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client().post("/answer", content=content, headers={"Content-Type": "application/json"})
    found = refused(response)
    assert found[0] == status
    mentions(found[1], *words.split())
    assert answerer.calls == []


def test_json_under_another_media_type_is_refused(client):
    """A page of another site can send text/plain without asking."""
    response = client().post("/answer", content=json.dumps(ASK), headers={"Content-Type": "text/plain"})
    status, sentence = refused(response)
    assert status == 422
    mentions(sentence, "JSON", "application/json")


def test_an_answer_that_takes_too_long(client, answerer):
    answerer.free.clear()
    asking = client(timeout=0.05)
    status, sentence = refused(asking.post("/answer", json=ASK))
    assert status == 504 and "0.05 s" in sentence
    answerer.free.set()


def test_the_service_answers_while_it_counts_windows_and_the_counting_ends_with_the_request(students, monkeypatch):
    counting = threading.Event()

    def read(self, pairs, check):
        counting.set()
        while True:
            check()
            time.sleep(0.001)

    monkeypatch.setattr(Served, "read", read)
    with TestClient(build(students, Limits(timeout=0.3)), base_url=HOST) as asking, ThreadPoolExecutor(1) as thread:
        found = thread.submit(asking.post, "/answer", json=ASK)
        assert counting.wait(10) and asking.get("/health").status_code == 200
        assert found.result().status_code == 504
    # the end of the client has waited for the threads of the service


def test_the_progress_of_a_request(client, answerer):
    answerer.free.clear()
    asking = client()
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(asking.post, "/answer", json={**ASK, "request": "a/b?"})
        assert answerer.entered.wait(10)
        assert asking.get("/progress/a%2Fb%3F").json() == {"read": 0, "characters": 2 * len(TEA)}
        assert refused(asking.get("/progress/c"))[0] == 404
        answerer.free.set()
        assert first.result().status_code == 200
    assert refused(asking.get("/progress/a%2Fb%3F"))[0] == 404


def test_a_full_queue(client, answerer):
    answerer.free.clear()
    asking = client(queue=1)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(asking.post, "/answer", json=ASK)
        assert answerer.entered.wait(10)
        response = asking.post("/answer", json=ASK)
        assert asking.get("/health").json()["in_progress"] == 1
        answerer.free.set()
        assert first.result().status_code == 200
    assert refused(response) == (503, "1 requests are in progress; ask again in a moment")
    assert response.headers["Retry-After"] == "1"
    assert asking.post("/answer", json=ASK).status_code == 200


def test_a_student_that_fails(client):
    asking = client()
    assert refused(asking.post("/answer", json=request("poison"))) == (
        500,
        "the service failed; its log has the reason",
    )
    assert asking.post("/answer", json=ASK).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:9000"}, 200),  # a forwarded port
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "evil.example:8000"}, 403),  # DNS rebinding
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[127.0.0.1"}, 403),
        ({"Host": "evil.example\\@127.0.0.1"}, 403),
        ({"Host": "[::1%evil]"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": HOST}, 200),
        ({"Origin": "http://127.0.0.1:3000"}, 403),  # another service of this machine
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ([("Origin", HOST), ("Origin", "https://evil.example")], 403),
    ],
)
def test_only_the_page_itself_and_programs_may_ask(client, answerer, headers, status):
    asking = client()
    for response in (asking.post("/answer", json=ASK, headers=headers), asking.get("/health", headers=headers)):
        assert response.status_code == status
        assert "access-control-allow-origin" not in response.headers
        assert response.headers["x-content-type-options"] == "nosniff"
    assert bool(answerer.calls) == (status == 200)


def test_the_host_name_given_at_the_start_is_accepted(students):
    with TestClient(build(students, Limits(), host="Mill.example"), base_url="http://mill.example") as asking:
        assert asking.get("/health").status_code == 200


def test_the_openapi_document_has_every_status(client):
    document = client().get("/openapi.json").json()
    operation = document["paths"]["/answer"]["post"]
    assert set(operation["responses"]) == set("200 400 403 404 408 413 422 500 503 504".split())
    assert set(document["paths"]) == {"/answer", "/examples", "/health", "/progress/{request}"}
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_what_is_known_of_the_students(tokenizer):
    about = About("2 questions of a.json", [Example("Who?", "Me.", "Me")])
    first = Served("first", FirstWords(tokenizer), facts=("head cnn3", "encoder bert"), about=about)
    with TestClient(build([first, Served("large", FirstWords(tokenizer), True)], Limits()), base_url=HOST) as asking:
        assert asking.get("/health").json()["students"] == [
            {
                "name": "first",
                "teacher": False,
                "facts": "head cnn3; encoder bert",
                "trained_on": "2 questions of a.json",
                "question_characters": 2000,
            },
            {"name": "large", "teacher": True, "facts": "", "trained_on": "", "question_characters": 2000},
        ]
        assert asking.get("/examples").json() == {"examples": [{"question": "Who?", "context": "Me.", "answer": "Me"}]}


def test_the_page_loads_nothing_from_elsewhere(client):
    asking = client()
    for path in PAGE:
        response = asking.get(path)
        assert "//" not in response.text.replace("// ", "").replace("http://www.w3.org", "")
        assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")

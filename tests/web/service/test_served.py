import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.questions import long_texts
from pipeline.questions.windows import windows
from pipeline.web.service.served import Served, TooLong, short_names
from tests.conftest import MILL, TEA
from tests.words import refused


@pytest.mark.parametrize("repeats", [1, 2, 7])
def test_windows_are_counted_as_they_are_made(answerer, repeats):
    student = Served("first", answerer)
    contexts = [TEA * repeats, MILL * repeats, "tea", *(TEA[:n] for n in range(1, 60))]
    pairs = [(question, context) for question in ("Who?", " When did the café open? ") for context in contexts]
    records = [
        {"id": str(i), "question": question, "context": context, "answers": {"text": [], "answer_start": []}}
        for i, (question, context) in enumerate(pairs)
    ]
    made = [window.record for window in windows(records, answerer.tokenizer, 32, 8)]
    assert student.read(pairs)[0] == [made.count(i) for i in range(len(pairs))]


def test_a_question_without_room_for_its_context_is_named(answerer):
    student, fits = Served("first", answerer), ("mill " * 20, TEA)
    assert student.read([fits])[0] == [len(student._tokens.encode(TEA, add_special_tokens=False)) - 8]
    with pytest.raises(TooLong, match=r"questions\[1\] .*first.* 21 tokens.* 20 "):
        student.read([fits, ("mill " * 21, TEA)])
    with pytest.raises(TooLong, match=r"^the question .*first.* 21 tokens.* 20 "):
        student.read([("mill " * 21, TEA)])


def test_a_question_with_too_many_characters_is_not_tokenized(answerer, monkeypatch):
    student = Served("first", answerer)
    assert student.question_characters == 2000
    assert student.read([("  " + "w" * 2000 + " ", TEA)])  # one unknown word
    monkeypatch.setattr(Served, "_encode", None)
    with pytest.raises(TooLong, match=r"questions\[1\] .* 2,001 characters.* 2,000 "):
        student.read([("Who?", TEA), ("w" * 2001, TEA)])


@pytest.mark.slow
def test_a_long_text_is_counted_in_pieces_while_other_threads_run(answerer, monkeypatch):
    student, text = Served("first", answerer), f"{TEA}\n{MILL} " * 5000
    expected = student.read([("Who?", text)])[0]
    monkeypatch.setattr(long_texts, "PIECE", 10_000)
    checks, switches = [], 0
    with ThreadPoolExecutor(1) as thread:
        counted = thread.submit(student.read, [("Who?", text)], lambda: checks.append(switches))
        while not counted.done():
            switches += 1
            time.sleep(0)
    windows, texts = counted.result()
    assert windows == expected and texts.keys() == {text}
    assert texts[text].ids.tolist() == answerer.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert len(checks) > len(text) // 11_000 and switches > 10 * len(checks)


def test_counting_can_be_stopped_between_pieces(answerer, monkeypatch):
    monkeypatch.setattr(long_texts, "PIECE", 1000)
    calls = []

    def stop():
        calls.append(None)
        if len(calls) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Served("first", answerer).read([("Who?", TEA * 1000)], stop)
    assert len(calls) == 5


def test_names_are_as_short_as_they_can_be(tmp_path):
    folders = [tmp_path / name for name in ("a/data/student", "b/data/student", "b/other")]
    assert short_names(folders[1:]) == ["student", "other"]
    assert short_names(folders) == ["a/data/student", "b/data/student", f"{tmp_path.name}/b/other"]
    with refused("other", "twice"):
        short_names([*folders, tmp_path / "a/../b/other"])

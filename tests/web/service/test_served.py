import pytest

from pipeline.errors import InputError
from pipeline.questions.windows import windows
from pipeline.web.service.served import Served, TooLong, short_names
from tests.conftest import MILL, TEA


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
    assert student.windows(pairs) == [made.count(i) for i in range(len(pairs))]


def test_a_question_without_room_for_its_context_is_named(answerer):
    student, fits = Served("first", answerer), ("mill " * 20, TEA)
    assert student.windows([fits]) == [len(student._tokens.encode(TEA, add_special_tokens=False)) - 8]
    with pytest.raises(TooLong, match=r"questions\[1\] has 21 tokens; first takes at most 20"):
        student.windows([fits, ("mill " * 21, TEA)])


def test_names_are_as_short_as_they_can_be(tmp_path):
    folders = [tmp_path / name for name in ("a/data/student", "b/data/student", "b/other")]
    assert short_names(folders[1:]) == ["student", "other"]
    assert short_names(folders) == ["a/data/student", "b/data/student", f"{tmp_path.name}/b/other"]
    with pytest.raises(InputError, match="is named twice"):
        short_names([*folders, tmp_path / "a/../b/other"])

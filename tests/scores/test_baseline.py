import pytest

from pipeline.scores.baseline import floor, warn_below_floor

CONTEXT = "It opened in 1899 " + "and sold tea " * 20


def records(*answers):
    return [
        {"id": str(i), "context": CONTEXT, "answers": {"text": [answer], "answer_start": [CONTEXT.index(answer)]}}
        for i, answer in enumerate(answers)
    ]


def test_the_floor_is_the_f1_of_the_first_25_words():
    # 25 words, one of which is the answer: precision 1/25, recall 1
    assert floor(records("1899"), "squad") == pytest.approx(100 * 2 / 26)
    assert floor(records("1899", "1899"), "squad") == floor(records("1899"), "squad")


@pytest.mark.parametrize("metric", ["cmrc2018", "mlqa-zh"])
def test_the_words_of_chinese_are_characters(metric):
    chinese = {"id": "0", "context": "茶" * 10 + "楼" + "茶" * 60, "answers": {"text": ["楼"], "answer_start": [10]}}
    assert floor([chinese], metric) == pytest.approx(100 * 2 / 26)


def test_no_answer_is_right_for_unanswerable_questions():
    unanswerable = {"id": "none", "context": CONTEXT, "answers": {"text": [], "answer_start": []}}
    assert floor([*records("1899"), unanswerable], "squad") == 50
    assert floor([*records(*["1899"] * 99), unanswerable], "squad") == pytest.approx(99 * 2 / 26)


def test_a_model_below_the_floor_is_warned_about(capsys):
    warn_below_floor("teacher large", 8.0, records("1899"), "squad")
    assert capsys.readouterr().err == ""
    warn_below_floor("teacher large", 7.0, records("1899"), "squad")
    assert capsys.readouterr().err == (
        "warning: teacher large has F1 7.00, less than the 7.69 of answering every question alike, with the first 25 "
        "words of its context or not at all; it has learnt nothing\n"
    )

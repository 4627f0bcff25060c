import pytest

from pipeline.scores.baseline import constant_f1, warn_if_constant

CONTEXT = "It opened in 1899 " + "and sold tea " * 20


def records(*answers):
    return [
        {"id": str(i), "context": CONTEXT, "answers": {"text": [answer], "answer_start": [CONTEXT.index(answer)]}}
        for i, answer in enumerate(answers)
    ]


def test_it_is_the_f1_of_the_first_25_words():
    # 25 words, one of which is the answer: precision 1/25, recall 1
    assert constant_f1(records("1899"), "squad") == pytest.approx(100 * 2 / 26)
    assert constant_f1(records("1899", "1899"), "squad") == constant_f1(records("1899"), "squad")


@pytest.mark.parametrize("metric", ["cmrc2018", "mlqa-zh"])
def test_the_words_of_chinese_are_characters(metric):
    chinese = {"id": "0", "context": "茶" * 10 + "楼" + "茶" * 60, "answers": {"text": ["楼"], "answer_start": [10]}}
    assert constant_f1([chinese], metric) == pytest.approx(100 * 2 / 26)


def test_no_answer_is_right_for_unanswerable_questions():
    unanswerable = {"id": "none", "context": CONTEXT, "answers": {"text": [], "answer_start": []}}
    assert constant_f1([*records("1899"), unanswerable], "squad") == 50
    assert constant_f1([*records(*["1899"] * 99), unanswerable], "squad") == pytest.approx(99 * 2 / 26)


@pytest.mark.parametrize(("f1", "warned"), [(7.0, True), (7.69, True), (17.0, True), (18.0, False)])
def test_a_model_that_one_question_more_would_equal_is_warned_about(f1, warned, caplog):
    ten = records(*["1899"] * 10)  # the constant answer has 7.69, and a question counts 10
    warn_if_constant("teacher large", f1, ten, "squad")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warned
    assert all(word in caplog.text for word in ("teacher large", f"{f1:.2f}", "7.69") if warned)


def test_a_model_that_gives_no_answer_to_all_but_one_question_is_warned_about(caplog):
    unanswerable = {"context": CONTEXT, "answers": {"text": [], "answer_start": []}}
    some = [*records(*["1899"] * 5), *({"id": f"none {i}", **unanswerable} for i in range(5))]
    warn_if_constant("the student", 60.0, some, "squad")  # "" everywhere but to one question, which is right
    assert "the student" in caplog.text and "50.00" in caplog.text

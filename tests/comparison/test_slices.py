import numpy as np
import pyarrow as pa
import pytest

from pipeline.comparison.leaderboard import Student
from pipeline.comparison.slices import in_order, question_word, slice_rows, slices
from pipeline.comparison.statistics import compare, holm


def record(question="Who?", context="a b c d", answer="b", start=2):
    answers = {"text": [answer], "answer_start": [start]} if answer else {"text": [], "answer_start": []}
    return {"context": context, "question": question, "answers": answers}


def of(kind, *records, windows=None):
    table = {"windows": windows or [1] * len(records), "answerable": [bool(r["answers"]["text"]) for r in records]}
    return slices(pa.table(table), records)[kind]


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("When did it open?", "when"),
        ("In WHAT year did it open, and who came?", "what"),
        ("Whose mill is it?", "who"),
        ("To whom was it sold?", "who"),
        ("How many mills are there?", "how many"),
        ("how much is it", "how many"),
        ("How is it sold?", "how"),
        ("Name the owner.", "other"),
        ("Somewhat odd, whatever", "other"),
        ("", "other"),
    ],
)
def test_question_words(question, word):
    assert question_word(question) == word


def test_answer_length_counts_the_words_of_the_first_reference():
    answers = ["one", "one two", "1 2 3", "1 2 3 4", "1 2 3 4 5 6", "1 2 3 4 5 6 7", None]
    assert of("answer length", *(record(answer=answer) for answer in answers)) == [
        "1 word", "2-3 words", "2-3 words", "4-6 words", "4-6 words", "7 or more words", "no answer",
    ]  # fmt: skip


def test_context_length_has_three_slices_of_equal_size():
    labels = of("context length", *(record(context="w " * n) for n in (30, 10, 20, 60, 50, 40)))
    assert labels == [
        "21-40 words", "up to 20 words", "up to 20 words", "41 or more words", "41 or more words", "21-40 words",
    ]  # fmt: skip
    assert set(of("context length", *[record()] * 5)) == {"up to 4 words"}


def test_place_of_the_answer_answerable_and_windows():
    context = "x" * 9
    labels = of("place of the answer", *(record(context=context, start=start) for start in (0, 2, 3, 5, 6, 8)))
    assert labels == ["0-33 %"] * 2 + ["33-67 %"] * 2 + ["67-100 %"] * 2
    assert of("place of the answer", record(answer=None)) == ["no answer"]
    assert of("answerable", record(), record(answer=None)) == ["answerable", "unanswerable"]
    assert of("windows", *[record()] * 4, windows=[1, 2, 3, 9]) == ["1", "2", "3 or more", "3 or more"]


def test_no_questions_have_no_labels():
    table = pa.table({"windows": pa.array([], pa.int32()), "answerable": pa.array([], pa.bool_())})
    assert not any(slices(table, []).values())


def test_labels_are_ordered_by_their_numbers():
    assert in_order(["132 or more words", "99-131 words", "up to 98 words", "99-131 words"]) == [
        "up to 98 words", "99-131 words", "132 or more words",
    ]  # fmt: skip
    assert in_order(["who", "how many", "how"]) == ["how", "how many", "who"]


def test_rows_hold_the_scores_of_each_slice_and_the_corrected_difference():
    rng = np.random.default_rng(0)
    paragraphs = np.repeat(np.arange(30), 4)
    even = np.arange(120) % 2 == 0
    base = 100.0 * (rng.random((1, 120)) < 0.5)
    better = np.where(even, 100.0, base)

    def student(name, scores):
        return Student(name, (name,), scores, scores, scores, 1, 1, 1)

    kinds = {"parity": ["even" if value else "odd" for value in even]}
    rows = slice_rows([student("base", base), student("better", better)], paragraphs, "base", kinds)
    assert [(row.student, row.label, row.questions) for row in rows] == [
        ("base", "even", 60), ("base", "odd", 60), ("better", "even", 60), ("better", "odd", 60),
    ]  # fmt: skip
    assert [row.verdict for row in rows] == [None, None, "better", "undecided"]
    assert [row.f1 for row in rows] == [base[0, even].mean(), base[0, ~even].mean(), 100, base[0, ~even].mean()]
    assert rows[0].f1_low < rows[0].f1 < rows[0].f1_high and rows[0].exact_match_low < rows[0].exact_match
    found = [compare(better[:, mask], base[:, mask], paragraphs[mask]) for mask in (even, ~even)]
    assert [row.f1_p for row in rows[2:]] == holm([each.p_value for each in found])
    assert rows[2].f1_difference == found[0].difference.mean


def test_a_slice_of_one_paragraph_has_scores_and_no_interval():
    scores = np.full((1, 4), 100.0)
    student = [Student(name, (name,), scores, scores, scores, 1, 1, 1) for name in "ab"]
    rows = slice_rows(student, np.array([0, 0, 1, 1]), "a", {"kind": ["x", "x", "x", "y"]})
    assert [(row.f1, row.f1_low is None, row.verdict) for row in rows if row.label == "y"] == [(100, True, None)] * 2
    assert [row.verdict for row in rows if row.label == "x"] == [None, "undecided"]

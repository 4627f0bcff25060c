import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.slices import question_words, slice_rows, slices
from pipeline.comparison.statistics import compare, holm
from tests.comparison.candidates import candidate


def record(question="Who?", context="a b c d", answer="b", start=2):
    answers = {"text": [answer], "answer_start": [start]} if answer else {"text": [], "answer_start": []}
    return {"context": context, "question": question, "answers": answers}


def of(kind, *records, windows=None):
    return labels(*records, windows=windows)[kind].tolist()


def labels(*records, windows=None):
    answerable = pd.Series([bool(record["answers"]["text"]) for record in records], dtype=bool)
    windows = pd.Series(windows or [1] * len(records), dtype="Int32")
    return slices(pd.DataFrame({"windows": windows, "answerable": answerable}), records)


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
    assert question_words([question]).tolist() == [word]


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


def test_answer_position_answerable_and_windows():
    context = "x" * 9
    labels = of("answer position", *(record(context=context, start=start) for start in (0, 2, 3, 5, 6, 8)))
    assert labels == ["0-33 %"] * 2 + ["33-67 %"] * 2 + ["67-100 %"] * 2
    assert of("answer position", record(answer=None)) == ["no answer"]
    assert of("answerable", record(), record(answer=None)) == ["answerable", "unanswerable"]
    assert of("windows", *[record()] * 4, windows=[1, 2, 3, 9]) == ["1", "2", "3 or more", "3 or more"]


def test_a_question_without_windows_has_a_slice():
    assert of("windows", record(), windows=[0]) == ["0"]


def test_only_unanswerable_questions_have_labels():
    assert labels(record(answer=None), record(answer=None)).iloc[1].to_dict() == {
        "question word": "who",
        "answer length": "no answer",
        "context length": "up to 4 words",
        "answer position": "no answer",
        "windows": "1",
        "answerable": "unanswerable",
    }


def test_no_questions_have_no_labels():
    assert labels().shape == (0, 6)


def test_slices_are_ordered_by_their_numbers_and_words_by_the_alphabet():
    contexts = labels(*(record(context="w " * n, question=word) for n, word in ((30, "Who?"), (10, "How?"), (20, ""))))
    assert list(contexts["context length"].cat.categories) == ["up to 10 words", "11-20 words", "21 or more words"]
    assert list(contexts["question word"].cat.categories) == ["how", "other", "who"]
    answers = labels(record(answer="1 2"), record(answer="1"), record(answer=None))["answer length"]
    assert list(answers.cat.remove_unused_categories().cat.categories) == ["1 word", "2-3 words", "no answer"]


def test_rows_hold_the_scores_of_each_slice_and_the_corrected_difference():
    rng = np.random.default_rng(0)
    paragraphs = np.repeat(np.arange(30), 4)
    even = np.arange(120) % 2 == 0
    base = 100.0 * (rng.random((1, 120)) < 0.5)
    better = np.where(even, 100.0, base)
    parity = pd.DataFrame({"parity": pd.Categorical(np.where(even, "even", "odd"))})
    rows = slice_rows([candidate("base", base), candidate("better", better)], paragraphs, "base", parity)
    assert rows[["student", "kind", "label", "questions"]].to_numpy().tolist() == [
        ["base", "parity", "even", 60],
        ["base", "parity", "odd", 60],
        ["better", "parity", "even", 60],
        ["better", "parity", "odd", 60],
    ]
    assert rows["verdict"].fillna("").tolist() == ["", "", "better", "undecided"]
    assert rows["f1"].tolist() == [base[0, even].mean(), base[0, ~even].mean(), 100, base[0, ~even].mean()]
    assert (rows["f1_low"] < rows["f1"])[:2].all() and (rows["f1"] < rows["f1_high"])[:2].all()
    found = [compare(better[:, mask], base[:, mask], paragraphs[mask]) for mask in (even, ~even)]
    assert rows["f1_p"][2:].tolist() == holm([each.p_value for each in found])
    assert rows["f1_difference"][2] == found[0].difference.mean


def test_a_slice_of_one_paragraph_has_scores_and_no_interval():
    students = [candidate(name, np.full((1, 4), 100.0)) for name in "ab"]
    kinds = pd.DataFrame({"kind": pd.Categorical(["x", "x", "x", "y"])})
    rows = slice_rows(students, np.array([0, 0, 1, 1]), "a", kinds)
    assert rows["verdict"].fillna("").tolist() == ["", "", "undecided", ""]
    alone = rows[rows["label"] == "y"]
    assert alone["f1"].tolist() == [100, 100] and alone["f1_low"].isna().all() and alone["f1_p"].isna().all()

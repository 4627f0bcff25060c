"""What the stage that reads the questions says of two splits together."""

from itertools import islice

from pipeline.questions import synthetic
from pipeline.stages.dataset import warn_of_shared


def records(split, count):
    return list(islice(synthetic.corpus(split, 24, seed=0), count))


def test_validation_questions_that_are_training_questions_are_named(capsys):
    train, validation = records("train", 24), records("validation", 24)
    warn_of_shared({"train": train, "validation": validation})
    assert capsys.readouterr().err == ""
    again = {**train[5], "id": "again", "question": f" {train[5]['question']}"}
    warn_of_shared({"train": train, "validation": [*validation, again]})
    assert capsys.readouterr().err.startswith(
        "warning: 1 of 25 validation questions are training questions too, the first is again; "
    )


def test_a_question_about_another_context_is_another(capsys):
    train = records("train", 24)
    other = {**train[5], "context": f"{train[5]['context']} More."}
    warn_of_shared({"train": train, "validation": [other]})
    assert capsys.readouterr().err == ""

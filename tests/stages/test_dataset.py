"""What the stage that reads the questions says of two splits together."""

import json
from itertools import islice

import pytest

from pipeline.params import Dataset
from pipeline.questions import synthetic
from pipeline.stages.dataset import read, warn_of_shared


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


@pytest.fixture
def read_train(tmp_path, monkeypatch):
    """A function that reads questions as the training file of the parameters."""
    monkeypatch.chdir(tmp_path)

    def read_train(questions, **params):
        path = tmp_path / "data/raw/train.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(questions))
        files = {"train_file": "data/raw/train.json", "validation_file": "data/raw/validation.json"}
        return read(Dataset(source="files", **files, **params), "train")

    return read_train


@pytest.mark.parametrize(("size", "said"), [(24, False), (7, False), (None, False), (25, True)])
def test_a_file_with_fewer_questions_than_asked_for_is_named(read_train, capsys, size, said):
    assert len(read_train(records("train", 24), train_size=size)) == min(size or 24, 24)
    assert ("train: 24 questions" in (out := capsys.readouterr().out)) == (size != 7)
    assert ("dataset.train_size, 25" in out) == said

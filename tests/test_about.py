import json

import pytest

from pipeline.about import ABOUT, About, Example, read_about, write_about
from pipeline.errors import InputError

SOME = About("3 questions of a.json", [Example("Wo?", "Sie wohnt in Zürich.", "Zürich")])


def test_what_was_written_is_read(tmp_path):
    write_about(SOME, tmp_path)
    assert read_about(tmp_path) == SOME
    assert "Zürich" in (tmp_path / ABOUT).read_text(encoding="utf-8")


def test_nothing_is_known_of_a_student_without_the_file(tmp_path):
    assert read_about(tmp_path) == About("", [])


def test_examples_are_published_only_if_asked_for():
    assert SOME.published(True) == SOME
    assert SOME.published(False) == About(SOME.trained_on, [])


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"trained_on": "x"},
        {"trained_on": 5, "examples": []},
        {"trained_on": "x", "examples": [{"question": "Who?"}]},
        {"trained_on": "x", "examples": [{"question": "Who?", "context": "Me.", "answer": 5}]},
        {"trained_on": "x", "examples": 5},
        [],
    ],
    ids=str,
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, content):
    (tmp_path / ABOUT).write_text(json.dumps(content))
    with pytest.raises(InputError, match=ABOUT) as error:
        read_about(tmp_path)
    assert "\n" not in str(error.value)

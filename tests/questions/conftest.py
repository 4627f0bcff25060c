import json

import pytest

from tests.questions.farm import CONTEXT


@pytest.fixture
def write(tmp_path):
    """A function that writes questions about one context as a SQuAD file; `text` replaces the whole content."""

    def write(*questions, title="Farm", context=CONTEXT, text=None):
        paragraph = {"context": context, "qas": list(questions)}
        document = {"version": "x", "data": [{"title": title, "paragraphs": [paragraph]}]}
        path = tmp_path / "questions.json"
        path.write_text(json.dumps(document) if text is None else text, encoding="utf-8")
        return path

    return write

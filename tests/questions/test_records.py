import pytest

from pipeline.questions.records import read_records, write_records

MORE = {
    "id": "x",
    "title": None,
    "context": "Zoë 한 😀\n\t.",
    "question": "?",
    "answers": {"text": ["Zoë", "😀"], "answer_start": [0, 6]},
    "is_impossible": False,
}
IMPOSSIBLE = {**MORE, "id": "y", "answers": {"text": [], "answer_start": []}, "is_impossible": True}


@pytest.fixture
def many(records):
    return [*records, MORE, IMPOSSIBLE]


def test_records_survive_a_save_and_a_load(many, tmp_path):
    write_records(many, tmp_path / "records.parquet")
    assert read_records(tmp_path / "records.parquet") == many


def test_equal_records_give_equal_bytes(many, tmp_path):
    write_records(many, tmp_path / "one.parquet")
    write_records(read_records(tmp_path / "one.parquet"), tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_key_order_and_unknown_keys_do_not_change_the_bytes(many, tmp_path):
    write_records(many, tmp_path / "one.parquet")
    write_records([{"score": 1, **dict(reversed(record.items()))} for record in many], tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()

from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.questions import records as module
from pipeline.questions.records import RECORD, open_records, read_records, write_records

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


def test_the_bytes_of_one_row_group_are_those_of_write_table(many, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_BATCH", 4)
    write_records(iter(many), tmp_path / "records.parquet")
    pq.write_table(pa.Table.from_pylist(many, schema=RECORD), tmp_path / "table.parquet")
    assert (tmp_path / "records.parquet").read_bytes() == (tmp_path / "table.parquet").read_bytes()


@pytest.fixture
def stored(many, tmp_path, monkeypatch):
    """Records in row groups of four, that are read three at a time."""
    monkeypatch.setattr(module, "ROWS_PER_BATCH", 2)
    monkeypatch.setattr(module, "ROWS_PER_GROUP", 4)
    write_records(iter(many), tmp_path / "records.parquet")
    metadata = pq.ParquetFile(tmp_path / "records.parquet").metadata
    rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert len(rows) > 1 and rows == [4] * (len(many) // 4) + [len(many) % 4] * (len(many) % 4 > 0)
    return open_records(tmp_path / "records.parquet")


def test_records_are_read_in_order_and_one_by_one(stored, many):
    assert list(stored) == read_records(stored.path) == many
    assert len(stored) == len(many) and [stored[i] for i in range(len(many))] == many
    with pytest.raises(IndexError, match=str(len(many))):
        stored[len(many)]


def test_batches_have_the_chosen_columns(stored, many):
    batches = [batch.to_pylist() for batch in stored.batches(3, ["id"])]
    assert [len(batch) for batch in batches[:-1]] == [3] * (len(batches) - 1)
    assert list(chain.from_iterable(batches)) == [{"id": record["id"]} for record in many]


def test_records_are_written_as_they_come(many, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_BATCH", 1)
    monkeypatch.setattr(module, "ROWS_PER_GROUP", 2)
    groups = []

    class Writer(pq.ParquetWriter):
        def write_table(self, table):
            groups.append(taken[0])
            super().write_table(table)

    monkeypatch.setattr(pq, "ParquetWriter", Writer)
    taken = [0]

    def counted():
        for record in many:
            taken[0] += 1
            yield record

    write_records(counted(), tmp_path / "records.parquet")
    assert groups[:2] == [2, 4]

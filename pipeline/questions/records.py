"""Question records as Parquet with a checksum; equal records give equal bytes.

Records are written and read in parts, so that a split may be larger than memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checksums import seal, verified
from pipeline.questions.question import Question

RECORD = pa.schema(
    {
        "id": pa.string(),
        "title": pa.string(),
        "context": pa.string(),
        "question": pa.string(),
        "answers": pa.struct({"text": pa.list_(pa.string()), "answer_start": pa.list_(pa.int64())}),
        "is_impossible": pa.bool_(),
    }
)
ROWS_PER_GROUP = 65536
ROWS_PER_BATCH = 4096  # that are Python objects at a time; divides ROWS_PER_GROUP


def write_records(records: Iterable[Question], path: Path) -> None:
    """Save question records as Parquet, in row groups of `ROWS_PER_GROUP`."""
    remaining = iter(records)
    with pq.ParquetWriter(path, RECORD) as writer:
        for tables in iter(lambda: list(_row_group(remaining)), []):
            writer.write_table(pa.concat_tables(tables).combine_chunks())  # its bytes would show the pieces
    seal(path)


def _row_group(records: Iterator[Question]) -> Iterator[pa.Table]:
    """Yield the next row group in pieces."""
    for _ in range(ROWS_PER_GROUP // ROWS_PER_BATCH):
        batch = list(islice(records, ROWS_PER_BATCH))
        if batch:
            yield pa.Table.from_pylist(batch, schema=RECORD)


def read_records(path: Path) -> list[Question]:
    """Load records saved by `write_records`.

    Raises:
        InputError: the file is missing or damaged.
    """
    return list(open_records(path))


def open_records(path: Path) -> "Records":
    """Open records saved by `write_records`, compared with their checksum, to read them in parts.

    Raises:
        InputError: the file is missing or damaged.
    """
    return Records(verified(path, "dataset"))


class Records(Sequence[Question]):
    """The records of a Parquet file, read from it when they are used: in their order, or by their index for errors."""

    def __init__(self, path: Path):
        self.path = path
        metadata = pq.ParquetFile(path).metadata
        self.rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def __len__(self) -> int:
        return sum(self.rows)

    def __iter__(self) -> Iterator[Question]:
        for batch in self.batches(ROWS_PER_BATCH):
            yield from batch.to_pylist()

    def __getitem__(self, i):
        """The record with this index. Its whole row group is read."""
        first = 0
        for number, rows in enumerate(self.rows):
            if first <= i < first + rows:
                return pq.ParquetFile(self.path).read_row_group(number).slice(i - first, 1).to_pylist()[0]
            first += rows
        raise IndexError(f"{self.path} has no record {i}")

    def batches(self, size: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all records in batches of `size`, in their order; the last is smaller.

        Args:
            columns: None for all.
        """
        yield from pq.ParquetFile(self.path).iter_batches(size, columns=columns)

"""Question records as Parquet with a checksum; equal records give equal bytes."""

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


def write_records(records: list[Question], path: Path) -> None:
    """Save question records as Parquet."""
    pq.write_table(pa.Table.from_pylist(records, schema=RECORD), path)
    seal(path)


def read_records(path: Path) -> list[Question]:
    """Load records saved by `write_records`.

    Raises:
        InputError: the file is missing or damaged.
    """
    return pq.read_table(verified(path, "dataset")).to_pylist()

"""Read questions from tables: CSV, TSV and Parquet. `checks.checked` then checks them.

A row is a question. Columns are `context`, `question`, and `answer` or `answers`; optional ones are `answer_start`,
`id`, `title` and `is_impossible`. An answer is a text. In `answers` it may also be a list of texts, or be nested as in
SQuAD (`text` and `answer_start`); in CSV and TSV as JSON. Without `answer_start` the text is looked for in the context.
A row without an answer is unlabelled, unless `is_impossible` is true.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.questions.squad import Record, open_file, read_json, record

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = {*DELIMITERS, ".parquet"}
NAMES = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16"}
ROWS_PER_BATCH = 1024
LONGEST_FIELD = 2**31 - 1  # characters
INTEGER = re.compile(r"-?\d+(\.0+)?")  # pandas writes 10.0 where another row has no value


def read_file(path: Path, prefix: str = "") -> Iterator[Record]:
    """Yield the records, unchecked, of a file of questions: a table by its suffix, else JSON.

    For `prefix` see `read_table`.

    Raises:
        InputError: as `read_table` and `squad.read_json`.
    """
    return read_table(path, prefix) if path.suffix.lower() in SUFFIXES else read_json(path)


def read_table(path: Path, prefix: str = "") -> Iterator[Record]:
    """Yield the records, unchecked, of a table; its suffix is one of `SUFFIXES`. It is read in parts.

    A question without an id is named by its line in the file, or in Parquet by its row, counted from 1, after `prefix`.

    Raises:
        InputError: the file is missing or damaged, a column is missing, or a row has another number of fields.
    """
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path)
    for location, row in rows:
        yield _record(row, path, location, prefix)


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the first line of each row, such as "line 2", and its values by column; an empty field is None."""
    csv.field_size_limit(LONGEST_FIELD)
    with open_file(path) as content:
        encoding = _encoding(content)
        text = io.TextIOWrapper(content, encoding, newline="")
        reader = csv.reader(text, delimiter=DELIMITERS[path.suffix.lower()], strict=True)
        header: list[str] = []
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise InputError(f"{path}: the row that begins in line {line} has unbalanced quotes: {error}") from None
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}: line {_bad_line(path, encoding)} is not {NAMES[encoding]}: {error.reason}"
                ) from None
            if fields is None:
                break
            if not header:
                header = [field.strip().lower() for field in fields]
                _check_columns(header, path)
            elif len(fields) not in (0, len(header)):
                raise InputError(f"{path}: line {line} has {len(fields)} fields, the header has {len(header)}")
            elif fields:
                row = dict(zip(header, fields, strict=True))
                yield f"line {line}", {name: _value(name, field, path, line) for name, field in row.items()}
    if not header:
        raise InputError(f"{path} is empty")


def _encoding(content: BinaryIO) -> str:
    """The encoding of a text file that is about to be read, by its byte-order mark."""
    mark = content.read(2)
    content.seek(0)
    return "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _bad_line(path: Path, encoding: str) -> int:
    """The number of the line with the first bytes that cannot be decoded."""
    content = path.read_bytes()
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return 0


def _value(name: str, field: str, path: Path, line: int) -> Any:
    """The value of a field: JSON where it may be a list or an object, else the text."""
    if name in ("answers", "answer_start") and field.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(field)
        except (ValueError, RecursionError):
            raise InputError(
                f"{path}: line {line}: {name} looks like a list and is not JSON: {field[:80]!r}; write "
                '["one", "two"], or a single text in a column named answer'
            ) from None
    return field or None


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the number of each row, such as "row 1", and its values by column."""
    number = 0
    with open_file(path) as content:
        try:
            table = pq.ParquetFile(content)
            _check_columns(table.schema_arrow.names, path)
            for batch in table.iter_batches(ROWS_PER_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(f"{path} is not Parquet, or damaged: {' '.join(str(error).split())}") from None


def _check_columns(names: list[str], path: Path) -> None:
    repeated = {name for name in names if names.count(name) > 1}
    missing = [name for name in ("context", "question") if name not in names]
    if missing or repeated:
        problem = f"no column '{missing[0]}'" if missing else f"the column '{min(repeated)}' twice"
        separator = {".csv": " separated by commas", ".tsv": " separated by tabs"}.get(path.suffix.lower(), "")
        raise InputError(
            f"{path} has {problem}; its columns are {names}; a table has context, question, answer or answers, and "
            f"maybe answer_start, id, title and is_impossible{separator}"
        )


def _record(row: dict[str, Any], path: Path, location: str, prefix: str) -> Record:
    question = row
    if row.keys() & {"answer", "answers"}:
        question = {**row, "answers": _answers(row.get("answers", row.get("answer")), row.get("answer_start"))}
    if "id" not in row:
        return record(row.get("title"), row["context"], {**question, "id": f"{prefix}{location}"}, path)
    return {**record(row.get("title"), row["context"], question, f"{path}: {location}"), "location": location}


def _answers(value: Any, start: Any) -> Any:
    """The value of `answers` in a record: one text or several with their starts, or what is nested already."""
    texts = [value] if isinstance(value, str) else value
    if value is None or value != value or (isinstance(value, str) and not value.strip()):  # NaN differs from itself
        return []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return value
    if start is None or start != start:
        return texts
    starts = start if isinstance(start, list) else [start]
    return {"text": texts, "answer_start": [_integer(value) for value in starts]}


def _integer(value: Any) -> Any:
    """An integer that is written as text or as a float; any other value unchanged."""
    return int(float(value)) if not isinstance(value, bool) and INTEGER.fullmatch(str(value)) else value

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.questions import squad
from pipeline.questions.checks import checked
from pipeline.questions.tables import read_table
from tests.questions.farm import BEES, CONTEXT, COWS, HENS, all_of, flat
from tests.words import refused

NESTED = {"text": ["two hens"], "answer_start": [26]}


@pytest.fixture
def table(tmp_path):
    """A function that writes a table as text, or the rows of a Parquet file, and returns its path."""

    def table(name, content):
        path = tmp_path / name
        if isinstance(content, list):
            pq.write_table(pa.Table.from_pylist(content), path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return table


def read(path, faulty="error"):
    return all_of(checked(read_table(path), path.name, None, faulty))


def csv(*rows, separator=","):
    """Rows of a table as text; every field is quoted."""
    return "\r\n".join(separator.join('"' + str(field).replace('"', '""') + '"' for field in row) for row in rows)


HEADER = ("id", "title", "context", "question", "answer", "answer_start")
ROWS = [
    ("q1", "Farm", CONTEXT, BEES["question"], "bees", 10),
    ("q2", "Farm", CONTEXT, HENS["question"], "two hens", 26),
]


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t"), ("CSV", ",")])
def test_a_table_is_read_like_squad_json(table, write, suffix, separator):
    expected = list(checked(squad.read_json(write(BEES, HENS)), "").records)
    assert read(table(f"a.{suffix}", csv(HEADER, *ROWS, separator=separator))).records == expected
    without_starts = csv(HEADER[:-1], *(row[:-1] for row in ROWS), separator=separator)
    assert read(table(f"a.{suffix}", without_starts)).records == expected
    plural = csv((*HEADER[:4], "answers"), *(row[:-1] for row in ROWS), separator=separator)
    assert read(table(f"a.{suffix}", plural)).records == expected


@pytest.mark.parametrize(
    "rows",
    [
        [flat(BEES, answers={"text": ["bees"], "answer_start": [10]}), flat(HENS, answers=NESTED)],
        [flat(BEES), flat(HENS)],
        [flat(BEES, answers=["bees"]), flat(HENS, answers=["two hens"])],
        [flat(BEES, answers="bees", answer_start=10), flat(HENS, answers="two hens", answer_start=None)],
        [flat(BEES, answers=["bees"], answer_start=[10.0]), flat(HENS, answers=["two hens"], answer_start=[26.0])],
    ],
    ids=["nested as on the hub", "list of objects", "texts", "flat", "lists with starts"],
)
def test_parquet_is_read_like_squad_json(table, write, rows):
    expected = list(checked(squad.read_json(write(BEES, HENS)), "").records)
    assert read(table("a.parquet", rows)).records == expected


def test_a_question_without_an_id_is_named_by_its_line_or_row(table):
    text = 'Question, Context,answer\n"What does\nAnn keep?",Ann keeps bees.,bees\n\nWho?,Ann keeps bees.,Ann\n'
    assert [record["id"] for record in read(table("a.csv", text)).records] == ["line 2", "line 5"]
    rows = [{key: value for key, value in flat(BEES).items() if key != "id"}] * 2
    assert [record["id"] for record in read(table("a.parquet", rows)).records] == ["row 1", "row 2"]


def test_several_answers_are_json_in_csv(table):
    nested = json.dumps({"text": ["bees", "Ann"], "answer_start": [10, 0]})
    rows = [(CONTEXT, "What?", '["bees", "Ann"]', ""), (CONTEXT, "What?", '["bees", "Ann"]', "[10, 0]"),
            (CONTEXT, "What?", nested, "")]  # fmt: skip
    found = read(table("a.csv", csv(("context", "question", "answers", "answer_start"), *rows))).records
    assert [record["answers"] for record in found] == [{"text": ["bees", "Ann"], "answer_start": [10, 0]}] * 3
    with refused("a.csv: line 2", "answers", "not JSON", "'bees'", "named answer"):
        read(table("a.csv", csv(("context", "question", "answers"), (CONTEXT, "What?", "['bees', 'Ann']"))))
    (plain,) = read(table("a.csv", csv(("context", "question", "answer"), ("It is [1].", "What?", "[1]")))).records
    assert plain["answers"] == {"text": ["[1]"], "answer_start": [6]}


def test_a_text_that_occurs_several_times_is_taken_at_its_first_place_and_counted(table):
    found = read(
        table("a.csv", csv(("context", "question", "answer"), (CONTEXT, "What?", "keeps"), (CONTEXT, "?", "Ann")))
    )
    assert [record["answers"]["answer_start"] for record in found.records] == [[4], [0]]
    assert found.ambiguous == 1


def test_a_text_that_occurs_nowhere_is_faulty(table):
    path = table("a.tsv", csv(HEADER[:-1], ROWS[0][:-1], ("q2", "", CONTEXT, "What?", "cows"), separator="\t"))
    with refused("a.tsv: question q2", "line 3", "'cows'", one_line=False):
        read(path)
    found = read(path, "drop")
    assert [record["id"] for record in found.records] == ["q1"]
    assert [(fault.id, fault.action) for fault in found.faults] == [("q2", "left out")]
    assert all("location" not in record for record in found.records)


def test_a_row_without_an_answer_is_unlabelled_or_unanswerable(table):
    header = ("context", "question", "answer", "answer_start", "is_impossible")
    rows = [(CONTEXT, "a?", "", "", ""), (CONTEXT, "b?", " ", "", "True"), (CONTEXT, "c?", "bees", "10.0", "0")]
    found = read(table("a.csv", csv(header, *rows))).records
    assert [record["is_impossible"] for record in found] == [False, True, False]
    assert [squad.is_labelled(record) for record in found] == [False, True, True]
    unlabelled = read(table("b.csv", csv(("context", "question"), (CONTEXT, "a?")))).records
    assert not squad.is_labelled(unlabelled[0])
    rows = [
        flat(BEES, answers={"text": [], "answer_start": []}),
        flat(HENS, answers={"text": ["Ann"], "answer_start": [0]}),
    ]
    assert [record["is_impossible"] for record in read(table("a.parquet", rows)).records] == [True, False]
    rows = [flat(BEES, answers=None, answer_start=None), flat(HENS, answers="", answer_start=None)]
    assert not any(squad.is_labelled(record) for record in read(table("a.parquet", rows)).records)


@pytest.mark.parametrize("start", ["x", "-3", "99", "9", "10.5"])
def test_a_wrong_start_is_faulty_and_can_be_repaired(table, start):
    path = table("a.csv", csv(HEADER, (*ROWS[0][:-1], start)))
    with refused("a.csv: question q1", "line 2", "answer_start", one_line=False):
        read(path)
    assert read(path, "repair").records[0]["answers"] == {"text": ["bees"], "answer_start": [10]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_accepted(table, encoding):
    text = csv(HEADER, ROWS[1]).encode(encoding)
    assert read(table("a.csv", text)).records[0]["answers"]["text"] == ["two hens"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "", r"a\.csv .*empty"),
        ("a.csv", "context,answer\n1,2", r"'question'.*\['context', 'answer'\].*commas"),
        ("a.csv", "context;question;answer\n1;2;3", r"'context'.*commas"),
        ("a.tsv", "context,question,answer\n1,2,3", r"'context'.*tabs"),
        ("a.csv", "context,question,question\n1,2,3", r"'question' .*twice"),
        ("a.csv", "context,question,answer\n1,2,3\n1,2", r"a\.csv: line 3 .*2 fields.* 3"),
        ("a.csv", "context,question,answer\n1,2,3,4", r"a\.csv: line 2 .*4 fields.* 3"),
        ("a.csv", 'context,question,answer\n1,2,3\n"1,2,3\n1,2,3\n', r"a\.csv: .*line 3 .*quotes"),
        ("a.csv", 'context,question,answer\n"1" or 2,2,3\n', r"a\.csv: .*line 2 .*quotes"),
        ("a.csv", "context,question,answer\n1,2,3\nZoë,2,3".encode("latin-1"), r"a\.csv: line 3 .*UTF-8"),
        ("a.csv", "context,question,expected_answer\n1,2,3", r"line 2 .*'expected_answer' .*'answers'"),
        ("a.csv", "context,question,answer_start\n1,2,3", r"line 2 .*'answer_start' .*'answers'"),
        ("a.csv", "id,context,question,is_impossible\nq,1,2,maybe", r"line 2: question q: is_impossible.*maybe"),
        ("a.parquet", b"PAR1", r"a\.parquet .*Parquet"),
        ("a.parquet", [{"context": "1", "answer": "2"}], r"column 'question'"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_an_error_with_its_line(table, name, content, expected):
    with pytest.raises(InputError, match=expected) as raised:
        read(table(name, content))
    assert "\n" not in str(raised.value)


def test_a_missing_table_is_an_error_like_a_missing_json_file(tmp_path):
    for name in ("none.csv", "none.parquet"):
        with refused(name, "missing", f"`dvc add {tmp_path / name}`"):
            list(read_table(tmp_path / name))


def test_a_long_field_is_read(table):
    context = "tea " * 100_000 + "bees"
    (record,) = read(table("a.csv", csv(("context", "question", "answer"), (context, "What?", "bees")))).records
    assert record["answers"]["answer_start"] == [400_000]


def test_unanswerable_questions_of_the_farm_are_known(table):
    rows = [flat(BEES, is_impossible=False), flat(COWS)]
    assert [record["is_impossible"] for record in read(table("a.parquet", rows)).records] == [False, True]


def test_tables_are_read_in_parts(tmp_path, monkeypatch):
    rows = [{"context": CONTEXT, "question": f"What {i}?", "answer": "bees"} for i in range(7)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=3)
    monkeypatch.setattr("pipeline.questions.tables.ROWS_PER_BATCH", 2)
    assert [record["id"] for record in read_table(tmp_path / "rows.parquet")] == [f"row {i}" for i in range(1, 8)]
    lines = "context,question,answer\n" + f"{CONTEXT},What?,bees\n" * 2 + "too,few\n"
    (tmp_path / "rows.csv").write_text(lines)
    read = read_table(tmp_path / "rows.csv")
    assert [next(read)["id"], next(read)["id"]] == ["line 2", "line 3"]
    with pytest.raises(InputError, match="line 4 has 2 fields"):
        next(read)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_line_of_bytes_in_another_encoding_is_named(tmp_path, encoding):
    lines = f"context,question,answer\n{CONTEXT},What?,bees\n".encode(encoding)
    bad = b"\xff\n" if encoding == "utf-8" else b"\x00\xd8"
    (tmp_path / "rows.csv").write_bytes(lines * 1 + bad)
    with pytest.raises(InputError, match=rf"line 3 is not {encoding.upper()}"):
        list(read_table(tmp_path / "rows.csv"))

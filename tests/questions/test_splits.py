"""The windows of a split: the same bytes for any chunks and any number of processes."""

import os
import signal

import numpy as np
import pytest

from pipeline import parallel
from pipeline.checksums import verified
from pipeline.errors import InputError
from pipeline.questions import splits
from pipeline.questions.features import read_features, write_features
from pipeline.questions.records import open_records, write_records
from pipeline.questions.splits import write_windows
from pipeline.questions.windows import pack, windows


@pytest.fixture
def records(records):
    """Eight questions: the fourth has no label, and the answer to the fifth no token."""
    records = [{**record, "id": f"{record['id']}-{copy}"} for copy in "ab" for record in records]
    records[3]["answers"] = {"text": [], "answer_start": []}
    records[4] |= {"context": "Tea \ufffd", "answers": {"text": ["\ufffd"], "answer_start": [4]}}
    return records


@pytest.fixture
def write(records, tokenizer, tmp_path, monkeypatch):
    """A function that writes the windows of the records in chunks; returns the file and what it holds."""
    write_records(records, tmp_path / "records.parquet")
    tokenizer.save_pretrained(tmp_path / "tokenizer")

    def write(size, processes=1, without=(), progress=lambda count: None):
        monkeypatch.setattr(splits, "RECORDS_PER_CHUNK", size)
        stored, path = open_records(tmp_path / "records.parquet"), tmp_path / f"{size}-{processes}.safetensors"
        counts = write_windows(stored, path, tokenizer, tmp_path / "tokenizer", 26, 6, without, processes, progress)
        assert not list(tmp_path.glob(".*"))  # no part is left
        return verified(path, "tokenize"), counts

    return write


def test_the_bytes_do_not_depend_on_the_chunks(write, records, tokenizer, tmp_path):
    write_features(pack(windows(records, tokenizer, 26, 6)), tmp_path / "expected")
    for size in (1, 2, 5, 1000):
        path, _ = write(size)
        assert path.read_bytes() == (tmp_path / "expected").read_bytes()


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_processes(write):
    (one, counts), (two, others) = write(2, processes=1, without={1, 5}), write(2, processes=2, without={1, 5})
    assert one.read_bytes() == two.read_bytes() and counts == others


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_a_file_holds_is_counted(write, records, size):
    done = []
    path, counts = write(size, without={1, 5}, progress=done.append)
    features = read_features(path)
    assert set(features.record) == set(range(len(records))) - {1, 5}
    assert counts.records == len(records) - 2 == sum(done)
    assert (counts.windows, counts.tokens) == (len(features), len(features.input_ids))
    assert counts.whole == len(set(features.record[features.labels[:, 1] > 0])) == len(records) - 4
    assert (counts.without_token, counts.first_without) == (1, records[4]["id"])


def test_all_records_of_a_chunk_may_be_left_out(write, records):
    path, counts = write(2, without={0, 1})
    assert set(read_features(path).record) == set(range(2, len(records))) and counts.records == len(records) - 2


def test_a_question_that_is_too_long_leaves_no_file(write, records, tmp_path):
    records[2]["question"] = "where " * 40
    write_records(records, tmp_path / "records.parquet")
    with pytest.raises(InputError, match=records[2]["id"]):
        write(1)
    assert not (tmp_path / "1-1.safetensors").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_killed_process_is_one_error_and_leaves_no_file(write, tmp_path, monkeypatch):
    received = parallel._received

    def killed(worker):
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.join()
        return received(worker)

    monkeypatch.setattr(parallel, "_received", killed)
    with pytest.raises(InputError, match="exit code -9"):
        write(1, processes=2, progress=lambda count: np.inf)
    assert not (tmp_path / "1-2.safetensors").exists() and not list(tmp_path.glob(".*"))

"""Tokenize the records of a split, in one or several processes, and write their windows.

A split is cut into chunks of records. Each chunk becomes a file of windows; at the end these are one file, whose bytes
do not depend on the chunks or the processes.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from pipeline.checksums import seal
from pipeline.parallel import map_in_processes
from pipeline.questions import tokenization
from pipeline.questions.features import map_features, write_parts
from pipeline.questions.question import Question
from pipeline.questions.records import RECORD, Records
from pipeline.questions.windows import RECORDS_PER_BATCH, feature_batches

RECORDS_PER_CHUNK = 8192  # about 20 MB of windows with SQuAD's lengths


class Chunk(NamedTuple):
    """Consecutive records of a split.

    Attributes:
        part: the file for their windows.
        first: index of the first record in the split.
        left_out: indices, in the chunk, of the records that get no windows.
        records: as a serialized Arrow batch.
    """

    part: Path
    first: int
    left_out: list[int]
    records: bytes


class Counts(NamedTuple):
    """What a file of windows holds.

    Attributes:
        records: how many questions were tokenized.
        whole: how many have a window with the whole answer.
        without_token: how many have an answer and no token of it.
        first_without: the id of the first of these.
    """

    records: int
    windows: int
    tokens: int
    whole: int
    without_token: int
    first_without: str | None


def write_windows(
    records: Records,
    path: Path,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    max_length: int,
    stride: int,
    without: Collection[int],
    processes: int,
    progress: Callable[[int], Any] = lambda records: None,
) -> Counts:
    """Write the windows of a split to a file, with its checksum.

    Args:
        folder: the tokenizer as it is saved, which other processes load.
        without: indices of the records that get no windows.
        processes: 1 to tokenize in this process.
        progress: called with the number of records that were tokenized.

    Raises:
        InputError: as `feature_batches`.
    """
    with TemporaryDirectory(prefix=".parts-", dir=path.parent) as name:
        chunks = _chunks(records, Path(name), without)
        if processes == 1:
            found = [write_chunk(chunk, tokenizer, max_length, stride, progress) for chunk in chunks]
        else:
            found = []
            for counts in map_in_processes(_writer, (folder, max_length, stride), chunks, processes):
                progress(counts.records)
                found.append(counts)
        write_parts(lambda: map(map_features, sorted(Path(name).iterdir())), path)
    seal(path)
    return Counts(
        records=sum(counts.records for counts in found),
        windows=sum(counts.windows for counts in found),
        tokens=sum(counts.tokens for counts in found),
        whole=sum(counts.whole for counts in found),
        without_token=sum(counts.without_token for counts in found),
        first_without=next((counts.first_without for counts in found if counts.without_token), None),
    )


def _chunks(records: Records, folder: Path, without: Collection[int]) -> Iterator[Chunk]:
    first = 0
    for number, batch in enumerate(records.batches(RECORDS_PER_CHUNK)):
        left_out = [i for i in range(len(batch)) if first + i in without]
        yield Chunk(folder / f"{number:09d}", first, left_out, batch.serialize().to_pybytes())
        first += len(batch)


def _writer(folder: Path, max_length: int, stride: int) -> Callable[[Chunk], Counts]:
    return partial(write_chunk, tokenizer=tokenization.load(folder), max_length=max_length, stride=stride)


def write_chunk(
    chunk: Chunk,
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    stride: int,
    progress: Callable[[int], Any] = lambda records: None,
) -> Counts:
    """Write the windows of a chunk to its file, for `progress` see `write_windows`."""
    batch = pa.ipc.read_record_batch(pa.py_buffer(chunk.records), RECORD)
    kept = np.delete(np.arange(len(batch)), chunk.left_out)
    batch = batch.take(pa.array(kept))

    def questions() -> Iterator[Question]:
        for begin in range(0, len(batch), RECORDS_PER_BATCH):
            found: list[Any] = batch.slice(begin, RECORDS_PER_BATCH).to_pylist()
            yield from found
            progress(len(found))

    parts = list(feature_batches(questions(), tokenizer, max_length, stride))
    whole = sum(len(np.unique(part.record[part.labels[:, 1] > 0])) for part in parts)
    unlabelled = np.concatenate([np.unique(part.record[~part.labelled]) for part in parts] or [kept[:0]])
    answers = batch["answers"].field("text").value_lengths().to_numpy()
    without_token = unlabelled[answers[unlabelled] > 0]
    numbered = [replace(part, record=(chunk.first + kept[part.record]).astype(np.int32)) for part in parts]
    write_parts(lambda: iter(numbered), chunk.part)
    return Counts(
        records=len(batch),
        windows=sum(map(len, parts)),
        tokens=sum(len(part.input_ids) for part in parts),
        whole=whole,
        without_token=len(without_token),
        first_without=batch["id"][int(without_token[0])].as_py() if len(without_token) else None,
    )

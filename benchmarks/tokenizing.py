"""Tokenizing into labelled windows: this package in one and several processes, and transformers' example run_qa.py.

The example's windows are not stored; this package writes its file and reads it again for the checksum.
"""

import argparse
import os
import time
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

from benchmarks import common
from pipeline.questions import splits, squad, tokenization
from pipeline.questions.checks import checked
from pipeline.questions.records import open_records, write_records

COLUMNS = {
    "windows_per_second": ("windows/s", 0),
    "seconds": ("seconds", 2),
    "cpu_seconds": ("CPU seconds", 2),
    "rss_growth_mb": ("memory, MB", 0),
}
BATCH = 1000  # of datasets.map, which the example uses


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokenizing", description=__doc__)
    common.model_options(parser)
    parser.add_argument("--squad", type=Path, help="SQuAD JSON (default: ../shared/squad if it exists)")
    parser.add_argument("--questions", type=int, default=20000, help="as many, some repeatedly (default: 20,000)")
    common.peer_options(parser, PEERS)
    common.run_benchmark(parser.parse_args(), PEERS, prepare, COLUMNS)


def prepare(args: argparse.Namespace, folder: Path) -> dict:
    file = args.squad or common.SQUAD["train"]
    if file.exists():  # in the file's order, where questions about one paragraph are together
        source, records = file.name, list(checked(squad.read_json(file), file.name).records)
    else:
        source, records = common.questions(None, "train", args.questions)
    common.tokenizer_of(args, records[:5000]).save_pretrained(folder / "tokenizer")
    write_records(islice(cycle(records), args.questions), folder / "records.parquet")
    about = {"questions": source, "number": args.questions, "max_length": args.max_length}
    return about | {"load_average": os.getloadavg()[0]}


def ours(processes: int):
    def run(args: argparse.Namespace, folder: Path) -> dict:
        records, result = open_records(folder / "records.parquet"), {}
        tokenizer = tokenization.load(folder / "tokenizer")
        with common.measured(result), cpu_time(result):
            counts = splits.write_windows(
                records,
                folder / f"{processes}.safetensors",
                tokenizer,
                folder / "tokenizer",
                args.max_length,
                args.max_length // 3,
                (),
                processes,
            )
        if processes > 1:
            del result["cpu_seconds"]  # those of the other processes are not known
        return speed(result, counts.windows)

    return run


def run_qa(args: argparse.Namespace, folder: Path) -> dict:
    tokenizer, result = tokenization.load(folder / "tokenizer"), {}
    records = list(open_records(folder / "records.parquet"))
    windows = 0
    with common.measured(result), cpu_time(result):
        for begin in range(0, len(records), BATCH):
            windows += len(prepare_train_features(records[begin : begin + BATCH], tokenizer, args.max_length))
    return speed(result, windows)


def prepare_train_features(records: list, tokenizer, max_length: int) -> list[tuple[int, int]]:
    """The labels of the windows, by the loops of run_qa.py (transformers 4.57, `prepare_train_features`)."""
    tokenized = tokenizer(
        [record["question"].lstrip() for record in records],
        [record["context"] for record in records],
        truncation="only_second",
        max_length=max_length,
        stride=max_length // 3,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    sample_mapping, labels = tokenized.pop("overflow_to_sample_mapping"), []
    for i, offsets in enumerate(tokenized.pop("offset_mapping")):
        input_ids = tokenized["input_ids"][i]
        cls_index = input_ids.index(tokenizer.cls_token_id)
        sequence_ids = tokenized.sequence_ids(i)
        answers = records[sample_mapping[i]]["answers"]
        if not answers["answer_start"]:
            labels.append((cls_index, cls_index))
            continue
        start_char = answers["answer_start"][0]
        end_char = start_char + len(answers["text"][0])
        first = 0
        while sequence_ids[first] != 1:
            first += 1
        last = len(input_ids) - 1
        while sequence_ids[last] != 1:
            last -= 1
        if not (offsets[first][0] <= start_char and offsets[last][1] >= end_char):
            labels.append((cls_index, cls_index))
            continue
        while first < len(offsets) and offsets[first][0] <= start_char:
            first += 1
        while offsets[last][1] >= end_char:
            last -= 1
        labels.append((first - 1, last + 1))
    return labels


@contextmanager
def cpu_time(result: dict):
    """Add the CPU seconds of this process in the block to `result`: they depend less on what else is running."""
    before = time.process_time()
    yield
    result["cpu_seconds"] = time.process_time() - before


def speed(result: dict, windows: int) -> dict:
    seconds = result["ended"] - result["began"]
    return result | {"windows": windows, "seconds": seconds, "windows_per_second": windows / seconds}


PEERS = {"run_qa.py": run_qa, "one process": ours(1), "two processes": ours(2), "four processes": ours(4)}


if __name__ == "__main__":
    main()

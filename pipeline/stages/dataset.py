"""dataset: read the questions and check each of them.

Reads a synthetic corpus, files in data/raw, or a hub data set, depending on `dataset` in params.yaml.
If a question is invalid, dataset.faulty decides: stop and list the first ones, leave it out, or repair its answers.
Writes data/dataset; what was left out or repaired is in data/dataset/faulty.jsonl.
"""

import hashlib
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from pipeline import cli, paths
from pipeline.errors import InputError
from pipeline.files import check_space, replacing
from pipeline.params import Dataset, load
from pipeline.questions import squad, synthetic, tables
from pipeline.questions.checks import checked
from pipeline.questions.faults import FAULTS, Fault, write_faults
from pipeline.questions.hub_data import read_hub
from pipeline.questions.question import Question
from pipeline.questions.records import open_records, write_records


@dataclass
class Split:
    """What is counted while the questions of a split are written.

    Attributes:
        faults: the questions that were left out or repaired.
        pairs: a 64-bit hash of each question and its context.
    """

    questions: int = 0
    unanswerable: int = 0
    unlabelled: int = 0
    faults: list[Fault] = field(default_factory=list)
    pairs: array = field(default_factory=lambda: array("Q"))

    def counted(self, records: Iterable[Question]) -> Iterator[Question]:
        """Yield the records, and count them."""
        for record in records:
            self.questions += 1
            self.unanswerable += record["is_impossible"]
            self.unlabelled += not squad.is_labelled(record)
            pair = f"{record['question'].strip()}\0{record['context']}".encode()
            self.pairs.append(int.from_bytes(hashlib.blake2b(pair, digest_size=8).digest(), "little"))
            yield record


def main() -> None:
    params = load(paths.PARAMS).dataset
    with replacing(paths.DATASET) as folder:
        if params.source == "files":
            files = [Path(file) for file in (params.train_file, params.unlabelled_file, params.validation_file) if file]
            check_space(paths.DATA, sum(file.stat().st_size for file in files if file.is_file()), "questions")
        splits = {split: write_split(params, split, folder / f"{split}.parquet") for split in ("train", "validation")}
        check_unanswerable(splits)
        warn_of_shared(splits["train"], splits["validation"], open_records(folder / "validation.parquet"))
        write_faults({split: found.faults for split, found in splits.items()}, folder / FAULTS)


def write_split(params: Dataset, split: str, path: Path) -> Split:
    """Read, check and write the records of a split, one by one.

    Raises:
        InputError: the split cannot be read, or a record is invalid and dataset.faulty is `error`.
    """
    size = params.train_size if split == "train" else params.validation_size
    records: Iterable[squad.Record]
    if params.source == "synthetic":
        where, records = f"synthetic {split} corpus", synthetic.corpus(split, size or 0, params.seed)
    elif params.source == "files":
        where, records = read_files(params, split)
    else:
        name = params.train_split if split == "train" else params.validation_split
        where = f"hub data set {params.source}, split {name}"
        records = read_hub(params.source, params.revision or "", params.config, name)
    counts: Counter[str] = Counter()
    records = usable(records, params.unanswerable == "keep", split == "train", counts)
    valid = checked(records, where, size, params.faulty)
    found = Split(faults=valid.faults)
    write_records(found.counted(valid.records), path)
    counts["unanswerable"] = found.unanswerable
    counts["unlabelled"] = found.unlabelled
    counts["answers without answer_start occur more than once, the first place is used"] = valid.ambiguous
    for action, count in Counter(fault.action for fault in found.faults).items():
        counts[f"invalid, {action} ({paths.DATASET / FAULTS})"] = count
    suffix = f", fewer than dataset.{split}_size, {size}" if size and found.questions < size else ""
    suffix += "".join(f"; {count} {what}" for what, count in counts.items() if count)
    print(f"{split}: {found.questions} questions from {where}{suffix}")
    return found


def read_files(params: Dataset, split: str) -> tuple[str, Iterable[squad.Record]]:
    """The records of a split's files, and the names of the files."""
    assert params.train_file and params.validation_file
    if split != "train":
        return params.validation_file, tables.read_file(Path(params.validation_file))
    records = tables.read_file(Path(params.train_file))
    if not params.unlabelled_file:
        return params.train_file, records
    file = params.unlabelled_file
    more = tables.read_file(Path(file), prefix=f"{file}: ")  # both files may have a line 2
    return f"{params.train_file} and {file}", chain(records, without_answers(more, file))


def without_answers(records: Iterable[squad.Record], file: str) -> Iterator[squad.Record]:
    """Yield the records as unlabelled ones; their locations name the file."""
    for record in records:
        location = f"{file}, {record['location']}" if "location" in record else file
        yield {**record, "answers": dict(squad.NO_ANSWERS), "is_impossible": False, "location": location}


def usable(
    records: Iterable[squad.Record], unanswerable: bool, unlabelled: bool, counts: Counter[str]
) -> Iterator[squad.Record]:
    """Yield the records, with or without the unanswerable and the unlabelled ones; count those left out."""
    for record in records:
        if record["is_impossible"] and not unanswerable:
            counts["unanswerable, left out"] += 1
        elif not squad.is_labelled(record) and not unlabelled:
            counts["unlabelled, left out because they cannot be scored"] += 1
        else:
            yield record


def check_unanswerable(splits: Mapping[str, Split]) -> None:
    """Check that models can be trained and scored on the unanswerable questions.

    Raises:
        InputError: a split has no other questions, or only the training questions have some.
    """
    for split, found in splits.items():
        if found.unanswerable == found.questions:
            raise InputError(f"all {found.questions} {split} questions are unanswerable; add questions with an answer")
    if splits["train"].unanswerable and not splits["validation"].unanswerable:
        raise InputError(
            f"{splits['train'].unanswerable} training questions are unanswerable and no validation question is, so no "
            "threshold can be chosen for the student; add some to the validation questions, or set "
            "dataset.unanswerable to drop"
        )


def warn_of_shared(train: Split, validation: Split, records: Sequence[Question]) -> None:
    """Print a warning if validation questions are training questions, on the same context.

    Args:
        records: the validation questions.
    """
    mine, others = (np.frombuffer(split.pairs, dtype=np.uint64) for split in (validation, train))
    shared = np.flatnonzero(np.isin(mine, others))
    if len(shared):
        print(
            f"warning: {len(shared)} of {len(records)} validation questions are training questions too, "
            f"the first is {records[shared[0]]['id']}; scores on them say nothing about other questions",
            file=sys.stderr,
        )


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("dataset", __doc__))

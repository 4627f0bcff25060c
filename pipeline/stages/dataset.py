"""dataset: read the questions and check each of them.

Reads a synthetic corpus, files in data/raw, or a hub data set, depending on `dataset` in params.yaml.
If a question is invalid, dataset.faulty decides: stop and list the first ones, leave it out, or repair its answers.
Writes data/dataset; what was left out or repaired is in data/dataset/faulty.jsonl.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline import cli, paths
from pipeline.errors import InputError
from pipeline.params import Dataset, load
from pipeline.questions import squad, synthetic, tables
from pipeline.questions.checks import Checked, checked
from pipeline.questions.faults import FAULTS, write_faults
from pipeline.questions.hub_data import read_hub
from pipeline.questions.question import Question
from pipeline.questions.records import write_records


def main() -> None:
    params = load(paths.PARAMS).dataset
    found = {split: read(params, split) for split in ("train", "validation")}
    splits = {split: questions.records for split, questions in found.items()}
    check_unanswerable(splits)
    warn_of_shared(splits)
    folder = paths.empty_folder(paths.DATASET)
    for split, records in splits.items():
        write_records(records, folder / f"{split}.parquet")
    write_faults({split: questions.faults for split, questions in found.items()}, folder / FAULTS)


def read(params: Dataset, split: str) -> Checked:
    """Read and check the records of a split.

    Raises:
        InputError: the split cannot be read, or a record is invalid and dataset.faulty is `error`.
    """
    size = params.train_size if split == "train" else params.validation_size
    records: Iterable[squad.Record]
    if params.source == "synthetic":
        where, records = f"synthetic {split} corpus", synthetic.corpus(split, size or 0, params.seed)
    elif params.source == "files":
        file: Any = params.train_file if split == "train" else params.validation_file
        where, records = file, tables.read_file(Path(file))
    else:
        name = params.train_split if split == "train" else params.validation_split
        where = f"hub data set {params.source}, split {name}"
        records = read_hub(params.source, params.revision or "", params.config, name)
    counts: Counter[str] = Counter()
    records = usable(records, params.unanswerable == "keep", split == "train", counts)
    found = checked(records, where, size, params.faulty)
    counts["unanswerable"] = count_unanswerable(found.records)
    counts["unlabelled"] = sum(not squad.is_labelled(record) for record in found.records)
    counts["answers without answer_start occur more than once, the first place is used"] = found.ambiguous
    for action, count in Counter(fault.action for fault in found.faults).items():
        counts[f"invalid, {action} ({paths.DATASET / FAULTS})"] = count
    suffix = f", fewer than dataset.{split}_size, {size}" if size and len(found.records) < size else ""
    suffix += "".join(f"; {count} {what}" for what, count in counts.items() if count)
    print(f"{split}: {len(found.records)} questions from {where}{suffix}")
    return found


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


def count_unanswerable(records: list[Question]) -> int:
    return sum(record["is_impossible"] for record in records)


def check_unanswerable(splits: dict[str, list[Question]]) -> None:
    """Check that models can be trained and scored on the unanswerable questions.

    Raises:
        InputError: a split has no other questions, or only the training questions have some.
    """
    counts = {split: count_unanswerable(records) for split, records in splits.items()}
    for split, records in splits.items():
        if counts[split] == len(records):
            raise InputError(f"all {len(records)} {split} questions are unanswerable; add questions with an answer")
    if counts["train"] and not counts["validation"]:
        raise InputError(
            f"{counts['train']} training questions are unanswerable and no validation question is, so no threshold can "
            "be chosen for the student; add some to the validation questions, or set dataset.unanswerable to drop"
        )


def warn_of_shared(splits: dict[str, list[Question]]) -> None:
    """Print a warning if validation questions are training questions, on the same context."""

    def pair(record: Question) -> tuple[str, str]:
        return record["question"].strip(), record["context"]

    seen = {pair(record) for record in splits["train"]}
    shared = [record["id"] for record in splits["validation"] if pair(record) in seen]
    if shared:
        print(
            f"warning: {len(shared)} of {len(splits['validation'])} validation questions are training questions too, "
            f"the first is {shared[0]}; scores on them say nothing about other questions",
            file=sys.stderr,
        )


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("dataset", __doc__))

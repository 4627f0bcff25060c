"""dataset: read questions and check every one of them.

Reads a synthetic corpus, SQuAD JSON in data/raw, or a hub data set, as `dataset` in params.yaml says.
Refuses a data set with a bad record, and lists the first of them.
Writes data/dataset.
"""

from pathlib import Path

from pipeline import cli, paths
from pipeline.params import Dataset, load
from pipeline.questions import squad, synthetic
from pipeline.questions.records import write_records


def main() -> None:
    params = load(paths.PARAMS).dataset
    splits = {split: read(params, split) for split in ("train", "validation")}
    folder = paths.empty_folder(paths.DATASET)
    for split, records in splits.items():
        write_records(records, folder / f"{split}.parquet")


def read(params: Dataset, split: str) -> list[squad.Record]:
    """The checked records of a split."""
    size = params.train_size if split == "train" else params.validation_size
    unanswerable = 0
    if params.source == "synthetic":
        where, records = f"synthetic {split} corpus", synthetic.corpus(split, size, params.seed)
    elif params.source == "files":
        where = params.train_file if split == "train" else params.validation_file
        records, unanswerable = squad.read_json(Path(where))
    else:
        where = f"hub data set {params.source}, split {split}"
        records, unanswerable = squad.read_hub(params.source, params.revision, split, size)
    unscored = 0
    if split == "validation":
        everything = list(records)
        records = squad.labelled(everything)
        unscored = len(everything) - len(records)
    records = squad.checked(records, where, size)
    counts = {
        "unanswerable, left out": unanswerable,
        "without an answer, left out, since they cannot be scored": unscored,
        "without an answer": len(records) - len(squad.labelled(records)),
    }
    said = "".join(f"; {count} {what}" for what, count in counts.items() if count)
    print(f"{split}: {len(records)} questions from {where}{said}")
    return records


if __name__ == "__main__":
    cli.run(main, cli.parser("pipeline.stages.dataset", __doc__))

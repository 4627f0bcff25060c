"""dataset: read the questions and check each of them.

Reads a synthetic corpus, SQuAD JSON in data/raw, or a hub data set, depending on `dataset` in params.yaml.
If any record is invalid, it stops and lists the first ones.
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
    """Read and check the records of a split.

    Raises:
        InputError: a record is invalid, or the split cannot be read.
    """
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
        all_records = list(records)
        records = squad.labelled(all_records)
        unscored = len(all_records) - len(records)
    records = squad.checked(records, where, size)
    counts = {
        "unanswerable, left out": unanswerable,
        "without an answer, left out because they cannot be scored": unscored,
        "without an answer": len(records) - len(squad.labelled(records)),
    }
    suffix = "".join(f"; {count} {what}" for what, count in counts.items() if count)
    print(f"{split}: {len(records)} questions from {where}{suffix}")
    return records


if __name__ == "__main__":
    cli.run_stage(main, cli.parser("pipeline.stages.dataset", __doc__))

"""tokenize: data/dataset -> data/tokenizer and data/features, the windows that teacher and students read.

A student with a tokenizer of its own gets windows of its own, in a folder `student` within both.
"""

from pathlib import Path

from pipeline import feature_store, paths, tokenization
from pipeline.errors import run
from pipeline.params import Params, Tokenize, load
from pipeline.records import read_records
from pipeline.windows import pack, windows


def main() -> None:
    params = load(paths.PARAMS)
    splits = {split: read_records(paths.DATASET / f"{split}.parquet") for split in ("train", "validation")}
    tokenizer = teacher_tokenizer(params, splits["train"])
    write(tokenizer, splits, params.tokenize, paths.fresh(paths.TOKENIZER), paths.fresh(paths.FEATURES))
    if params.backbone.model != "teacher":
        students = tokenization.load(params.backbone.model, params.backbone.revision)
        parts = tokenization.differing(tokenizer, students)
        if parts:
            print(f"the student's tokenizer is not the teacher's ({', '.join(parts)} differ); it gets its own windows")
            folders = paths.fresh(paths.TOKENIZER / "student"), paths.fresh(paths.FEATURES / "student")
            write(students, splits, params.tokenize, *folders)


def write(
    tokenizer: tokenization.PreTrainedTokenizerFast,
    splits: dict[str, list],
    params: Tokenize,
    tokenizer_folder: Path,
    features_folder: Path,
) -> None:
    """Save a tokenizer, and the windows that it makes of each split."""
    tokenizer.save_pretrained(tokenizer_folder)
    for split, records in splits.items():
        features = pack(windows(records, tokenizer, params.max_length, params.stride))
        feature_store.write(features, features_folder / f"{split}.safetensors")
        labelled = features.labels[:, 1] > 0
        print(
            f"{split}: {len(records)} questions, {len(features)} windows of {features.lengths.mean():.0f} tokens, "
            f"{len(set(features.record[labelled]))} questions with their whole answer in a window"
        )


def teacher_tokenizer(params: Params, records: list[dict]) -> tokenization.PreTrainedTokenizerFast:
    """The tokenizer that comes with the teacher, or one learnt from the first records for a new teacher."""
    if params.teacher.model != "new":
        return tokenization.load(params.teacher.model, params.teacher.revision)
    known = records[: params.tokenize.vocab_records]
    texts = [text for record in known for text in (record["context"], record["question"])]
    return tokenization.learn(texts, params.tokenize.vocab_size)


if __name__ == "__main__":
    run(main)

"""tokenize: data/dataset -> data/tokenizer and data/features, the windows that teacher and students read."""

from pipeline import feature_store, paths, tokenization
from pipeline.errors import run
from pipeline.params import Params, load
from pipeline.records import read_records
from pipeline.windows import pack, windows


def main() -> None:
    params = load(paths.PARAMS)
    splits = {split: read_records(paths.DATASET / f"{split}.parquet") for split in ("train", "validation")}
    tokenizer = teacher_tokenizer(params, splits["train"])
    if params.backbone.model != "teacher":
        tokenization.check_same(tokenizer, tokenization.load(params.backbone.model, params.backbone.revision))
    tokenizer.save_pretrained(paths.fresh(paths.TOKENIZER))

    folder = paths.fresh(paths.FEATURES)
    for split, records in splits.items():
        features = pack(windows(records, tokenizer, params.tokenize.max_length, params.tokenize.stride))
        feature_store.write(features, folder / f"{split}.safetensors")
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

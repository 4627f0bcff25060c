"""tokenize: cut the questions into the windows that each teacher and the student read.

Reads data/dataset, and the tokenizers of teacher.models and backbone in params.yaml.
Labels each window with the answer it holds.
Writes data/tokenizer and data/features.
"""

import shutil

from pipeline import cli, paths
from pipeline.errors import InputError
from pipeline.params import Params, Tokenize, load
from pipeline.questions import tokenization
from pipeline.questions.features import write_features
from pipeline.questions.records import read_records
from pipeline.questions.windows import pack, windows


def main() -> None:
    params = load(paths.PARAMS)
    records = {split: read_records(paths.DATASET / f"{split}.parquet") for split in ("train", "validation")}
    paths.remove_others(
        paths.TEACHER, params.teacher.models
    )  # DVC does not, and data/teacher is what later stages track
    paths.empty_folder(paths.TOKENIZER)
    paths.empty_folder(paths.FEATURES)
    first_with: dict[str, str] = {}
    for reader, tokenizer in tokenizers(params, records["train"]).items():
        tokenizer.save_pretrained(paths.tokenizer(reader))
        same = first_with.setdefault(tokenization.fingerprint(tokenizer), reader)
        if same == reader:
            write_windows(reader, tokenizer, records, params.tokenize)
        else:
            print(f"{reader} has the tokenizer of {same}, and so its windows")
            shutil.copytree(paths.FEATURES / same, paths.FEATURES / reader)


def tokenizers(params: Params, records: list[dict]) -> dict[str, tokenization.PreTrainedTokenizerFast]:
    """Each teacher's, in alphabetical order, and the student's.

    A new teacher's is learnt from the first records; the student's comes with its backbone.
    """
    found = {}
    for name, teacher in sorted(params.teacher.models.items()):
        if teacher.model == "new":
            known = records[: params.tokenize.vocab_records]
            texts = [text for record in known for text in (record["context"], record["question"])]
            found[name] = tokenization.learn(texts, params.tokenize.vocab_size)
        else:
            found[name] = tokenization.load(teacher.model, teacher.revision)
    backbone = params.backbone
    own = backbone.model not in found
    found[paths.STUDENTS] = tokenization.load(backbone.model, backbone.revision) if own else found[backbone.model]
    return found


def write_windows(
    reader: str, tokenizer: tokenization.PreTrainedTokenizerFast, records: dict[str, list], params: Tokenize
) -> None:
    """The windows that a tokenizer makes of each split."""
    (paths.FEATURES / reader).mkdir()
    for split, questions in records.items():
        features = pack(windows(questions, tokenizer, params.max_length, params.stride))
        write_features(features, paths.features(reader, split))
        whole = features.labels[:, 1] > 0
        if split == "validation" and not whole.any():
            raise InputError(
                "no validation window holds a whole answer, so that no model can be told from another; raise "
                "tokenize.max_length, or look at the validation questions"
            )
        print(
            f"{reader}, {split}: {len(questions)} questions, {len(features)} windows of {features.lengths.mean():.0f} "
            f"tokens, {len(set(features.record[whole]))} questions with their whole answer in a window"
        )


if __name__ == "__main__":
    cli.run(main, cli.parser("pipeline.stages.tokenize", __doc__))

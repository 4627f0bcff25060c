"""tokenize: split the questions into token windows for each teacher and the student.

Reads data/dataset, and the tokenizers of teacher.models and backbone in params.yaml.
Labels each window with the answer span it contains.
Writes data/tokenizer and data/features.
"""

import shutil
from collections.abc import Iterator

from pipeline import cli, paths
from pipeline.checksums import seal
from pipeline.errors import InputError
from pipeline.params import Params, Tokenize, load
from pipeline.progress import Progress
from pipeline.questions import tokenization
from pipeline.questions.features import write_features
from pipeline.questions.records import read_records
from pipeline.questions.windows import Window, pack, windows


def main() -> None:
    params = load(paths.PARAMS)
    records = {split: read_records(paths.DATASET / f"{split}.parquet") for split in ("train", "validation")}
    # DVC does not remove the folders of old teachers, and later stages depend on all of data/teacher
    paths.remove_others(paths.TEACHER, params.teacher.models)
    paths.empty_folder(paths.TOKENIZER)
    paths.empty_folder(paths.FEATURES)
    first_with: dict[str, str] = {}
    for model, tokenizer in tokenizers(params, records["train"]).items():
        tokenizer.save_pretrained(paths.tokenizer(model))
        seal(paths.tokenizer(model))
        same = first_with.setdefault(tokenization.fingerprint(tokenizer), model)
        if same == model:
            write_windows(model, tokenizer, records, params.tokenize)
        else:
            print(f"{model} has the tokenizer of {same} and uses the same windows")
            shutil.copytree(paths.FEATURES / same, paths.FEATURES / model)


def tokenizers(params: Params, records: list[dict]) -> dict[str, tokenization.PreTrainedTokenizerFast]:
    """Return the tokenizers of the teachers, in alphabetical order, and of the student, by name.

    A new teacher's tokenizer is trained on the first tokenize.vocab_records records. The student has the tokenizer of
    its backbone.
    """
    found = {}
    for name, teacher in sorted(params.teacher.models.items()):
        if teacher.model == "new":
            first = records[: params.tokenize.vocab_records]
            texts = [text for record in first for text in (record["context"], record["question"])]
            found[name] = tokenization.train(texts, params.tokenize.vocab_size)
        else:
            found[name] = tokenization.load(teacher.model, teacher.revision)
    backbone = params.backbone
    is_teacher = backbone.model in found
    found[paths.STUDENTS] = (
        found[backbone.model] if is_teacher else tokenization.load(backbone.model, backbone.revision)
    )
    return found


def write_windows(
    model: str, tokenizer: tokenization.PreTrainedTokenizerFast, records: dict[str, list], params: Tokenize
) -> None:
    """Write the windows of each split, tokenized for a model: a teacher's name, or paths.STUDENTS.

    Raises:
        InputError: the tokenizer does not know the words, or no validation window contains a whole answer.
    """
    (paths.FEATURES / model).mkdir()
    for split, questions in records.items():
        tokenization.check_words(tokenizer, [record["question"] for record in questions], f"the {split} questions")
        with Progress(f"{model}, {split}", "question", len(questions)) as progress:
            features = pack(counted(windows(questions, tokenizer, params.max_length, params.stride), progress))
        write_features(features, paths.features(model, split))
        whole = features.labels[:, 1] > 0
        if split == "validation" and not whole.any():
            raise InputError(
                "no validation window contains a whole answer, so models cannot be compared; increase "
                "tokenize.max_length, or check the validation questions"
            )
        print(
            f"{model}, {split}: {len(questions)} questions, {len(features)} windows of {features.lengths.mean():.0f} "
            f"tokens, {len(set(features.record[whole]))} questions with a whole answer in a window"
        )


def counted(found: Iterator[Window], progress: Progress) -> Iterator[Window]:
    """The windows, while their questions are counted as done."""
    for window in found:
        progress.update(window.record + 1 - progress.done)
        yield window


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("tokenize", __doc__))

"""tokenize: split the questions into token windows for each teacher and the student.

Reads data/dataset, and the tokenizers of teacher.models and backbone in params.yaml.
Labels each window with the answer span it contains.
Writes data/tokenizer and data/features.
"""

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from pipeline import cli, paths, pretrained
from pipeline.checksums import seal
from pipeline.errors import InputError
from pipeline.params import Params, Tokenize, load
from pipeline.progress import Progress
from pipeline.questions import tokenization, vocabulary
from pipeline.questions.faults import FAULTS, Fault, listing, write_faults
from pipeline.questions.features import write_features
from pipeline.questions.question import Question
from pipeline.questions.records import read_records
from pipeline.questions.windows import longest_question, pack, question_lengths, windows


def main() -> None:
    params = load(paths.PARAMS)
    records = {split: read_records(paths.DATASET / f"{split}.parquet") for split in ("train", "validation")}
    # DVC does not remove the folders of old teachers, and later stages depend on all of data/teacher
    paths.remove_others(paths.TEACHER, params.teacher.models)
    paths.empty_folder(paths.TOKENIZER)
    paths.empty_folder(paths.FEATURES)
    first_with: dict[str, str] = {}
    models = tokenizers(params, records["train"])
    kept = None
    if params.tokenize.student_vocabulary == "used":
        texts = (text for record in records["train"] for text in (record["context"], record["question"]))
        whole = models[paths.STUDENT_NAME]
        models[paths.STUDENT_NAME], kept = vocabulary.reduced(whole, vocabulary.used_tokens(whole, texts))
        print(f"student: {len(kept):,} of {len(whole):,} word pieces")
    faults = too_long(records, models, params.tokenize)
    check_too_long(faults, records, params)
    for model, tokenizer in models.items():
        tokenizer.save_pretrained(paths.tokenizer(model))
        if model == paths.STUDENT_NAME and kept:
            paths.KEPT_TOKENS.write_text(json.dumps(kept) + "\n", encoding="utf-8")
        seal(paths.tokenizer(model))
        same = first_with.setdefault(tokenization.fingerprint(tokenizer), model)
        if same == model:
            write_windows(model, tokenizer, records, params.tokenize, faults)
        else:
            print(f"{model} has the tokenizer of {same} and uses the same windows")
            shutil.copytree(paths.FEATURES / same, paths.FEATURES / model)
    write_faults({split: list(found.values()) for split, found in faults.items()}, paths.FEATURES / FAULTS)


def tokenizers(params: Params, records: list[Question]) -> dict[str, tokenization.PreTrainedTokenizerFast]:
    """Return the tokenizers of the teachers, in alphabetical order, and of the student, by name.

    A new teacher's tokenizer is trained on the first tokenize.vocab_records records. The student has the tokenizer of
    its backbone, and so have teachers that are files of answers, which come last.
    """
    found = {}
    for name, teacher in sorted(params.teacher.models.items()):
        if teacher.model is None:
            continue
        if teacher.model == "new":
            first = records[: params.tokenize.vocab_records]
            texts = [text for record in first for text in (record["context"], record["question"])]
            found[name] = tokenization.train(texts, params.tokenize.vocab_size)
        else:
            found[name] = load_tokenizer(name, teacher.model, teacher.revision)
    backbone = params.backbone
    student = found.get(backbone.model) or load_tokenizer(paths.STUDENT_NAME, backbone.model, backbone.revision)
    files = sorted(name for name, teacher in params.teacher.models.items() if teacher.answers)
    return found | dict.fromkeys([paths.STUDENT_NAME, *files], student)


def load_tokenizer(name: str, model: str, revision: str | None) -> tokenization.PreTrainedTokenizerFast:
    """Load a model's tokenizer. It gives segment ids if the model has embeddings for them and its template allows it.

    Args:
        name: the model's name, for the line that is printed if it does not allow it.
    """
    folder = pretrained.fetch(model, revision, pretrained.TOKENIZER_FILES)
    tokenizer, count = tokenization.load(folder), pretrained.segment_embeddings(folder)
    tokenization.use_segments(tokenizer, count)
    segments = sorted(tokenization.template_segments(tokenizer))
    if count > 1 and (segments == [0] or not tokenization.has_segments(tokenizer)):
        print(
            f"{name}: the model has {count} segment embeddings, but its tokenizer's template has the segments "
            f"{segments}; every token gets segment 0"
        )
    return tokenizer


def too_long(
    records: dict[str, list], models: dict[str, tokenization.PreTrainedTokenizerFast], params: Tokenize
) -> dict[str, dict[int, Fault]]:
    """Return the questions that are too long for a window of any model, by split and index in `records`."""
    faults: dict[str, dict[int, Fault]] = {split: {} for split in records}
    for split, questions in records.items():
        for model, tokenizer in models.items():
            lengths = question_lengths(questions, tokenizer)
            longest = longest_question(tokenizer, params.max_length, params.stride)
            for i in np.flatnonzero(lengths > longest).tolist():
                reason = f"{lengths[i]} tokens for {model}, a window has room for {longest}"
                action = "left out" if split == "train" else "scored 0"
                faults[split].setdefault(i, Fault(questions[i]["id"], reason, action))
    return faults


def check_too_long(faults: dict[str, dict[int, Fault]], records: dict[str, list], params: Params) -> None:
    """Print how many questions are too long for a window.

    Raises:
        InputError: there are some and dataset.faulty is `error`, or all questions of a split are too long.
    """
    listed = [fault for found in faults.values() for fault in found.values()]
    no_others = any(len(found) == len(records[split]) for split, found in faults.items())
    if listed and (no_others or params.dataset.faulty == "error"):
        raise InputError(
            f"{len(listed)} questions leave no room for their context in a window, with tokenize.max_length "
            f"{params.tokenize.max_length} and stride {params.tokenize.stride}; raise max_length, lower stride, or set "
            f"dataset.faulty to drop, which trains on the others and scores these 0 in the validation{listing(listed)}"
        )
    for split, found in faults.items():
        if found:
            action = next(iter(found.values())).action
            print(f"{split}: {len(found)} questions are too long for a window, {action} ({paths.FEATURES / FAULTS})")


def write_windows(
    model: str,
    tokenizer: tokenization.PreTrainedTokenizerFast,
    records: dict[str, list],
    params: Tokenize,
    without: Mapping[str, Collection[int]],
) -> None:
    """Write the windows of each split, tokenized for a model: a teacher's name, or paths.STUDENT_NAME.

    Args:
        without: by split, the indices of the records that get no windows, for no model: all models are trained and
            scored on the same questions.

    Raises:
        InputError: the tokenizer does not know the words, or no validation window contains a whole answer.
    """
    (paths.FEATURES / model).mkdir()
    for split, questions in records.items():
        tokenization.check_words(tokenizer, [record["question"] for record in questions], f"the {split} questions")
        kept = [i for i in range(len(questions)) if i not in without[split]]
        with Progress(f"{model}, {split}", "question", len(kept)) as progress:
            selected = [questions[i] for i in kept]
            features = pack(windows(selected, tokenizer, params.max_length, params.stride, progress.update))
        features = replace(features, record=np.array(kept, dtype=np.int32)[features.record])
        write_features(features, paths.features(model, split))
        without_label = [questions[i] for i in dict.fromkeys(features.record[~features.labelled])]
        without_token = [question["id"] for question in without_label if question["answers"]["text"]]
        if without_token:
            print(
                f"{model}, {split}: the answers of {len(without_token)} questions have no token, so their windows have "
                f"no label; the first is {without_token[0]}"
            )
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


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("tokenize", __doc__))

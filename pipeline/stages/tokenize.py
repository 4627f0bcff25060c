"""tokenize: split the questions into token windows for each teacher and the student.

Reads data/dataset, and the tokenizers of teacher.models and backbone in params.yaml.
Labels each window with the answer span it contains.
Writes data/tokenizer and data/features.
"""

import json
import shutil
from collections.abc import Collection, Mapping
from itertools import islice

from pipeline import cli, paths, pretrained
from pipeline.checksums import seal
from pipeline.errors import InputError
from pipeline.files import check_space
from pipeline.parallel import process_count
from pipeline.params import Params, Tokenize, load
from pipeline.progress import Progress
from pipeline.questions import splits, tokenization, vocabulary
from pipeline.questions.faults import FAULTS, Fault, listing, write_faults
from pipeline.questions.records import Records, open_records
from pipeline.questions.windows import encode, feature_batches, longest_question

# A process starts in seconds, and the tokenizer of a single one uses all cores (benchmarks/README.md).
QUESTIONS_PER_PROCESS = 50_000
QUESTIONS_PER_BATCH = 10_000  # of the pass over questions alone
SAMPLE = 500  # questions whose windows say how many bytes all will take


def main() -> None:
    params = load(paths.PARAMS)
    records = {split: open_records(paths.DATASET / f"{split}.parquet") for split in ("train", "validation")}
    # DVC does not remove the folders of old teachers, and later stages depend on all of data/teacher
    paths.remove_others(paths.TEACHER, params.teacher.models)
    paths.empty_folder(paths.TOKENIZER)
    paths.empty_folder(paths.FEATURES)
    models = tokenizers(params, records["train"])
    kept = None
    if params.tokenize.student_vocabulary == "used":
        texts = (text for record in records["train"] for text in (record["context"], record["question"]))
        whole = models[paths.STUDENT_NAME]
        models[paths.STUDENT_NAME], kept = vocabulary.reduced(whole, vocabulary.used_tokens(whole, texts))
        print(f"student: {len(kept):,} of {len(whole):,} word pieces")
    same = same_tokenizers(models)
    faults = check_questions(records, {name: models[name] for name in dict.fromkeys(same.values())}, params.tokenize)
    check_too_long(faults, records, params)
    check_disk(records, models, same, params.tokenize, faults)
    for model, tokenizer in models.items():
        tokenizer.save_pretrained(paths.tokenizer(model))
        if model == paths.STUDENT_NAME and kept:
            paths.KEPT_TOKENS.write_text(json.dumps(kept) + "\n", encoding="utf-8")
        seal(paths.tokenizer(model))
        if same[model] == model:
            write_windows(model, tokenizer, records, params.tokenize, faults)
        else:
            print(f"{model} has the tokenizer of {same[model]} and uses the same windows")
            shutil.copytree(paths.FEATURES / same[model], paths.FEATURES / model)
    write_faults({split: list(found.values()) for split, found in faults.items()}, paths.FEATURES / FAULTS)


def tokenizers(params: Params, records: Records) -> dict[str, tokenization.PreTrainedTokenizerFast]:
    """Return the tokenizers of the teachers, in alphabetical order, and of the student, by name.

    A new teacher's tokenizer is trained on the first tokenize.vocab_records records. The student has the tokenizer of
    its backbone, and so have teachers that are files of answers, which come last.
    """
    found = {}
    for name, teacher in sorted(params.teacher.models.items()):
        if teacher.model is None:
            continue
        if teacher.model == "new":
            first = islice(records, params.tokenize.vocab_records)
            texts = (text for record in first for text in (record["context"], record["question"]))
            found[name] = tokenization.train(texts, params.tokenize.vocab_size)
        else:
            found[name] = load_tokenizer(name, teacher.model, teacher.revision)
    backbone = params.backbone
    student = found.get(backbone.model) or load_tokenizer(paths.STUDENT_NAME, backbone.model, backbone.revision)
    files = sorted(name for name, teacher in params.teacher.models.items() if teacher.answers)
    return found | dict.fromkeys([paths.STUDENT_NAME, *files], student)


def same_tokenizers(models: Mapping[str, tokenization.PreTrainedTokenizerFast]) -> dict[str, str]:
    """Return for each model the first model that has the same tokenizer."""
    first: dict[str, str] = {}
    return {name: first.setdefault(tokenization.fingerprint(tokenizer), name) for name, tokenizer in models.items()}


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


def check_questions(
    records: Mapping[str, Records], models: Mapping[str, tokenization.PreTrainedTokenizerFast], params: Tokenize
) -> dict[str, dict[int, Fault]]:
    """Check that each tokenizer knows the words of the questions, and return the questions that are too long.

    Returns:
        By split and index in `records`, the questions that are too long for a window of any model.

    Raises:
        InputError: a tokenizer does not know the words.
    """
    faults: dict[str, dict[int, Fault]] = {split: {} for split in records}
    for split, questions in records.items():
        for model, tokenizer in models.items():
            longest = longest_question(tokenizer, params.max_length, params.stride)
            words, first = tokenization.Words(tokenizer), 0
            for batch in questions.batches(QUESTIONS_PER_BATCH, ["id", "question"]):
                texts = [text.strip() for text in batch["question"].to_pylist()]
                encodings = encode(texts, tokenizer)
                words.add(texts, encodings)
                for i, length in enumerate(map(len, encodings)):
                    if length > longest:
                        reason = f"{length} tokens for {model}, a window has room for {longest}"
                        action = "left out" if split == "train" else "scored 0"
                        faults[split].setdefault(first + i, Fault(batch["id"][i].as_py(), reason, action))
                first += len(batch)
            words.check(f"the {split} questions")
    return faults


def check_too_long(faults: dict[str, dict[int, Fault]], records: Mapping[str, Records], params: Params) -> None:
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


def check_disk(
    records: Mapping[str, Records],
    models: Mapping[str, tokenization.PreTrainedTokenizerFast],
    same: Mapping[str, str],
    params: Tokenize,
    without: Mapping[str, Collection[int]],
) -> None:
    """Print how many bytes the windows will take, and check that the disk has them. The first questions tell.

    Raises:
        InputError: the disk lacks them.
    """
    bytes_of: dict[tuple[str, str], int] = {}
    for split, questions in records.items():
        first = [record for i, record in enumerate(islice(questions, SAMPLE)) if i not in without[split]]
        for model in set(same.values()):
            batches = feature_batches(first, models[model], params.max_length, params.stride)
            size = sum(array.nbytes for features in batches for array in vars(features).values())
            bytes_of[model, split] = size * len(questions) // max(1, len(first))
    needed = sum(bytes_of[same[model], split] for model in models for split in records)
    # the windows of a split are written twice for a while: in parts, and as a file
    check_space(paths.FEATURES, needed, "windows", temporary=max(bytes_of.values()))


def write_windows(
    model: str,
    tokenizer: tokenization.PreTrainedTokenizerFast,
    records: Mapping[str, Records],
    params: Tokenize,
    without: Mapping[str, Collection[int]],
) -> None:
    """Write the windows of each split, tokenized for a model: a teacher's name, or paths.STUDENT_NAME.

    Args:
        without: by split, the indices of the records that get no windows, for no model: all models are trained and
            scored on the same questions.

    Raises:
        InputError: no validation window contains a whole answer.
    """
    (paths.FEATURES / model).mkdir()
    for split, questions in records.items():
        processes = process_count(len(questions), QUESTIONS_PER_PROCESS)
        with Progress(f"{model}, {split}", "question", len(questions) - len(without[split])) as progress:
            counts = splits.write_windows(
                questions,
                paths.features(model, split),
                tokenizer,
                paths.tokenizer(model),
                params.max_length,
                params.stride,
                without[split],
                processes,
                progress.update,
            )
        if counts.without_token:
            print(
                f"{model}, {split}: the answers of {counts.without_token} questions have no token, so their windows "
                f"have no label; the first is {counts.first_without}"
            )
        if split == "validation" and not counts.whole:
            raise InputError(
                "no validation window contains a whole answer, so models cannot be compared; increase "
                "tokenize.max_length, or check the validation questions"
            )
        print(
            f"{model}, {split}: {len(questions)} questions, {counts.windows} windows of "
            f"{counts.tokens / counts.windows:.0f} tokens, {counts.whole} questions with a whole answer in a window"
        )


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("tokenize", __doc__))

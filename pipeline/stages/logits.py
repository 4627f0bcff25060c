"""logits: run each teacher over its windows once, store the logits, and score the teachers.

Reads data/teacher, data/features, data/tokenizer, data/dataset, and the user's logits cache.
Computes the logits of windows that are not in the cache, and adds them to it shard by shard.
A teacher that is a file of answers is not run: its answers become logits of the student's windows.
Writes data/logits, data/teacher_predictions and metrics/teacher.json.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from pipeline import cli, paths
from pipeline.checksums import verified
from pipeline.errors import InputError
from pipeline.files import check_space
from pipeline.logits import answer_targets
from pipeline.logits.answer_labels import agreement
from pipeline.logits.answer_targets import AnswerTargets
from pipeline.logits.cache import RowCache, locked
from pipeline.logits.extraction import Shard, add_shards
from pipeline.logits.gaps import write_gaps
from pipeline.logits.index import CHUNK, unique
from pipeline.logits.manifest import read_description, stores
from pipeline.logits.shards import Identity, shard_files
from pipeline.logits.store import write_store
from pipeline.logits.targets import read_teacher, student_targets
from pipeline.logits.teacher_scores import scores_of_answered
from pipeline.models import encoders, hardware, inference
from pipeline.models.batching import cut
from pipeline.models.cpu import cpu_bfloat16_speed
from pipeline.params import Evaluate, Params, load
from pipeline.params import Logits as Settings
from pipeline.processes import processes
from pipeline.progress import Progress
from pipeline.questions import tokenization
from pipeline.questions.answer_files import read_answers
from pipeline.questions.features import KEY_BYTES, Features, SpanLogits, question_ids, read_features
from pipeline.questions.question import Question
from pipeline.questions.records import open_records, read_records
from pipeline.scores import metrics, null_threshold
from pipeline.scores.baseline import warn_if_constant
from pipeline.scores.question_scores import question_scores, write_question_scores
from pipeline.scores.standard_errors import with_errors

# those of train are read for errors alone
Records = dict[str, Sequence[Question]]


def main() -> None:
    params = load(paths.PARAMS)
    paths.writable(paths.logits_cache())
    records: Records = {
        "train": open_records(paths.DATASET / "train.parquet"),
        "validation": read_records(paths.DATASET / "validation.parquet"),
    }
    teachers = sorted(params.teacher.models)
    files = {name: answers for name in teachers if (answers := params.teacher.models[name].answers)}
    if processes().is_main_process:
        cache_pulled(paths.LOGITS, files)
        for name, file in files.items():  # before the models, which can take hours
            write_targets(name, file, {split: list(questions) for split, questions in records.items()}, params)
    for name in teachers:
        if name not in files:
            extract(name, records, params.logits)
    if processes().is_main_process:
        paths.remove_others(paths.LOGITS, teachers)
        validation = list(records["validation"])
        scores = score_teachers(teachers, files, validation, params.evaluate)
        metrics.write_json(scores, paths.TEACHER_METRICS)
        if not all(record["answers"]["text"] for record in validation):
            print(null_threshold.folds(validation).note, flush=True)
        for name, score in scores.items():
            if score is None:
                print(f"{name} answers no validation question, so it has no scores", flush=True)
                continue
            warn_if_constant(f"teacher {name}", score["f1"], validation, params.evaluate.metric)


def cache_pulled(folder: Path, files: Collection[str]) -> None:
    """Import the rows of all teachers in `folder`, for example from `dvc pull`, into the cache.

    Args:
        files: the names of teachers that are files of answers, whose rows are not cached.
    """
    for store in stores(folder):
        if store.name in files:
            continue
        try:
            identity = read_description(store).identity
        except InputError:
            continue
        cached = paths.logits_cache() / identity.name
        if all((cached / path.name).exists() for path in shard_files(store)):
            continue
        with locked(paths.logits_cache(), identity):
            RowCache(paths.logits_cache(), identity).import_shards(store)


def extract(name: str, records: Records, settings: Settings) -> None:
    """Compute the rows of a teacher that are not in the cache, add them to it, and write data/logits/NAME from it."""
    tokenizer = tokenization.load(verified(paths.tokenizer(name), "tokenize"))
    teacher = encoders.fingerprint(verified(paths.TEACHER / name, f"teacher@{name}"))
    identity = Identity(teacher, tokenization.fingerprint(tokenizer), settings.dtype)
    splits = {split: read_features(paths.features(name, split)) for split in records}
    state = processes()
    with locked(paths.logits_cache(), identity) if state.is_main_process else nullcontext():
        with state.main_process_first():  # the main process repairs the cache, from data/logits if it can
            cache = RowCache(paths.logits_cache(), identity)
            if state.is_main_process:
                cache.import_shards(paths.LOGITS / name)
        state.wait_for_everyone()  # no process adds rows while another one still lists the missing ones
        kept = unique({split: features.keys for split, features in splits.items()}, cache.folder)
        compute(name, cache, splits, kept, records, tokenizer.pad_token_id, settings.shard_size)
        state.wait_for_everyone()
        if state.is_main_process:
            if state.num_processes > 1:
                cache = RowCache(paths.logits_cache(), identity)
            folder = paths.empty_folder(paths.LOGITS / name)
            keys = keys_of_shards(splits, kept, settings.shard_size)
            write_store(folder, identity, cache.rows, keys)


def keys_of_shards(
    splits: dict[str, Features], kept: dict[str, np.ndarray], size: int
) -> dict[str, Iterator[np.ndarray]]:
    """The keys of the windows to keep of each split, `size` at a time, as `write_store` takes them."""

    def keys(split: str) -> Iterator[np.ndarray]:
        for part in cut(kept[split], size):
            yield splits[split].keys[part]

    return {split: keys(split) for split in splits}


def write_targets(name: str, file: str, records: dict[str, list[Question]], params: Params) -> None:
    """Write data/logits/NAME from a file of answers, and print what is in it.

    Raises:
        InputError: see `read_answers`; or too many of the answers are nowhere in their context.
    """
    tokenizer = tokenization.load(verified(paths.tokenizer(name), "tokenize"))
    verified(paths.TEACHER / name, f"teacher@{name}")
    answers = read_answers(paths.answers(name), file, records)
    if answers.counts.unfound > params.logits.max_unfound * answers.counts.answers:
        raise InputError(
            f"{file}: {answers.counts.description}; more than logits.max_unfound, {params.logits.max_unfound:g}: ask "
            "for verbatim quotations, check that the file belongs to these contexts, or raise the limit"
        )
    print(f"{name}: {answers.counts.description}")
    splits = {split: read_features(paths.features(name, split)) for split in records}
    folder = paths.empty_folder(paths.LOGITS / name)
    targets = AnswerTargets(answers, splits, records, params.logits.dtype, folder)
    print(f"{name}: {targets.description}", flush=True)
    every = [record for questions in records.values() for record in questions]
    if labels := agreement(answers, every, params.evaluate.metric):
        print(f"{name}: {labels.description}", flush=True)
    identity = Identity(
        answer_targets.fingerprint(paths.answers(name), splits, records),
        tokenization.fingerprint(tokenizer),
        params.logits.dtype,
    )
    write_gaps(folder, targets.without)
    write_store(folder, identity, targets.rows, keys_of_shards(splits, targets.kept, params.logits.shard_size))


def compute(
    name: str,
    cache: RowCache,
    splits: dict[str, Features],
    kept: dict[str, np.ndarray],
    records: Records,
    pad_token_id: int,
    size: int,
) -> None:
    """Compute every window that is not in the cache, one shard at a time, and add it.

    With several processes, process i of n computes every n-th shard, starting with shard i.

    Args:
        kept: the indices of each split's windows that hold a key first.
    """
    missing_shards: list[Shard] = []
    for split, features in splits.items():
        missing = [part[~cache.has(features.keys[part])] for part in cut(kept[split], CHUNK)]
        shards = cut(np.concatenate(missing), size) if missing else []
        missing_shards += [(features, indices, records[split]) for indices in shards]
    windows = sum(map(len, kept.values()))
    new = sum(len(indices) for _, indices, _ in missing_shards)
    cached, before = windows - new, cache.added
    state = processes()
    if state.is_main_process:
        print(f"{name}: {windows:,} unique windows: {cached:,} cached, {new:,} to compute", flush=True)
        check_disks(cache, splits, kept, missing_shards)
    if state.num_processes > 1 and hardware.device().type == "cpu":
        cpu_bfloat16_speed()  # before the processes without a shard leave the others
    mine = missing_shards[state.process_index :: state.num_processes]
    if not mine:
        return
    share = f", process 1 of {state.num_processes}" if state.num_processes > 1 else ""
    total = cached + sum(len(indices) for _, indices, _ in mine)
    with Progress(f"{name}, {cached} cached{share}", "window", total, cached, shown=state.is_main_process) as progress:
        try:
            teacher = load_teacher(paths.TEACHER / name)
            for split, features in splits.items():
                inference.check_windows(teacher, features, question_ids(features, records[split]), pad_token_id)
            padding = add_shards(cache, teacher, mine, pad_token_id, progress.update)
        except OSError as error:
            error.add_note(cli.RESUME_HINT)
            raise
        except KeyboardInterrupt:
            done = cached + cache.added - before
            raise KeyboardInterrupt(
                f"{done} of {windows} windows are cached, the shard in progress is dropped"
            ) from None
    if state.is_main_process:
        print(f"{name}: {100 * padding:.1f} % of the computed tokens were padding")


def check_disks(
    cache: RowCache, splits: dict[str, Features], kept: dict[str, np.ndarray], missing: list[Shard]
) -> None:
    """Print how many bytes the rows will take in the cache and in data/logits, and check that the disks have them.

    Raises:
        InputError: a disk lacks them.
    """

    def size(features: Features, indices: np.ndarray) -> int:
        """The bytes of rows: a start and an end logit for each token, and for each row its key and its first token."""
        tokens = int(features.lengths_of(indices).sum())
        return 2 * tokens * np.dtype(cache.identity.dtype).itemsize + len(indices) * (KEY_BYTES + 8)

    if missing:
        check_space(cache.folder, sum(size(features, indices) for features, indices, _ in missing), "logits")
    needed = sum(size(splits[split], part) for split, indices in kept.items() for part in cut(indices, CHUNK))
    check_space(paths.LOGITS if paths.LOGITS.exists() else paths.DATA, needed, "logits")


def load_teacher(folder: Path) -> encoders.PreTrainedModel:
    """Load a teacher onto the device, in the precision chosen for this machine."""
    teacher = encoders.load_qa_model(folder)
    precision, reason = hardware.teacher_precision(teacher)
    if precision == "bfloat16":
        encoders.bfloat16_encoder(teacher)
    teacher = hardware.on_device(teacher)
    if processes().is_main_process:
        attention = str(teacher.config._attn_implementation)
        where = hardware.description(teacher, precision, reason, attention)
        print(f"{folder.name}: {where}", flush=True)
    return teacher


def score_teachers(
    names: list[str], files: Collection[str], records: list[Question], settings: Evaluate
) -> dict[str, dict[str, float] | None]:
    """Score each teacher on its own windows, by name, and write the scores of each question.

    With several teachers, `mean` has the scores of their mean on the student's windows.

    Args:
        files: of the names, those of files of answers. Their scores, and those of the mean, have `answered`, the share
            of the questions that they answer and are scored on, 0-100; they are None if they answer none.
    """
    teachers = {name: read_teacher(*paths.teacher_paths(name, "validation")) for name in names}

    def question_id(i: int) -> str:
        return records[i]["id"]

    by_name = {name: (teacher.features, teacher.logits(question_id)) for name, teacher in teachers.items()}
    if len(names) > 1:
        path = paths.features(paths.STUDENT_NAME, "validation")
        targets = student_targets([*teachers.values()], path, question_id, paths.targets_cache())
        by_name["mean"] = read_features(path), targets.logits
    folder = paths.empty_folder(paths.TEACHER_PREDICTIONS)
    scores = {
        name: score_teacher(*output, records, settings, paths.question_scores(folder / name))
        for name, output in by_name.items()
    }
    for name, score in scores.items():
        if score and (name in files or (files and name not in names)):
            score["answered"] = 100 * score["questions"] / len(records)
    return scores


def score_teacher(
    features: Features, logits: SpanLogits[np.ndarray], records: list[Question], settings: Evaluate, path: Path
) -> dict[str, float] | None:
    """Return the scores of a teacher on the questions that it answers, and write those of each question to `path`.

    None if it answers none that has an answer. In the file, questions that it does not answer have no prediction.
    """
    scores, answers = scores_of_answered(features, records, logits, settings.max_answer_length, settings.metric)
    table = question_scores(features, records, [best or [] for best in answers], metric=settings.metric)
    write_question_scores(table, path)
    known = [i for i, best in enumerate(answers) if best is not None]
    return with_errors(scores, table.take(known)) if scores else None


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("logits", __doc__))

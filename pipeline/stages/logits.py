"""logits: run each teacher over its windows once, store the logits, and score the teachers.

Reads data/teacher, data/features, data/tokenizer, data/dataset, and the user's logits cache.
Computes the logits of windows that are not in the cache, and adds them to it shard by shard.
Writes data/logits, data/teacher_predictions and metrics/teacher.json.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from pipeline import cli, paths
from pipeline.checksums import verified
from pipeline.errors import InputError
from pipeline.files import check_space
from pipeline.logits.cache import RowCache, locked
from pipeline.logits.extraction import Shard, add_shards
from pipeline.logits.index import CHUNK, unique
from pipeline.logits.manifest import read_description, stores
from pipeline.logits.shards import Identity, shard_files
from pipeline.logits.store import write_store
from pipeline.logits.targets import read_teacher, student_targets
from pipeline.models import encoders, hardware, inference
from pipeline.models.batching import cut
from pipeline.models.cpu import cpu_bfloat16_speed
from pipeline.params import Evaluate, load
from pipeline.params import Logits as Settings
from pipeline.processes import processes
from pipeline.progress import Progress
from pipeline.questions import tokenization
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
    if processes().is_main_process:
        cache_pulled(paths.LOGITS)
    for name in teachers:
        extract(name, records, params.logits)
    if processes().is_main_process:
        paths.remove_others(paths.LOGITS, teachers)
        validation = list(records["validation"])
        scores = score_teachers(teachers, validation, params.evaluate)
        metrics.write_json(scores, paths.TEACHER_METRICS)
        if not all(record["answers"]["text"] for record in validation):
            print(null_threshold.folds(validation).note, flush=True)
        for name, score in scores.items():
            warn_if_constant(f"teacher {name}", score["f1"], validation, params.evaluate.metric)


def cache_pulled(folder: Path) -> None:
    """Import the rows of all teachers in `folder`, for example from `dvc pull`, into the cache."""
    for store in stores(folder):
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
            keys = {
                split: keys_of_shards(features.keys, kept[split], settings.shard_size)
                for split, features in splits.items()
            }
            write_store(paths.empty_folder(paths.LOGITS / name), identity, cache.rows, keys)


def keys_of_shards(keys: np.ndarray, indices: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield the keys at `indices`, `size` at a time."""
    for part in cut(indices, size):
        yield keys[part]


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


def score_teachers(names: list[str], records: list[Question], settings: Evaluate) -> dict[str, dict[str, float]]:
    """Score each teacher on its own windows, by name, and write the scores of each question.

    With several teachers, `mean` has the scores of their mean on the student's windows.
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
    return {
        name: score_teacher(*output, records, settings, paths.question_scores(folder / name))
        for name, output in by_name.items()
    }


def score_teacher(
    features: Features, logits: SpanLogits[np.ndarray], records: list[Question], settings: Evaluate, path: Path
) -> dict[str, float]:
    """Return the scores of a model's logits, and write those of each question to `path`."""
    scores, answers = metrics.scores(features, records, logits, settings.max_answer_length, settings.metric)
    table = question_scores(features, records, answers, metric=settings.metric)
    write_question_scores(table, path)
    return with_errors(scores, table)


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("logits", __doc__))

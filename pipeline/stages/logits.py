"""logits: each of data/teacher over its data/features -> data/logits, and the teachers' scores read back from there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout
from tqdm import tqdm

from pipeline import paths
from pipeline.errors import InputError, run
from pipeline.logits import store as logit_store
from pipeline.logits import teaching
from pipeline.logits.store import Identity, RowCache, Rows, chunks, unique_keys, write_store
from pipeline.models import encoders, inference
from pipeline.models.encoders import PreTrainedModel
from pipeline.params import Logits, load
from pipeline.processes import processes
from pipeline.questions import tokenization
from pipeline.questions.features import Features, read_features
from pipeline.questions.records import read_records
from pipeline.scores import metrics

Records = dict[str, list[dict[str, Any]]]
# indices of windows, and what they point into
Shard = tuple[Features, np.ndarray, list[dict[str, Any]]]


def main() -> None:
    params = load(paths.PARAMS)
    records = {split: read_records(paths.DATASET / f"{split}.parquet") for split in ("train", "validation")}
    teachers = sorted(params.teacher.models)
    if processes().is_main_process:
        keep_pulled(paths.LOGITS)
    for name in teachers:
        fill(name, records, params.logits)
    if processes().is_main_process:
        paths.keep_only(paths.LOGITS, teachers)
        scores = teachers_scores(teachers, records["validation"], params.evaluate.max_answer_length)
        metrics.write_json(scores, paths.TEACHER_METRICS)


def keep_pulled(folder: Path) -> None:
    """Keep the rows that are in data/logits, as `dvc pull` brings them, whatever teachers they are of."""
    for store in logit_store.stores(folder):
        try:
            identity = logit_store.read_description(store).identity
        except InputError:
            continue
        folder_of_rows = kept_logits() / identity.name
        if all((folder_of_rows / path.name).exists() for path in logit_store.shard_files(store)):
            continue
        with held(identity):
            RowCache(kept_logits(), identity).adopt(store)


def kept_logits() -> Path:
    """The folder of all teachers' kept rows."""
    folder = paths.cache() / "logits"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def held(identity: Identity) -> Iterator[None]:
    """While this run alone adds to a teacher's kept rows; another waits, and then reads what this one computed."""
    lock = logit_store.lock(kept_logits() / identity.name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another run is computing this teacher's logits; waiting for it", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def fill(name: str, records: Records, settings: Logits) -> None:
    """Bring a teacher's kept rows up to date with its windows, and write its store from them."""
    tokenizer = tokenization.load(paths.tokenizer(name))
    teacher = encoders.fingerprint(paths.TEACHER / name)
    identity = Identity(teacher, tokenization.fingerprint(tokenizer), settings.dtype)
    splits = {split: read_features(paths.features(name, split)) for split in records}
    state = processes()
    with held(identity) if state.is_main_process else nullcontext():
        with (
            state.main_process_first()
        ):  # whoever opens the cache first mends it, from data/logits where that has the rows
            cache = RowCache(kept_logits(), identity)
            if state.is_main_process:
                cache.adopt(paths.LOGITS / name)
        state.wait_for_everyone()  # all share out the same missing windows: nobody adds any while another still looks
        compute(name, cache, splits, records, tokenizer.pad_token_id, settings.shard_size)
        state.wait_for_everyone()
        if state.is_main_process:
            if state.num_processes > 1:
                cache = RowCache(kept_logits(), identity)
            keys = {split: list(unique_keys(features)) for split, features in splits.items()}
            write_store(paths.fresh(paths.LOGITS / name), cache, keys, settings.shard_size)


def compute(
    name: str, cache: RowCache, splits: dict[str, Features], records: Records, pad_token_id: int, size: int
) -> None:
    """Add every window that the cache does not hold, a shard at a time; the run's processes take turns at shards."""
    to_do: list[Shard] = []
    known: set[bytes] = set()
    for split, features in splits.items():
        keys = unique_keys(features)
        missing = [i for key, i in keys.items() if key not in cache and key not in known]
        to_do += [(features, np.array(chunk), records[split]) for chunk in chunks(missing, size)]
        known.update(keys)
    new = sum(len(indices) for _, indices, _ in to_do)
    kept, before = len(known) - new, len(cache)
    state = processes()
    if state.is_main_process:
        print(f"{name}: {len(known)} different windows: {kept} from the cache, {new} to compute", flush=True)
    mine = to_do[state.process_index :: state.num_processes]
    if not mine:
        return
    with tqdm(
        total=kept + sum(len(indices) for _, indices, _ in mine),
        initial=kept,
        unit="window",
        desc=f"{name}, {kept} from the cache"
        + (f", first of {state.num_processes}" if state.num_processes > 1 else ""),
        disable=not state.is_main_process,
    ) as progress:
        try:
            teacher = ready(paths.TEACHER / name)
            for features in splits.values():
                encoders.refuse_unreadable(teacher, features)
            padding = add_shards(cache, teacher, mine, pad_token_id, progress)
        except KeyboardInterrupt:
            done = f"{kept + len(cache) - before} of {len(known)} windows are kept, the shard in progress is dropped"
            raise KeyboardInterrupt(done) from None
    if state.is_main_process:
        print(f"{name}: {100 * padding:.1f} % of the tokens computed were padding")


def ready(folder: Path) -> PreTrainedModel:
    """A teacher on its device, in the precision that it is to compute in."""
    teacher = encoders.load_qa_model(folder)
    if inference.teacher_precision() == "bfloat16":
        encoders.bfloat16_encoder(teacher)
    return teacher.to(inference.device())


def add_shards(
    cache: RowCache, teacher: PreTrainedModel, shards: list[Shard], pad_token_id: int, progress: tqdm
) -> float:
    """Compute shards and add them to the cache; returns the share of padding among the tokens, from 0 to 1."""
    with_padding = 0

    def advance(windows: int, tokens: int) -> None:
        nonlocal with_padding
        with_padding += tokens
        progress.update(windows)

    def computed() -> Iterator[Rows]:
        for features, indices, records in shards:
            rows = teacher_rows(teacher, features, indices, pad_token_id, cache.identity.dtype, advance)
            refuse_not_finite(rows, [records[i]["id"] for i in features.record[indices]])
            yield rows

    cache.add_all(computed())
    return 1 - sum(int(features.lengths[indices].sum()) for features, indices, _ in shards) / with_padding


def teacher_rows(
    teacher: PreTrainedModel,
    features: Features,
    indices: np.ndarray,
    pad_token_id: int,
    dtype: str,
    progress: Callable[[int, int], None] = lambda windows, tokens: None,
) -> Rows:
    """The teacher's logits for the windows at `indices`."""
    logits = inference.predict(teacher, features, pad_token_id, indices, progress)
    return as_rows(features, indices, logits, dtype, str(teacher.dtype).removeprefix("torch."))


def as_rows(features: Features, indices: np.ndarray, logits: metrics.Logits, dtype: str, precision: str) -> Rows:
    """What a model said of the windows at `indices`, laid end to end, as it is kept."""
    with np.errstate(over="ignore"):  # what is too large for the dtype is refused by its question
        start_logits, end_logits = (end.astype(dtype) for end in logits)
    return Rows(
        keys=features.keys[indices],
        starts=np.concatenate([[0], np.cumsum(features.lengths[indices])]),
        start_logits=start_logits,
        end_logits=end_logits,
        precision=(precision,),
    )


def refuse_not_finite(rows: Rows, questions: list[str]) -> None:
    finite = np.isfinite(rows.start_logits) & np.isfinite(rows.end_logits)
    if not finite.all():
        row = np.searchsorted(rows.starts, np.flatnonzero(~finite)[0], side="right") - 1
        raise InputError(
            f"the teacher's logits for question {questions[row]} are not finite as {rows.start_logits.dtype}; "
            "try logits.dtype float32, or another teacher"
        )


def teachers_scores(names: list[str], records: list[dict[str, Any]], longest: int) -> dict[str, dict[str, float]]:
    """The scores of each teacher over its own windows, by name; and of the `mean` of several over the student's."""

    def scores(features: Features, logits: metrics.Logits) -> dict[str, float]:
        return metrics.scores(features, records, logits, longest)[0]

    readings = [teaching.read(*paths.reading(name, "validation"), records) for name in names]
    found = {name: scores(*reading) for name, reading in zip(names, readings, strict=True)}
    if len(names) > 1:
        students = read_features(paths.features(paths.STUDENTS, "validation"))
        found["mean"] = scores(students, teaching.targets(readings, students))
    return found


if __name__ == "__main__":
    run(main)

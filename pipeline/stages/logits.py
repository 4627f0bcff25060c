"""logits: data/teacher over data/features -> data/logits, and the teacher's scores read back from there."""

from contextlib import nullcontext

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from pipeline import encoders, feature_store, inference, metrics, paths, tokenization
from pipeline.errors import InputError, run
from pipeline.feature_store import Features
from pipeline.logit_store import Identity, LogitStore, RowCache, Rows, chunks, unique_keys, write_store
from pipeline.params import load
from pipeline.processes import processes
from pipeline.records import read_records


def main() -> None:
    params = load(paths.PARAMS)
    tokenizer = tokenization.load(paths.TOKENIZER)
    identity = Identity(encoders.fingerprint(paths.TEACHER), tokenization.fingerprint(tokenizer), params.logits.dtype)
    splits = {split: feature_store.read(paths.FEATURES / f"{split}.safetensors") for split in ("train", "validation")}
    records = {split: read_records(paths.DATASET / f"{split}.parquet") for split in splits}

    folder = paths.cache() / "logits"
    folder.mkdir(parents=True, exist_ok=True)
    state = processes()
    lock = FileLock(folder / f"{identity.name}.lock") if state.is_main_process else nullcontext()
    with lock:  # a second run waits, and then reads what the first computed
        with state.main_process_first():  # whoever opens the cache first mends it
            cache = RowCache(folder, identity)
        state.wait_for_everyone()  # all share out the same missing windows: nobody adds any while another still looks
        compute(cache, splits, records, tokenizer.pad_token_id, params.logits.shard_size)
        state.wait_for_everyone()
        if not state.is_main_process:
            return
        if state.num_processes > 1:
            cache = RowCache(folder, identity)
        keys = {split: list(unique_keys(features)) for split, features in splits.items()}
        write_store(paths.fresh(paths.LOGITS), cache, keys, params.logits.shard_size)

    store = LogitStore(paths.LOGITS, identity.tokenizer)
    validation, questions = splits["validation"], records["validation"]
    names = [questions[i]["id"] for i in validation.record]
    logits = store.aligned(validation, names)
    scores, _ = metrics.scores(validation, questions, logits, params.evaluate.max_answer_length)
    metrics.write_json(scores, paths.TEACHER_METRICS)


def compute(
    cache: RowCache, splits: dict[str, Features], records: dict[str, list], pad_token_id: int, size: int
) -> None:
    """Add every window that the cache does not hold, a shard at a time; the run's processes take turns at shards."""
    missing: dict[str, list[int]] = {}
    known: set[bytes] = set()
    for split, features in splits.items():
        keys = unique_keys(features)
        missing[split] = [i for key, i in keys.items() if key not in cache and key not in known]
        known.update(keys)
    to_do = sum(map(len, missing.values()))
    state = processes()
    if state.is_main_process:
        print(f"{len(known)} different windows: {len(known) - to_do} from the cache, {to_do} to compute", flush=True)
    if not to_do:
        return
    teacher = encoders.load_qa_model(paths.TEACHER).to(state.device)
    shards = [(split, chunk) for split, indices in missing.items() for chunk in chunks(indices, size)]
    mine = shards[state.process_index :: state.num_processes]
    kept = 0
    try:
        with tqdm(
            total=sum(len(chunk) for _, chunk in mine), unit="window", desc="logits", disable=not state.is_main_process
        ) as progress:
            for split, chunk in mine:
                rows = teacher_rows(
                    teacher, splits[split], np.array(chunk), pad_token_id, cache.identity, progress.update
                )
                refuse_not_finite(rows, [records[split][splits[split].record[i]]["id"] for i in chunk])
                cache.add(rows)
                kept += len(chunk)
    except KeyboardInterrupt:
        done = len(known) - to_do + kept
        raise KeyboardInterrupt(f"{done} of {len(known)} windows are kept, the shard in progress is dropped") from None


def teacher_rows(
    teacher, features: Features, indices: np.ndarray, pad_token_id: int, identity: Identity, progress
) -> Rows:
    """The teacher's logits for the windows at `indices`."""
    start_logits, end_logits = inference.predict(teacher, features, pad_token_id, indices, progress)
    return Rows(
        keys=features.keys[indices],
        starts=np.concatenate([[0], np.cumsum(features.lengths[indices])]),
        start_logits=start_logits.astype(identity.dtype),
        end_logits=end_logits.astype(identity.dtype),
    )


def refuse_not_finite(rows: Rows, questions: list[str]) -> None:
    finite = np.isfinite(rows.start_logits) & np.isfinite(rows.end_logits)
    if not finite.all():
        row = np.searchsorted(rows.starts, np.flatnonzero(~finite)[0], side="right") - 1
        raise InputError(
            f"the teacher's logits for question {questions[row]} are not finite as {rows.start_logits.dtype}; "
            "try logits.dtype float32, or another teacher"
        )


if __name__ == "__main__":
    run(main)

"""Logits on disk: our ragged shards against a pickle of nested lists and against padded safetensors. See README.md."""

import argparse
import json
import pickle
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks import common
from pipeline.logits.cache import RowCache
from pipeline.logits.shards import Identity, Rows
from pipeline.logits.store import LogitStore, write_store
from pipeline.models.batching import cut
from pipeline.questions.features import Features, write_features

SHARD_SIZE = 4096
NOTEBOOK_BATCH = 4
IDENTITY = Identity("benchmark", "benchmark", "float16")
COLUMNS = {
    "bytes_per_window": ("bytes per window", 0),
    "write_seconds": ("write, s", 3),
    "seconds": ("load, s", 4),
    "rss_growth_mb": ("memory to load, MB", 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--windows", type=int, default=6000)
    parser.add_argument("--max-length", type=int, default=384)
    parser.add_argument("--mean-length", type=int, default=175, help="mean tokens of a window (default: 175)")
    parser.add_argument("--seed", type=int, default=0)
    common.peer_options(parser, PEERS)
    common.run_benchmark(parser.parse_args(), PEERS, prepare, COLUMNS)


def prepare(args: argparse.Namespace, folder: Path) -> dict:
    """Write to `folder` windows of gamma-distributed lengths, without real tokens, and every store; time the writes."""
    rng = np.random.default_rng(args.seed)
    lengths = rng.gamma(8, args.mean_length / 8, args.windows).astype(np.int64).clip(8, args.max_length)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    flat = {"input_ids": np.int32, "token_type_ids": np.uint8, "offset_mapping": np.int32}
    shapes = {"input_ids": starts[-1], "token_type_ids": starts[-1], "offset_mapping": (starts[-1], 2)}
    features = Features(
        starts=starts,
        **{name: np.zeros(shapes[name], dtype) for name, dtype in flat.items()},
        context=np.zeros((args.windows, 2), np.int32),
        labels=np.zeros((args.windows, 2), np.int32),
        record=np.arange(args.windows, dtype=np.int32),
        keys=rng.integers(0, 256, (args.windows, 16), dtype=np.uint8),
    )
    write_features(features, folder / "train.safetensors")
    start_logits, end_logits = rng.standard_normal((2, starts[-1]), dtype=np.float32) * 4
    report = {}
    for peer in args.peers.split(","):
        if peer in WRITERS:
            out = folder / f"{peer}-store"
            out.mkdir()
            began = time.perf_counter()
            WRITERS[peer](features, start_logits, end_logits, args.max_length, out)
            report[peer] = {"write_seconds": time.perf_counter() - began, "bytes": size_of(out)}
    (folder / "written.json").write_text(json.dumps(report), encoding="utf-8")
    return {"windows": args.windows, "mean_tokens": float(lengths.mean()), "max_length": args.max_length}


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def padded_rows(features: Features, flat: np.ndarray, max_length: int, dtype: str) -> np.ndarray:
    """(N, max_length), with zeros after each window's tokens."""
    rows = np.zeros((len(features), max_length), dtype)
    rows[np.arange(max_length) < features.lengths[:, None]] = flat
    return rows


def write_pickle(features: Features, start_logits, end_logits, max_length: int, out: Path) -> None:
    ends = [padded_rows(features, flat, max_length, "float32") for flat in (start_logits, end_logits)]
    batches = [[rows.tolist() for rows in cut(end, NOTEBOOK_BATCH)] for end in ends]
    with open(out / "logits.pkl", "wb") as file:
        pickle.dump(batches, file)


def write_padded(features: Features, start_logits, end_logits, max_length: int, out: Path) -> None:
    ends = {"start_logits": start_logits, "end_logits": end_logits}
    rows = {name: padded_rows(features, flat, max_length, "float16") for name, flat in ends.items()}
    save_file(rows, out / "logits.safetensors")


def write_ours(features: Features, start_logits, end_logits, max_length: int, out: Path) -> None:
    """Write like the logits stage: shards to the cache, then the store from the cache; both are flushed to disk."""
    cache = RowCache(out.with_name("cache"), IDENTITY)
    for chunk in cut(np.arange(len(features)), SHARD_SIZE):
        tokens = slice(features.starts[chunk[0]], features.starts[chunk[-1] + 1])
        cache.add(
            Rows(
                keys=features.keys[chunk],
                starts=features.starts[chunk[0] : chunk[-1] + 2] - tokens.start,
                start_logits=start_logits[tokens].astype("float16"),
                end_logits=end_logits[tokens].astype("float16"),
                precision=("float32",),
            )
        )
    write_store(out, IDENTITY, cache.rows, {"train": cut(features.keys, SHARD_SIZE)})


WRITERS = {"ours": write_ours, "padded": write_padded, "pickle": write_pickle}


def load_pickle(folder: Path, features: Features) -> object:
    with open(folder / "logits.pkl", "rb") as file:
        return pickle.load(file)


def load_padded(folder: Path, features: Features) -> object:
    return load_file(folder / "logits.safetensors")


def load_ours(folder: Path, features: Features) -> object:
    """Load and verify every row, and index the rows by key."""
    return LogitStore(folder, IDENTITY.tokenizer)


def load_aligned(folder: Path, features: Features) -> object:
    """Load what training reads: an array of start and one of end logits, in the order of the features' tokens."""
    return LogitStore(folder, IDENTITY.tokenizer).aligned(features, str)


def loader(store: str, load):
    """A peer that loads `store` once, in a new process."""

    def run(args: argparse.Namespace, folder: Path) -> dict:
        features = common.split_features(folder, "train")
        written = json.loads((folder / "written.json").read_text(encoding="utf-8"))[store]
        result = {"bytes_per_window": written["bytes"] / args.windows, "write_seconds": written["write_seconds"]}
        with common.measured(result):
            began = time.perf_counter()
            loaded = load(folder / f"{store}-store", features)
            seconds = time.perf_counter() - began
        del loaded
        return {"seconds": seconds, **result}

    return run


PEERS = {
    "ours": loader("ours", load_ours),
    "ours-aligned": loader("ours", load_aligned),
    "padded": loader("padded", load_padded),
    "pickle": loader("pickle", load_pickle),
}

if __name__ == "__main__":
    main()

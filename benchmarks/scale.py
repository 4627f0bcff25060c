"""Time and memory that grow with the number of windows, for docs/scale.md: tokenizing, and opening the cache."""

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from benchmarks import common
from pipeline.logits.cache import RowCache
from pipeline.logits.shards import Identity, Rows
from pipeline.models.batching import cut

SHARD_SIZE = 4096
IDENTITY = Identity("benchmark", "benchmark", "float16")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    common.model_options(parser)
    parser.add_argument("--squad", type=Path, help="SQuAD JSON (default: ../shared/squad if it exists)")
    parser.add_argument("--copies", type=int, default=4, help="copies of the questions (default: 4)")
    parser.add_argument("--rows", type=int, default=100000, help="rows of the cache (default: 100,000)")
    args = parser.parse_args()
    source, records = common.questions(args.squad, "train", None)
    tokenizer = common.tokenizer_of(args, records)
    common.features_of(records[:1000], tokenizer, args.max_length)  # one-time work of the tokenizer
    features, seconds, memory = watched(lambda: common.features_of(records * args.copies, tokenizer, args.max_length))
    figures = {
        "questions": source,
        "windows": len(features),
        "windows/s": len(features) / seconds,
        "bytes per window at the peak": memory / len(features),
        "bytes per window at the end": sum(array.nbytes for array in vars(features).values()) / len(features),
    }
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), args.rows)
        _, seconds, memory = watched(lambda: RowCache(Path(folder), IDENTITY))
    figures |= {
        "rows": args.rows,
        "microseconds per row to open the cache": seconds / args.rows * 1e6,
        "bytes per row of the open cache": memory / args.rows,
    }
    print(json.dumps({"machine": common.machine(), **common.rounded(figures)}, indent=2))


def watched(work: Callable) -> tuple:
    """Run `work`; returns its result, its seconds, and the peak growth of this process's memory in bytes."""
    process, done, samples = psutil.Process(), threading.Event(), []

    def sample() -> None:
        while not done.wait(common.SAMPLE_SECONDS):
            samples.append(process.memory_info().rss)

    before, began = process.memory_info().rss, time.perf_counter()
    thread = threading.Thread(target=sample)
    thread.start()
    try:
        result = work()
        seconds = time.perf_counter() - began
    finally:
        done.set()
        thread.join()
    return result, seconds, max([process.memory_info().rss, *samples]) - before


def fill(folder: Path, n: int, length: int = 170) -> None:
    """Write n rows of random logits, of `length` tokens each, to a cache."""
    rng, cache = np.random.default_rng(0), RowCache(folder, IDENTITY)
    for chunk in cut(np.arange(n), SHARD_SIZE):
        start_logits, end_logits = rng.standard_normal((2, len(chunk) * length), dtype=np.float32).astype(np.float16)
        keys = rng.integers(0, 256, (len(chunk), 16), dtype=np.uint8)
        starts = np.arange(len(chunk) + 1, dtype=np.int64) * length
        cache.add(Rows(keys, starts, start_logits, end_logits, precision=("float32",)))


if __name__ == "__main__":
    main()

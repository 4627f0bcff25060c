"""Time and memory of the stages on many synthetic questions, each stage in its own process, for docs/scale.md.

The windows are made with a vocabulary of MiniLM's size; the teacher and the student are tiny. Memory is the sum over
all processes of a stage, from /proc/PID/smaps_rollup, where pages that processes share count once: anonymous memory,
which the stage needs, and mapped files, which the system takes back when others need memory. A folder that is kept can
be measured stage by stage.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import psutil
import yaml

from benchmarks import common
from pipeline import paths
from pipeline.imports import ROOT
from pipeline.questions.features import map_features

# with arguments
STAGES = {
    "sources": [],
    "dataset": [],
    "tokenize": [],
    "teacher": ["large"],
    "logits": [],
    "backbone": [],
    "shrink": [],
    "train": [],
    "evaluate": [],
}
SAMPLE_SECONDS = 0.02
FIELDS = {"Pss_Anon": "anonymous_mb", "Pss_File": "file_mb"}
COLUMNS = {
    "windows": ("windows", 0),
    "seconds": ("seconds", 1),
    "anonymous_mb": ("anonymous memory, MB", 0),
    "file_mb": ("mapped files, MB", 0),
    "bytes_per_window": ("growth, anonymous bytes a window", 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--questions", type=int, nargs="+", default=[10000], help="training questions (default: 10,000)"
    )
    parser.add_argument("--stages", default=",".join(STAGES), help="stages to run (default: all)")
    parser.add_argument("--folder", type=Path, help="keep the data there (default: a temporary folder)")
    parser.add_argument("--max-length", type=int, default=384, help="maximum tokens of a window; a third overlaps")
    args = parser.parse_args()
    chosen = args.stages.split(",")
    unknown = sorted(set(chosen) - set(STAGES))
    if unknown:
        sys.exit(f"error: unknown stage {', '.join(unknown)}; the stages are {', '.join(STAGES)}")
    found = {stage: [] for stage in chosen}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        for questions in args.questions:
            folder = (args.folder or Path(temporary)) / str(questions)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / paths.PARAMS).write_text(yaml.safe_dump(parameters(questions, args.max_length)))
            for stage in chosen:
                found[stage].append(measure(stage, questions, folder))
                print(f"{stage}, {questions:,}: {common.rounded(found[stage][-1])}", file=sys.stderr, flush=True)
    print(json.dumps({"machine": common.machine(), "load_average": load, "stages": common.rounded(found)}, indent=2))
    for stage, rows in found.items():
        for before, row in pairwise(rows):
            more = row["windows"] - before["windows"]
            row["bytes_per_window"] = (row["anonymous_mb"] - before["anonymous_mb"]) * common.MB / more
        print(f"\n{stage}\n\n{common.table(rows, COLUMNS)}")


def parameters(questions: int, max_length: int) -> dict:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    values = {
        "head": "linear",
        "seed": 0,
        "dataset": {"source": "synthetic", "train_size": questions, "validation_size": 1000},
        "tokenize": {"max_length": max_length, "stride": max_length // 3, "vocab_size": common.VOCABULARY},
        "teacher": {
            "models": {"large": {"model": "new", "revision": None}},
            "config": {**sizes, "max_position_embeddings": max_length},
            "train": {"epochs": 1, "max_steps": 10, "batch_size": 16, "learning_rate": 1e-3, "keep": "last"},
        },
        "logits": {"dtype": "float16", "shard_size": 4096},
        "backbone": {"model": "large", "revision": None, "layers": None},
        "distill": {"alpha": 1.0, "temperature": 2.0},
        "prune": {"amount": 0.0},
        "train": {"epochs": 1, "batch_size": 64, "learning_rate": 1e-3},
        "evaluate": {"n_best": 1, "max_answer_length": 30, "metric": "squad"},
    }
    return values


def measure(stage: str, questions: int, folder: Path) -> dict:
    """Run a stage in a folder; its seconds, and the peaks of its memory in MB."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), paths.CACHE_VARIABLE: str(folder.absolute() / "cache")}
    command = [sys.executable, "-m", f"pipeline.stages.{stage}", *STAGES[stage]]
    began, peaks = time.monotonic(), dict.fromkeys(FIELDS.values(), 0.0)
    child = subprocess.Popen(command, cwd=folder, env=environment, stdout=sys.stderr)
    while child.poll() is None:
        for name, value in memory(child.pid).items():
            peaks[name] = max(peaks[name], value)
        time.sleep(SAMPLE_SECONDS)
    if child.returncode:
        sys.exit(f"{stage} failed")
    windows = folder / paths.features(paths.STUDENT_NAME, "train")
    count = len(map_features(windows)) if windows.exists() else questions
    return {"peer": f"{questions:,}", "windows": count, "seconds": time.monotonic() - began, **peaks}


def memory(pid: int) -> dict[str, float]:
    """The memory of a process and its children, in MB."""
    total = dict.fromkeys(FIELDS.values(), 0.0)
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return total
    for process in (pid, *(child.pid for child in children)):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:  # it has ended
            continue
        for name, value in (line.split(":", 1) for line in lines):
            if name in FIELDS:
                total[FIELDS[name]] += int(value.split()[0]) * 1024 / common.MB
    return total


if __name__ == "__main__":
    main()

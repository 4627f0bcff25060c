"""Training beside busy processes: windows/s of each way to use threads, in turn, on the same machine.

    python -m benchmarks.contention --busy 0 2              # the default's teacher
    python -m benchmarks.contention --shape minilm --length 180 --steps 10
    python -m benchmarks.contention --shape bert-large --length 180 --steps 2 --busy 0 2

Each cell is a process of its own. `1 thread` and the threads of the next two columns share each operation: `active`
threads spin while they wait (the default of OpenMP), `passive` threads sleep (OMP_WAIT_POLICY=PASSIVE, which stages
set). `chosen` is what stages take: threads that each compute a part of a step. Busy processes are empty loops.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import time

import numpy as np
import tabulate

from benchmarks.busy import busy_processes

POLICY = "OMP_WAIT_POLICY"
CELLS = {"1 thread": (1, "ACTIVE"), "2 active": (2, "ACTIVE"), "2 passive": (2, "PASSIVE"), "chosen": (None, None)}
DEFAULT = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
SHAPES = {"default": (DEFAULT, 32), "minilm": (MINILM, 16), "bert-large": (LARGE, 8)}  # with the windows of a step


def main(args: argparse.Namespace) -> None:
    rows = []
    for busy in args.busy:
        row = {"busy processes": busy}
        for name, (threads, policy) in CELLS.items():
            with busy_processes(busy):
                row[name] = measure(args, threads, policy)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    print(tabulate.tabulate(rows, headers="keys", tablefmt="github", floatfmt=".1f"))


def measure(args: argparse.Namespace, threads: int | None, policy: str | None) -> float:
    """Windows/s of a training in a new process; None for what the stages choose."""
    command = [sys.executable, "-m", "benchmarks.contention", "--child", *sys.argv[1:]]
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", POLICY)}
    if threads and policy:
        environment |= {"OMP_NUM_THREADS": str(threads), POLICY: policy}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


def child(args: argparse.Namespace) -> None:
    """Print the windows/s of a training on random windows, in the second of two epochs."""
    chosen = POLICY not in os.environ
    importlib.import_module("pipeline.stages")  # sets the policy, before torch is imported
    import torch

    from pipeline.models import hardware
    from pipeline.models.encoders import new_qa_model
    from pipeline.params import Train
    from pipeline.questions.features import Features
    from pipeline.training.loop import Trainer
    from pipeline.training.losses import span_cross_entropy

    config, batch_size = SHAPES[args.shape]
    count, rng = batch_size * args.steps, np.random.default_rng(0)
    lengths = rng.integers(args.length // 2, args.length + 1, count)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    features = Features(
        starts=starts,
        input_ids=rng.integers(5, 3000, starts[-1]).astype(np.int32),
        token_type_ids=np.zeros(starts[-1], np.uint8),
        offset_mapping=np.zeros((starts[-1], 2), np.int32),
        context=np.stack([np.full(count, 9), lengths - 1], axis=1).astype(np.int32),
        labels=np.full((count, 2), 10, np.int32),
        record=np.arange(count, dtype=np.int32),
        keys=np.zeros((count, 16), np.uint8),
    )
    sizes = {**config, "max_position_embeddings": 512, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    settings = Train(epochs=2, batch_size=batch_size, learning_rate=1e-4, keep="last", warmup_ratio=0.0)
    if not chosen:
        hardware.training_threads = lambda model: torch.get_num_threads()
        hardware.training_workers = lambda model: (1, torch.get_num_threads())
        settings = settings.model_copy(update={"micro_batch_size": batch_size})  # one part
    ends: list[float] = []
    Trainer(
        new_qa_model(sizes, vocab_size=3000, seed=0),
        features,
        0,
        settings,
        0,
        loss=lambda logits, batch: {"loss": span_cross_entropy(logits, batch.labels, batch.answer_mask).mean()},
        after_step=lambda: ends.append(time.perf_counter()),
    ).train()
    print(count / (ends[-1] - ends[args.steps - 1]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contention", description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="default")
    parser.add_argument("--length", type=int, default=50, help="most tokens of a window (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="of each of two epochs; the second is measured")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2, 6], help="busy processes (default: 0 2 6)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    (child if arguments.child else main)(arguments)

"""Shared by the benchmarks: models and questions, a separate process for each peer, memory sampling, the report."""

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import PreTrainedModel

from benchmarks.busy import busy_processes
from pipeline.models import encoders
from pipeline.models.hardware import device
from pipeline.questions import squad, synthetic, tokenization
from pipeline.questions.checks import checked
from pipeline.questions.features import Features, read_features
from pipeline.questions.windows import pack, windows

VOCABULARY = 30522
SHAPES = {
    "bert-large": (1024, 24, 16, 4096),
    "minilm": (384, 6, 12, 1536),
    "tiny": (64, 2, 4, 128),
}
SQUAD = {split: Path(f"../shared/squad/{split}.json") for split in ("train", "validation")}
# interval between memory samples; longer in a process that has run for more than 10 s
SAMPLE_SECONDS = 0.002
SAMPLE_SHARE = 1 / 5000
MB = 1e6
WITHOUT_RATIO = {"windows", "questions", "exact_match", "f1"}


def model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that select the model and the windows."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", help="model folder; a missing output layer gets random weights")
    model.add_argument("--shape", choices=SHAPES, default="tiny", help="random weights in this shape (default: tiny)")
    parser.add_argument("--max-length", type=int, default=384, help="maximum tokens of a window; a third overlaps")


def peer_options(parser: argparse.ArgumentParser, peers: dict[str, Callable]) -> None:
    """Add the options that select the peers and rounds; `--child` starts the process of one peer."""
    parser.add_argument("--peers", default=",".join(peers), help="peers to run (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=1, help="how often to run all peers in turn; the fastest run counts"
    )
    parser.add_argument("--busy", type=int, default=0, help="empty loops in other processes beside the peers")
    parser.add_argument("--child", nargs=2, metavar=("PEER", "FOLDER"), help=argparse.SUPPRESS)


def model_of(args: argparse.Namespace) -> PreTrainedModel:
    """The question-answering model that the options select, in float32, on the device."""
    if args.model:
        model = encoders.load_qa_model(args.model, trained_output=False)
    else:
        sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        config = dict(zip(sizes, SHAPES[args.shape], strict=True))
        model = encoders.new_qa_model({**config, "max_position_embeddings": 512}, VOCABULARY, seed=0)
    return model.to(device())


def questions(file: Path | None, split: str, size: int | None) -> tuple[str, list[Any]]:
    """The source of the questions, and `size` of them (None: all), sampled from the whole file in a fixed order.

    Without `file`: the real questions in ../shared if they exist, else 1,000 of the synthetic corpus.
    """
    file = file or (SQUAD[split] if SQUAD[split].exists() else None)
    if file is None:
        return "synthetic corpus", list(synthetic.corpus(split, size or 1000, seed=0))
    records = list(checked(squad.read_json(file), file.name).records)
    random.Random(0).shuffle(records)
    return file.name, records[:size]


def tokenizer_of(args: argparse.Namespace, records: list[dict]) -> tokenization.PreTrainedTokenizerFast:
    """The model's own tokenizer; for random weights, one trained on the questions."""
    if args.model:
        return tokenization.load(args.model)
    return tokenization.train((text for r in records for text in (r["context"], r["question"])), VOCABULARY)


def features_of(records: list[dict], tokenizer, max_length: int) -> Features:
    """The windows of the records; they overlap by a third of `max_length`, 128 of 384 as in transformers' example."""
    return pack(windows(records, tokenizer, max_length, max_length // 3))


def padded(features: Features, indices, max_length: int, labels: bool = False) -> dict[str, list]:
    """The windows as columns of lists, padded to `max_length`, as in transformers' example."""
    columns = {"input_ids": [], "token_type_ids": [], "attention_mask": []}
    for i in indices:
        tokens, ids = features.tokens(i), features.input_ids[features.tokens(i)].tolist()
        rest = [0] * (max_length - len(ids))
        columns["input_ids"].append(ids + rest)
        columns["token_type_ids"].append(features.token_type_ids[tokens].tolist() + rest)
        columns["attention_mask"].append([1] * len(ids) + rest)
    if labels:
        for i, name in enumerate(("start_positions", "end_positions")):
            columns[name] = features.labels[indices, i].tolist()
    return columns


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def measured(result: dict):
    """Add to `result` the start and end time of the block and the memory before and after it, for `run_peer`."""
    process = psutil.Process()
    synchronize()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        allocated = torch.cuda.memory_allocated()
    result |= {"rss_before": process.memory_info().rss, "began": time.monotonic()}
    yield
    synchronize()
    result |= {"ended": time.monotonic(), "rss_after": process.memory_info().rss}
    if torch.cuda.is_available():
        result["cuda_growth_mb"] = (torch.cuda.max_memory_allocated() - allocated) / MB


def run_peer(peer: str, folder: Path) -> dict:
    """Run this command for one peer in a separate process, and sample the resident memory of that process.

    Adds `rss_growth_mb`: peak memory in the measured block minus the memory before it.
    """
    print(f"{peer} ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
    child = subprocess.Popen([*command, "--child", peer, str(folder)], stdout=sys.stderr)
    process, samples, began = psutil.Process(child.pid), [], time.monotonic()
    while child.poll() is None:
        try:
            samples.append((time.monotonic(), process.memory_info().rss))
        except psutil.Error:
            break
        time.sleep(max(SAMPLE_SECONDS, SAMPLE_SHARE * (time.monotonic() - began)))
    if child.wait():
        sys.exit(f"{peer} failed")
    result = json.loads((folder / f"{peer}.json").read_text(encoding="utf-8"))
    before, began, ended, after = (result.pop(key) for key in ("rss_before", "began", "ended", "rss_after"))
    peak = max([after, *(rss for when, rss in samples if began <= when <= ended)])
    return {"peer": peer, **result, "rss_growth_mb": (peak - before) / MB}


def run_peers(args: argparse.Namespace, folder: Path, known: dict[str, Callable]) -> list[dict]:
    """Run all peers in turn, `rounds` times; returns the fastest run of each, with the seconds of all its runs."""
    chosen = args.peers.split(",")
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        sys.exit(f"error: unknown peer {', '.join(unknown)}; the peers are {', '.join(known)}")
    runs = {peer: [] for peer in chosen}
    for _ in range(args.rounds):
        for peer in chosen:
            runs[peer].append(run_peer(peer, folder))
    fastest = [min(results, key=lambda result: result["seconds"]) for results in runs.values()]
    return [{**best, "seconds_of_all": [result["seconds"] for result in runs[best["peer"]]]} for best in fastest]


def run_benchmark(
    args: argparse.Namespace,
    peers: dict[str, Callable],
    prepare: Callable[[argparse.Namespace, Path], dict],
    columns: dict[str, tuple[str, int]],
) -> None:
    """Prepare a temporary folder, run the peers and print the report; in a child process, measure one peer.

    Args:
        peers: by name, (options, folder) -> result with `seconds`.
        prepare: (options, folder) -> description of the input for the report.
        columns: columns of the table: key of the results -> heading and number of decimals.
    """
    if args.child:
        peer, folder = args.child[0], Path(args.child[1])
        (folder / f"{peer}.json").write_text(json.dumps(peers[peer](args, folder)), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as name:
        about = prepare(args, Path(name))
        with busy_processes(args.busy):
            results = run_peers(args, Path(name), peers)
    print(json.dumps({"machine": machine(), **about, "results": rounded(results)}, indent=2), end="\n\n")
    print(table(results, columns))


def machine() -> dict:
    """Hardware and versions that the figures depend on."""
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "numpy")},
    }


def describe(args: argparse.Namespace, source: str, features: Features) -> dict:
    """Description of the model, without its path, and of the windows."""
    return {
        "model": Path(args.model).name if args.model else f"{args.shape}, random weights",
        "questions": source,
        "windows_in_all": len(features),
        "mean_tokens": float(features.lengths.mean()),
        "max_length": args.max_length,
    }


def rounded(value):
    """Round all floats in a JSON value to four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def table(rows: list[dict], columns: dict[str, tuple[str, int]]) -> str:
    """A Markdown table; the ratio to the first row follows each figure."""
    lines = ["| peer | " + " | ".join(heading for heading, _ in columns.values()) + " |"]
    lines.append("|---|" + "---|" * len(columns))
    for row in rows:
        cells = []
        for key, (_, decimals) in columns.items():
            value, first = row.get(key), rows[0].get(key)
            compared = row is not rows[0] and key not in WITHOUT_RATIO and value and first
            ratio = f" ({value / first:.2f}x)" if compared else ""
            cells.append("" if value is None else f"{value:,.{decimals}f}{ratio}")
        lines.append(f"| {row['peer']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def split_features(folder: Path, split: str) -> Features:
    return read_features(folder / f"{split}.safetensors")

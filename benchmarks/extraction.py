"""Computing a teacher's logits: ours against Trainer.predict and against a notebook's code. See README.md."""

import argparse
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainingArguments

from benchmarks import common, packing
from pipeline.logits.cache import RowCache
from pipeline.logits.extraction import as_rows, teacher_rows
from pipeline.logits.shards import Identity, Rows
from pipeline.models import encoders
from pipeline.models.batching import cut
from pipeline.models.cpu import linear_mode
from pipeline.models.hardware import batch_tokens, device
from pipeline.questions.features import Features, write_features

SHARD_SIZE = 4096
STORED_DTYPE = "float16"
NOTEBOOK_BATCH = 4
COLUMNS = {
    "windows": ("windows", 0),
    "windows_per_second": ("windows/s", 2),
    "rss_growth_mb": ("memory, MB", 0),
    "cuda_growth_mb": ("GPU memory, MB", 0),
    "bytes_per_window": ("bytes per window", 0),
    "useful_gflops": ("useful GFLOP/s", 1),
    "matrix_share": ("share of a matrix product's", 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extraction", description=__doc__)
    common.model_options(parser)
    common.peer_options(parser, PEERS)
    parser.add_argument("--squad", type=Path, help="SQuAD JSON (default: ../shared/squad if it exists)")
    parser.add_argument("--windows", type=int, help="windows for ours, repeated if there are fewer (default: all)")
    parser.add_argument("--peer-windows", type=int, help="windows for the other peers (default: the same number)")
    parser.add_argument(
        "--trainer-batch", type=int, default=8, help="batch size of Trainer.predict (default: its own, 8)"
    )
    parser.add_argument("--warm-up", type=int, default=16, help="windows that run before the measurement (default: 16)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="precision of the encoder")
    common.run_benchmark(parser.parse_args(), PEERS, prepare, COLUMNS)


def prepare(args: argparse.Namespace, folder: Path) -> dict:
    source, records = common.questions(args.squad, "train", None)
    features = common.features_of(records, common.tokenizer_of(args, records), args.max_length)
    write_features(features, folder / "train.safetensors")
    return {**common.describe(args, source, features), "dtype": args.dtype}


def ours(args: argparse.Namespace, folder: Path) -> dict:
    def rows(model: PreTrainedModel, features: Features, indices: np.ndarray) -> Rows:
        return teacher_rows(model, features, indices, 0, STORED_DTYPE)

    return measure(args, folder, caching(rows), args.windows, convert=with_bfloat16_encoder)


def packed(args: argparse.Namespace, folder: Path) -> dict:
    def rows(model: PreTrainedModel, features: Features, indices: np.ndarray) -> Rows:
        threads = 1 if model.device.type == "cuda" else torch.get_num_threads()
        logits = packing.predict(model, features, indices, threads * batch_tokens(model))
        return as_rows(features, indices, logits, STORED_DTYPE, args.dtype)

    return measure(args, folder, caching(rows), args.windows, convert=with_bfloat16_encoder)


def caching(rows: Callable[[PreTrainedModel, Features, np.ndarray], Rows]) -> Callable[..., None]:
    """A function that computes rows shard by shard and writes them to a cache, as the logits stage does."""

    def run(model: PreTrainedModel, features: Features, indices: np.ndarray, out: Path) -> None:
        cache = RowCache(out, Identity("benchmark", "benchmark", STORED_DTYPE))
        cache.add_all(rows(model, features, chunk) for chunk in cut(indices, SHARD_SIZE))

    return run


def with_bfloat16_encoder(model: PreTrainedModel, dtype: str) -> PreTrainedModel:
    """The model as the logits stage runs it: only the encoder is converted, the output layer stays float32."""
    return encoders.bfloat16_encoder(model) if dtype == "bfloat16" else model


def trainer(args: argparse.Namespace, folder: Path) -> dict:
    data = {}

    def build(features: Features, indices: np.ndarray) -> None:
        data[len(indices)] = Dataset.from_dict(common.padded(features, indices, args.max_length))

    def run(model: PreTrainedModel, features: Features, indices: np.ndarray, out: Path) -> None:
        settings = TrainingArguments(
            output_dir=str(out),
            per_device_eval_batch_size=args.trainer_batch,
            bf16_full_eval=args.dtype == "bfloat16",
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            report_to="none",
            disable_tqdm=True,
        )
        start_logits, end_logits = Trainer(model=model, args=settings).predict(data[len(indices)]).predictions
        np.savez(out / "logits.npz", start_logits=start_logits, end_logits=end_logits)

    return measure(args, folder, run, args.peer_windows or args.windows, build)


def notebook(args: argparse.Namespace, folder: Path) -> dict:
    @torch.no_grad()
    def run(model: PreTrainedModel, features: Features, indices: np.ndarray, out: Path) -> None:
        model.eval()
        start_logits, end_logits = [], []
        for batch in cut(indices, NOTEBOOK_BATCH):
            inputs = common.padded(features, batch, args.max_length)
            output = model(**{name: torch.tensor(rows, device=model.device) for name, rows in inputs.items()})
            start_logits.append(output.start_logits.tolist())
            end_logits.append(output.end_logits.tolist())
        with open(out / "logits.pkl", "wb") as file:
            pickle.dump({"start_logits": start_logits, "end_logits": end_logits}, file)

    return measure(args, folder, run, args.peer_windows or args.windows)


PEERS = {"ours": ours, "packed": packed, "trainer": trainer, "notebook": notebook}


def converted(model: PreTrainedModel, dtype: str) -> PreTrainedModel:
    return model.to(getattr(torch, dtype))


def measure(
    args: argparse.Namespace, folder: Path, run, count: int | None, build=lambda *_: None, convert=converted
) -> dict:
    """Time `run` over `count` random windows, after a warm-up on a few; memory includes the warm-up."""
    features = common.split_features(folder, "train")
    order = np.random.default_rng(0).permutation(len(features))
    indices = np.resize(order, count or len(order))
    warm_up = indices[: min(args.warm_up, len(indices) - 1)]
    build(features, warm_up)
    build(features, indices)
    model = convert(common.model_of(args), args.dtype)
    before = matrix_flops(args.dtype)
    outs = [folder / f"{args.child[0]}-{name}" for name in ("warm-up", "logits")]
    for out in outs:
        shutil.rmtree(out, ignore_errors=True)  # from an earlier round
        out.mkdir()
    result = {}
    with common.measured(result):
        run(model, features, warm_up, outs[0])
        common.synchronize()
        began = time.perf_counter()
        run(model, features, indices, outs[1])
        common.synchronize()
        seconds = time.perf_counter() - began
    matrix = max(before, matrix_flops(args.dtype))
    useful = useful_flops(model, features.lengths[indices]) / seconds
    return {
        "windows": len(indices),
        "seconds": seconds,
        "windows_per_second": len(indices) / seconds,
        "bytes_per_window": sum(f.stat().st_size for f in outs[1].rglob("*") if f.is_file()) / len(indices),
        "useful_gflops": useful / 1e9,
        "matrix_gflops": matrix / 1e9,
        "matrix_share": useful / matrix,
        **result,
    }


def useful_flops(model: PreTrainedModel, lengths: np.ndarray) -> float:
    """Operations on real tokens: 2 per weight of a linear layer and token, 4 H T per token and layer for attention."""
    weights = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    attention = 4 * model.config.hidden_size * model.config.num_hidden_layers
    return float((lengths * (2 * weights + attention * lengths)).sum())


def matrix_flops(dtype: str, seconds: float = 0.5) -> float:
    """Operations per second of a product of square matrices: 2048 wide on a CPU, 8192 on a GPU."""
    where = device()
    size = 2048 if where.type == "cpu" else 8192
    rows = torch.randn(size, size, device=where, dtype=getattr(torch, dtype))
    layer = nn.Linear(size, size, bias=False, device=where, dtype=rows.dtype)
    best, until = np.inf, time.perf_counter() + seconds
    with torch.inference_mode(), linear_mode(layer)():
        while time.perf_counter() < until:
            common.synchronize()
            began = time.perf_counter()
            layer(rows)
            common.synchronize()
            best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


if __name__ == "__main__":
    main()

"""What a student costs on this machine: arithmetic, latency, throughput and memory.

`span-distill cost` runs this module as a process of its own, so that the peak memory belongs to one student:

    python -m pipeline.answering.cost data/student data/features/student/validation.safetensors
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from pipeline.checksums import intact
from pipeline.models.batching import pad
from pipeline.models.hardware import on_device
from pipeline.models.inference import model_inputs, predict
from pipeline.models.student import Student
from pipeline.questions import tokenization
from pipeline.questions.features import Features, read_features

WARM_UP = 5  # calls that are not timed
SAMPLE = 512  # windows of the throughput, at most
STATUS = Path("/proc/self/status")


def measure(model: PreTrainedModel, features: Features, pad_token_id: int) -> dict[str, Any]:
    """Arithmetic, latency and throughput of a model that is on its device.

    Latency is measured on one window of mean length, alone, from token ids on the device to logits in memory, without
    tokenization and decoding. Throughput is `inference.predict` over windows at equal distances in the split, at most
    `SAMPLE` and no more than take some ten seconds. The first calls of each are not timed.

    Returns:
        parameters, nonzero_parameters: numbers.
        gflops_per_window: 1e9 floating-point operations of that window; a multiplication with its addition counts as
            two, a weight that is 0 as any other.
        latency_ms_median, latency_ms_p95: milliseconds.
        windows_per_second: median over the passes.
        threads: of torch, on the CPU.
        device: its type, such as `cpu`.
    """
    model.eval()
    where = next(model.parameters()).device
    mean = int(np.abs(features.lengths - features.lengths.mean()).argmin())
    inputs = model_inputs(model, pad(features, np.array([mean]), pad_token_id).to(where))

    @torch.inference_mode()
    def answer() -> None:
        output = model(**inputs)
        torch.stack([output.start_logits, output.end_logits]).cpu()

    latencies = timings(answer, WARM_UP, seconds=10, least=20, most=200)
    size = min(SAMPLE, len(features), max(1, int(10 / np.median(latencies))))
    sample = np.linspace(0, len(features) - 1, size).astype(int)
    passes = timings(lambda: predict(model, features, pad_token_id, sample), 1, seconds=5, least=3, most=20)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "nonzero_parameters": sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters()),
        "gflops_per_window": flops(model, inputs) / 1e9,
        "latency_ms_median": 1000 * float(np.median(latencies)),
        "latency_ms_p95": 1000 * float(np.quantile(latencies, 0.95)),
        "windows_per_second": size / float(np.median(passes)),
        "threads": torch.get_num_threads(),
        "device": where.type,
    }


@torch.inference_mode()
def flops(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> int:
    """Floating-point operations of matrix products, convolutions and attention in one call of the model.

    torch's counter does not know its fused attention on a CPU, so attention is computed as plain matrix products.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(**inputs)
    return counter.get_total_flops()


def timings(call: Callable[[], Any], warm_up: int, *, seconds: float, least: int, most: int) -> list[float]:
    """Seconds of each call, after `warm_up` others: `least` calls, then up to `most` until `seconds` have passed."""
    for _ in range(warm_up):
        call()
    found: list[float] = []
    while len(found) < least or (len(found) < most and sum(found) < seconds):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return found


def peak_memory_mb() -> float:
    """The largest resident memory that this process has had, in 1e6 bytes."""
    if STATUS.exists():  # Linux carries getrusage's figure over from the process that started this one
        (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: bytes


def main(folder: Path, windows: Path) -> None:
    """Print the cost of the student in a folder as JSON."""
    student = Student.load(intact(folder))
    pad_token_id = tokenization.load(folder).pad_token_id
    values = measure(on_device(student), read_features(windows), pad_token_id)
    print(json.dumps({**values, "peak_memory_mb": peak_memory_mb()}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

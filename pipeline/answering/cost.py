"""What a model costs on this machine: arithmetic, latency, throughput and memory.

`span-distill cost` measures each model in a process of its own (`pipeline.commands.measurement`), so that the peak
memory belongs to one model.
"""

import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from pipeline.models.batching import pad
from pipeline.models.inference import model_inputs, predict
from pipeline.questions.features import Features

WARM_UP = 3  # calls of a block that are not timed
BLOCKS = 6  # the least and the largest of six medians are a 97 % confidence interval, 1 - 2 / 2^6 (the sign test's)
SAMPLE = 512  # windows of the throughput, at most
STATUS = Path("/proc/self/status")
R = TypeVar("R")


def measure(model: PreTrainedModel, features: Features, pad_token_id: int) -> dict[str, Any]:
    """Arithmetic, latency and throughput of a model that is on its device.

    Latency is measured on one window of mean length, alone, from token ids on the device to logits in memory, without
    tokenization and decoding. Throughput is `inference.predict` over windows at equal distances in the split, at most
    `SAMPLE` and no more than take some five seconds. The first calls of each are not timed. `BLOCKS` blocks of
    latencies take turns with passes of the throughput, so that they are seconds apart, as are the changes of a machine.

    Returns:
        parameters, nonzero_parameters: numbers.
        gflops_per_window: 1e9 floating-point operations of that window; a multiplication with its addition counts as
            two, a weight that is 0 as any other.
        latency_ms_median, latency_ms_low, latency_ms_high, latency_ms_p95: see `latency`.
        cpu_share: see `cpu_share`; 1 on a GPU.
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

    def block() -> list[float]:
        return timings(answer, WARM_UP, seconds=2, least=4, most=40)

    size = min(SAMPLE, len(features), max(1, int(5 / np.median(block()))))
    sample = np.linspace(0, len(features) - 1, size).astype(int)

    def read() -> None:
        predict(model, features, pad_token_id, sample)

    read()
    blocks, shares, passes = [], [], []
    for _ in range(BLOCKS):
        found, share = with_cpu_share(block)
        blocks.append(found)
        shares.append(share)
        passes += timings(read, 0, seconds=0.5, least=1, most=2)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "nonzero_parameters": sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters()),
        "gflops_per_window": flops(model, inputs) / 1e9,
        **latency(blocks),
        "cpu_share": float(np.median(shares)) if where.type == "cpu" else 1.0,
        "windows_per_second": size / float(np.median(passes)),
        "threads": torch.get_num_threads(),
        "device": where.type,
    }


def latency(blocks: Sequence[Sequence[float]]) -> dict[str, float]:
    """Milliseconds of a call, from blocks with the seconds of each call.

    Returns:
        latency_ms_median: median of the blocks' medians.
        latency_ms_low, latency_ms_high: the least and the largest of these. With `BLOCKS` blocks they are a confidence
            interval of the median.
        latency_ms_p95: the 95th percentile of all calls.
    """
    medians = [1000 * float(np.median(block)) for block in blocks]
    return {
        "latency_ms_median": float(np.median(medians)),
        "latency_ms_low": min(medians),
        "latency_ms_high": max(medians),
        "latency_ms_p95": 1000 * float(np.quantile(np.concatenate(blocks), 0.95)),
    }


def with_cpu_share(call: Callable[[], R]) -> tuple[R, float]:
    """What a call returns, and the CPU time of this thread, as a share of the time that passed.

    A thread that computes, or waits for others in a loop as torch's do, uses all its time, unless another process has
    its CPU.
    """
    started, used = time.perf_counter(), time.thread_time()
    result = call()
    return result, (time.thread_time() - used) / (time.perf_counter() - started)


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

"""sizes: say with which sizes the student would be so many times as fast.

    span-distill sizes --speedup 2

Reads data/backbone, the student's validation windows, and what the stage `shrink` measured of the encoder, if it did.
Measures the latency of one window of mean length on this machine, with random weights, in several numbers of layers and
feed-forward units, and prints the settings to run. Latencies are stored in the cache folder, like the costs of `cost`.
Measure on a machine that does nothing else.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

from pipeline import paths, pretrained
from pipeline.answering.cost import timings
from pipeline.checksums import verified
from pipeline.errors import InputError
from pipeline.experiments.costs import machine
from pipeline.files import atomic_write
from pipeline.models import encoders
from pipeline.models.batching import pad
from pipeline.models.hardware import on_device
from pipeline.models.inference import model_inputs
from pipeline.params import load
from pipeline.progress import Progress
from pipeline.questions.features import Features, read_features
from pipeline.shrinking import cache
from pipeline.shrinking.sizes import Size, choose, kept_share, models, sizes
from pipeline.shrinking.vocabulary import keep_tokens


def main(speedup: float, again: bool) -> None:
    params = load(paths.PARAMS)
    source = verified(paths.BACKBONE, "backbone")
    config = pretrained.load_config(source)
    features = read_features(paths.features(paths.STUDENT_NAME, "validation"))
    has_all_layers = params.backbone.layers is None
    latencies = read_or_measure(config, features, not has_all_layers, again)
    scores = None
    if encoders.read_head(source):  # other scores do not compare layers
        encoder = encoders.load_encoder(source)
        if paths.KEPT_TOKENS.exists():
            encoder = keep_tokens(encoder, json.loads(paths.KEPT_TOKENS.read_text(encoding="utf-8")))
        scores = cache.scores_of(paths.importance_cache(), encoder)
    largest = max(latencies)
    print("| layers | units | ms | times as fast |" + (" kept |" if scores is not None else ""))
    print("|---|---|---|---|" + ("---|" if scores is not None else ""))
    for size, latency in latencies.items():
        kept = "" if scores is None else f" {kept_share(scores, size):.0%} |"
        print(f"| {size.layers} | {size.units} | {latency:.1f} | {latencies[largest] / latency:.2f} |{kept}")
    size = choose(latencies, speedup, scores)
    if size is None:
        fastest = min(latencies, key=lambda each: latencies[each])
        raise InputError(
            f"--speedup {speedup:g}: the fastest of these sizes, {fastest.layers} layers of {fastest.units} units, is "
            f"{latencies[largest] / latencies[fastest]:.1f} times as fast"
        )
    print(f"\n{settings(size, largest)}  ({latencies[largest] / latencies[size]:.1f}x expected)")


def settings(size: Size, largest: Size) -> str:
    """The options of `dvc exp run` for a size; null for what is not cut."""
    values = [given if given < full else "null" for given, full in zip(size, largest, strict=True)]
    return f"-S shrink.layers={values[0]} -S shrink.intermediate_size={values[1]}"


def read_or_measure(config: PretrainedConfig, features: Features, all_layers: bool, again: bool) -> dict[Size, float]:
    """Milliseconds of a window of mean length by size, the largest first; from the cache if they were measured before.

    Args:
        all_layers: whether to measure sizes with all layers only.
        again: whether to measure even so.
    """
    path = stored(config, features, all_layers)
    if path.exists() and not again:
        return {Size(layers, units): latency for layers, units, latency in json.loads(path.read_text(encoding="utf-8"))}
    found = measure(config, features, all_layers)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        rows = [[*size, latency] for size, latency in found.items()]
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return found


def measure(config: PretrainedConfig, features: Features, all_layers: bool) -> dict[Size, float]:
    """Least milliseconds of one window of mean length, alone, by size."""
    mean = features.select(np.array([np.abs(features.lengths - features.lengths.mean()).argmin()]))
    found, chosen = {}, sizes(config, all_layers)
    with Progress("measuring", "size", len(chosen)) as progress:
        for size, model in models(config, chosen):
            found[size] = latency(on_device(model), mean)
            progress.update()
    return found


@torch.inference_mode()
def latency(model: PreTrainedModel, window: Features) -> float:
    """Least milliseconds from the token ids of one window on the device to logits in memory."""
    inputs = model_inputs(model, pad(window, np.array([0]), 0).to(next(model.parameters()).device))
    seconds = timings(lambda: model(**inputs).start_logits.cpu(), 3, seconds=0.5, least=5, most=50)
    return 1000 * min(seconds)


def stored(config: PretrainedConfig, features: Features, all_layers: bool) -> Path:
    """Where the latencies of a config's sizes on this machine are, or will be."""
    values = {key: value for key, value in config.to_dict().items() if key not in encoders.VOLATILE}
    values |= {"tokens": math.ceil(features.lengths.mean()), "all_layers": all_layers}
    values["threads"] = torch.get_num_threads()
    digest = hashlib.blake2b(json.dumps(values, sort_keys=True, default=str).encode(), digest_size=8)
    return paths.costs() / f"sizes-{digest.hexdigest()}-{machine()}.json"

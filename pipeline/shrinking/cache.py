"""The user's cache of what was measured of encoders, found by their content and their windows."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.checksums import fault, seal
from pipeline.files import atomic_write, remove_unfinished
from pipeline.imports import code_digest
from pipeline.locks import hold
from pipeline.log import log
from pipeline.models.encoders import VOLATILE, SavedHead
from pipeline.models.hardware import training_threads
from pipeline.shrinking import importance
from pipeline.shrinking.importance import Sample, Units

FILE = "units.safetensors"


def content_key(encoder: PreTrainedModel) -> str:
    """16 hexadecimal digits: a hash of an encoder's config and weights."""
    values = {key: value for key, value in encoder.config.to_dict().items() if key not in VOLATILE}
    digest = hashlib.blake2b(json.dumps(values, sort_keys=True, default=str).encode(), digest_size=8)
    _add(digest, encoder.state_dict())
    return digest.hexdigest()


def key(encoder: PreTrainedModel, head: SavedHead | None, sample: Sample, method: str) -> str:
    """The name in the cache of a measurement: `content_key`, and a hash of all else that determines its result."""
    versions = [torch.__version__, transformers.__version__, str(training_threads(encoder))]
    device = str(torch.accelerator.current_accelerator(check_available=True))
    digest = hashlib.blake2b(" ".join([*versions, device, method]).encode(), digest_size=8)
    if head:
        digest.update(head.name.encode())
        _add(digest, head.weights)
    for array in (sample.features.keys, sample.features.context, sample.spans):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(code_digest("pipeline.shrinking.importance"))
    return f"{content_key(encoder)}-{digest.hexdigest()}"


def _add(digest: hashlib.blake2b, weights: dict[str, Tensor]) -> None:
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())


def measured(
    folder: Path, encoder: PreTrainedModel, head: SavedHead | None, sample: Sample, method: str, seed: int
) -> Units:
    """`importance.measure`, from the cache in a folder if it is there and not damaged.

    If another process measures the same, prints which one, and waits.
    """
    entry = folder / key(encoder, head, sample, method)
    with hold(entry, "it measures the same encoder"):
        found = read(entry)
        if found is None:
            found = importance.measure(encoder, head, sample, method, seed)
            entry.mkdir(parents=True, exist_ok=True)
            remove_unfinished(entry)
            with atomic_write(entry / FILE) as temporary:
                save_file({key: value.contiguous() for key, value in found._asdict().items()}, temporary)
            seal(entry)
        os.utime(entry)  # the time of the last use
    return found


def scores_of(folder: Path, encoder: PreTrainedModel) -> Tensor | None:
    """(N, n) scores that were measured of an encoder, the latest; None if it was not measured."""
    entries = sorted(folder.glob(f"{content_key(encoder)}-*/"), key=lambda entry: entry.stat().st_mtime)
    found = read(entries[-1]) if entries else None
    return found.scores if found else None


def read(entry: Path) -> Units | None:
    """What is in a folder of the cache; None if there is nothing, or it is damaged."""
    if not (entry / FILE).exists():
        return None
    if found := fault(entry):
        log.warning("%s; it is measured again", found)
        return None
    return Units(**load_file(entry / FILE))

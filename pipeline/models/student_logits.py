"""Hands a student's logits of the validation windows from `train`, which fits the confidence to them, to `evaluate`.

They are in the user's cache until `evaluate` takes them, under a key of the student's files, the windows and the code.
"""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pipeline.checksums import SUMS, checksum, fault, seal
from pipeline.files import atomic_write
from pipeline.imports import code_digest
from pipeline.log import log
from pipeline.models import inference
from pipeline.models.student import Student
from pipeline.questions.features import Features, SpanLogits

CHECKED = 32  # windows that `evaluate` computes again
TOLERANCE = 1e-3  # of their logits; batches of other sizes round differently


def current_code() -> bytes:
    """A hash of the code that computes and reads the logits; to be taken before they are computed."""
    return code_digest("pipeline.stages.evaluate")


def hand_over(logits: SpanLogits[np.ndarray], student: Path, features: Path, cache: Path, code: bytes) -> None:
    """Keep the logits, (T,) each, until `take`.

    Args:
        student: the sealed folder of the student that computed them.
        features: the sealed file of the windows, T tokens.
        cache: the folder of all logits that are handed over.
        code: `current_code` before they were computed.

    Raises:
        OSError, SafetensorError: they cannot be written.
    """
    folder = cache / _key(student, features, code)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(_file(folder)) as temporary:
        save_file({"start_logits": logits.start, "end_logits": logits.end}, temporary)
    seal(folder)


def take(student: Path, features: Path, cache: Path, code: bytes) -> SpanLogits[np.ndarray] | None:
    """Return the logits that were handed over, (T,) each, and remove them; None without any, or if they are damaged.

    Args:
        student, features, cache, code: as in `hand_over`.
    """
    folder = cache / _key(student, features, code)
    if not folder.exists():
        return None
    try:
        if found := fault(folder):
            log.warning("%s; the student's logits are computed again", found)
            return None
        tensors = load_file(_file(folder))
        return SpanLogits(tensors["start_logits"], tensors["end_logits"])
    except (OSError, KeyError, SafetensorError):  # an equal experiment may have taken them
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def agree(logits: SpanLogits[np.ndarray], student: Student, features: Features, pad_token_id: int) -> bool:
    """Whether the student computes the same logits of `CHECKED` windows.

    Args:
        logits: (T,) each, of the windows.
    """
    if logits.start.shape != (features.starts[-1],):
        return False
    windows = np.unique(np.linspace(0, len(features) - 1, CHECKED).astype(int))
    tokens = features.token_indices(windows)
    found = inference.predict(student, features, pad_token_id, windows)
    pairs = ((logits.start, found.start), (logits.end, found.end))
    return all(np.allclose(handed[tokens], own, rtol=TOLERANCE, atol=TOLERANCE) for handed, own in pairs)


def _key(student: Path, features: Path, code: bytes) -> str:
    versions = (torch.__version__, transformers.__version__)
    parts = [(student / SUMS).read_bytes(), checksum(features).encode(), repr(versions).encode(), code]
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _file(folder: Path) -> Path:
    return folder / "logits.safetensors"

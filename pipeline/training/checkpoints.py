"""Checkpoints of a training run: one safetensors file with a checksum, replaced atomically, found by the run's key."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.errors import InputError
from pipeline.files import atomic_write, remove_unfinished
from pipeline.imports import code_digest
from pipeline.locks import hold
from pipeline.log import log
from pipeline.processes import processes

METADATA = "span_distill"
State = dict[str, Tensor]


def run_key(stage: str, settings: dict[str, Any], model: PreTrainedModel, *digests: str) -> str:
    """32 hexadecimal digits: a hash of all that defines a run, including the stage's code and its libraries.

    Args:
        stage: such as `train`; the files that it imports are hashed, which dvc.yaml lists as its deps.
        settings: JSON values.
        model: before its first step; weights and config are hashed, since equal weights may be used differently.
        digests: of all other data that the run reads.
    """
    versions = [torch.__version__, transformers.__version__]
    description = {"settings": settings, "config": model.config.to_dict(), "versions": versions, "data": digests}
    digest = hashlib.blake2b(json.dumps(description, sort_keys=True, default=str).encode(), digest_size=16)
    for part in _parts(model.state_dict()):
        digest.update(part)
    digest.update(code_digest(f"pipeline.stages.{stage}"))
    return digest.hexdigest()


class Checkpoint:
    """The newest checkpoint of one run.

    Args:
        folder: holds the checkpoints of all unfinished runs.
        key: of the run, as `run_key` returns it; a checkpoint with another key is never read.
    """

    def __init__(self, folder: Path, key: str):
        self.folder = folder / key
        self.path = self.folder / "checkpoint.safetensors"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run's lock, in its main process, from before the run reads the checkpoint until it removes it.

        If another process trains the same run, print which one, and wait.
        """
        state = processes()
        main = state.is_main_process
        with hold(self.folder, "it trains the same model") if main else nullcontext():
            if main:
                remove_unfinished(self.folder)
            state.wait_for_everyone()
            yield

    def write(self, tensors: State, values: dict[str, Any]) -> None:
        """Replace the previous checkpoint atomically: the file is complete at any moment.

        Args:
            values: JSON values; floats are restored exactly.

        Raises:
            InputError: the checkpoint cannot be written; the previous one stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(self.path) as temporary:
                tensors = _detached(tensors)
                metadata = {"values": values, "checksum": _checksum(tensors, values)}
                save_file(tensors, temporary, metadata={METADATA: json.dumps(metadata)})
        except SafetensorError as error:  # for example a full disk
            raise InputError(f"the checkpoint {self.path} cannot be written: {error}") from None

    def read(self) -> tuple[State, dict[str, Any]] | None:
        """The checkpoint's tensors, on the CPU, and its values; None if there is no checkpoint or it is damaged."""
        try:
            with safe_open(self.path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                metadata = json.loads(file.metadata()[METADATA])
            if metadata["checksum"] != _checksum(tensors, metadata["values"]):
                raise ValueError("its checksum does not match its content")
            return tensors, metadata["values"]
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            log.warning("%s cannot be read (%s); the run starts from step 0", self.path, error)
            return None

    def remove(self) -> None:
        """Delete the checkpoint; call this after the run's result is saved."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _checksum(tensors: State, values: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for part in _parts(dict(sorted(tensors.items()))):
        digest.update(part)
    return digest.hexdigest()


def _parts(tensors: State) -> Iterator[bytes]:
    """Names, dtypes, shapes and values of tensors, to hash."""
    for name, tensor in tensors.items():
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
        yield tensor.detach().cpu().contiguous().numpy().tobytes()


def _detached(tensors: State) -> State:
    """The tensors on the CPU without shared memory, as safetensors requires; tied weights are copied."""
    detached: State = {}
    addresses: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        detached[name] = tensor.clone() if tensor.data_ptr() in addresses else tensor
        addresses.add(tensor.data_ptr())
    return detached

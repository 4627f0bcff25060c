"""Checkpoints of a training run: one safetensors file, replaced as a whole, found by what defines the run."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.errors import InputError
from pipeline.files import atomic_write

METADATA = "span_distill"
State = dict[str, Tensor]


def run_key(settings: dict[str, Any], model: PreTrainedModel, *arrays: np.ndarray) -> str:
    """32 hexadecimal digits that stand for a run: what is asked for, the model, data, and this package's code.

    Args:
        settings: JSON values.
        model: before its first step; its config counts too, since models of one size may compute different things.
        arrays: whatever else the run reads.
    """
    said = json.dumps({"settings": settings, "config": model.config.to_dict()}, sort_keys=True, default=str)
    digest = hashlib.blake2b(said.encode(), digest_size=16)
    for name, weight in model.state_dict().items():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Checkpoint:
    """The newest state of one run.

    Args:
        folder: where unfinished runs are kept.
        key: of the run, as `run_key` gives it; a checkpoint of another key is never read.
    """

    def __init__(self, folder: Path, key: str):
        self.folder = folder / key
        self.path = self.folder / "checkpoint.safetensors"

    def write(self, tensors: State, values: dict[str, Any]) -> None:
        """Put a state in the place of the last one: at any moment there is a whole one, or none yet.

        Args:
            values: JSON values; floats come back to the bit.

        Raises:
            InputError: it cannot be written; the last one stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(self.path) as temporary:
                save_file(_detached(tensors), temporary, metadata={METADATA: json.dumps(values)})
        except SafetensorError as error:  # a full disk, too
            raise InputError(f"the checkpoint {self.path} cannot be written: {error}") from None

    def read(self) -> tuple[State, dict[str, Any]] | None:
        """The tensors, on the CPU, and the values of the newest state; None where there is none that can be read."""
        try:
            with safe_open(self.path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()[METADATA])
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            print(f"warning: {self.path} cannot be read ({error}); the run starts from its beginning")
            return None

    def remove(self) -> None:
        """The run is finished, and its result is saved."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _detached(tensors: State) -> State:
    """The tensors on the CPU, each in memory of its own, as safetensors needs them; tied weights share theirs."""
    apart: State = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        apart[name] = tensor.clone() if tensor.data_ptr() in taken else tensor
        taken.add(tensor.data_ptr())
    return apart

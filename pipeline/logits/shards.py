"""A shard: a safetensors file with the teacher's logits for some windows, found by what the windows are.

A row is one window's start and end logits, one pair a token. Its key is the hash of the window's token and segment
ids (`windows.Window.key`), so batch size, order, slice and split do not matter.

A shard has the tensors `keys` (N, 16) uint8, `starts` (N + 1,) int64, and `start_logits` and `end_logits`, (T,)
float16 or float32; row i has the tokens starts[i] to starts[i + 1]. Its metadata names the format, teacher,
tokenizer and dtype, the precisions that its rows were computed in, and a checksum of all that. Its file name is the
hash of teacher, tokenizer, dtype and keys.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pipeline.errors import InputError
from pipeline.files import atomic_write
from pipeline.questions.features import KEY_BYTES

FORMAT = 3
TENSORS = ("keys", "starts", "start_logits", "end_logits")
# one entry, because safetensors writes several in no fixed order
METADATA = "span_distill"


@dataclass(frozen=True)
class Identity:
    """What all rows of a store have in common.

    Attributes:
        teacher: `encoders.fingerprint` of the model.
        tokenizer: `tokenization.fingerprint` of what made the windows.
        dtype: of the stored logits, `float16` or `float32`.
    """

    teacher: str
    tokenizer: str
    dtype: str

    @property
    def name(self) -> str:
        """32 hexadecimal digits, the name of the teacher's folder in the cache."""
        return _digest(json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True).encode())


class Description(BaseModel):
    """What a shard's header, identity.json and the manifest say, each with more of its own."""

    model_config = ConfigDict(strict=True)
    format: int
    teacher: str
    tokenizer: str
    dtype: Literal["float16", "float32"]

    @property
    def identity(self) -> Identity:
        return Identity(self.teacher, self.tokenizer, self.dtype)


class Header(Description):
    precision: list[str]
    rows: int
    checksum: str


@dataclass(frozen=True)
class Rows:
    """N rows of T tokens in all; see the module for the shapes.

    Attributes:
        precision: what the teacher's encoder computed the rows in, `float32` or `bfloat16`; both for rows of two runs.
    """

    keys: np.ndarray
    starts: np.ndarray
    start_logits: np.ndarray
    end_logits: np.ndarray
    precision: tuple[str, ...]

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in TENSORS}

    def __len__(self) -> int:
        return len(self.keys)


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def as_json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def write_atomically(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def parse_description(kind: type[Description], text: str | bytes, where: Path) -> Any:
    """Read JSON that says what something is.

    Raises:
        InputError: it is not JSON, or says something else.
    """
    try:
        said = kind.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "it"
        raise InputError(
            f"{where} is damaged: what it says of itself cannot be read ({place}: {fault['msg']})"
        ) from None
    if said.format != FORMAT:
        raise InputError(f"{where} holds other logits: format is {said.format}, not {FORMAT}")
    return said


def shard_files(folder: Path) -> list[Path]:
    """The shards in a folder, by name."""
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file())


def _checksum(header: dict[str, Any], rows: Rows) -> str:
    """Of all of a shard: its tensors, and its header but for the checksum itself."""
    said = json.dumps({key: value for key, value in header.items() if key != "checksum"}, sort_keys=True)
    return _digest(said.encode(), *(np.ascontiguousarray(array).tobytes() for array in rows.tensors.values()))


def shard_name(identity: Identity, rows: Rows) -> str:
    return _digest(identity.name.encode(), rows.keys.tobytes())


def write_shard(folder: Path, identity: Identity, rows: Rows) -> str:
    """Write rows as one shard, whole or not at all; returns the file's name."""
    name = f"{shard_name(identity, rows)}.safetensors"
    header = {"format": FORMAT, **asdict(identity), "precision": rows.precision, "rows": len(rows)}
    header["checksum"] = _checksum(header, rows)
    write_atomically(folder / name, save(rows.tensors, metadata={METADATA: json.dumps(header, sort_keys=True)}))
    return name


def read_shard(path: Path, identity: Identity) -> Rows:
    """Read and check a shard.

    Raises:
        InputError: it is missing, damaged, of another format, or not of this teacher, tokenizer and dtype.
        OSError: it may be sound and cannot be read.
    """
    header, tensors = _tensors(path)
    ours, theirs = asdict(identity), asdict(header.identity)
    wrong = [f"{key} is {theirs[key]}, not {value}" for key, value in ours.items() if theirs[key] != value]
    if wrong:
        raise InputError(f"{path} holds other logits: {'; '.join(wrong)}")
    fault = _fault(tensors, header)
    if fault:
        raise InputError(f"{path} is damaged: {fault}")
    rows = Rows(**tensors, precision=tuple(header.precision))
    if header.checksum != _checksum(header.model_dump(), rows):
        raise InputError(f"{path} is damaged: its checksum does not fit its content")
    return rows


def _tensors(path: Path) -> tuple[Header, dict[str, np.ndarray]]:
    try:
        path.open("rb").close()  # safetensors calls a file that may not be read one that is missing
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    try:
        with safe_open(path, framework="numpy") as file:
            said = (file.metadata() or {}).get(METADATA, "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a shard of logits, or is damaged: {error}") from None
    return parse_description(Header, said, path), tensors


def _fault(tensors: dict[str, np.ndarray], header: Header) -> str | None:
    """What is wrong with the form of a shard's tensors, which a checksum of their bytes does not see."""
    if set(tensors) != set(TENSORS):
        return f"it has the tensors {', '.join(sorted(tensors))}"
    n, t = header.rows, tensors["start_logits"].size
    forms = {"keys": ("uint8", (n, KEY_BYTES)), "starts": ("int64", (n + 1,))}
    forms |= dict.fromkeys(("start_logits", "end_logits"), (header.dtype, (t,)))
    for name, form in forms.items():
        found = (str(tensors[name].dtype), tensors[name].shape)
        if found != form:
            return f"{name} is {found[0]} {found[1]}, not {form[0]} {form[1]}"
    starts = tensors["starts"]
    if starts[0] != 0 or starts[-1] != t or (np.diff(starts) <= 0).any():
        return f"starts do not rise from 0 to {t}"
    return None


def count_rows(path: Path) -> int:
    """Rows of a shard, by its header alone.

    Raises:
        InputError: it is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return file.get_slice("keys").get_shape()[0]
    except (SafetensorError, OSError, IndexError) as error:
        raise InputError(f"{path} is not a shard of logits, or is damaged: {error}") from None

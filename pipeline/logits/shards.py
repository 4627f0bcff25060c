"""A shard: a safetensors file with a teacher's logits for some windows, looked up by a hash of each window's content.

A row holds the start and end logits of one window, one of each per token. Its key is the hash of the window's token
ids and token type ids (`windows.Window.key`), so lookups do not depend on batch size, order or split.

A shard has the tensors `keys` (N, 16) uint8, `starts` (N + 1,) int64, and `start_logits` and `end_logits`, both (T,)
float16 or float32. Row i has the tokens from starts[i] up to, but not including, starts[i + 1]. The metadata holds the
format, teacher, tokenizer, dtype, the precisions that the rows were computed in, the number of rows, and a checksum of
tensors and metadata. The file name is the hash of teacher, tokenizer, dtype and keys.
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
from pipeline.tensors import map_tensors

FORMAT = 3
TENSORS = ("keys", "starts", "start_logits", "end_logits")
# a single entry, because safetensors does not write several in a fixed order
METADATA = "span_distill"


@dataclass(frozen=True)
class Identity:
    """What all rows of a folder of shards have in common.

    Attributes:
        teacher: `encoders.fingerprint` of the teacher.
        tokenizer: `tokenization.fingerprint` of the windows' tokenizer.
        dtype: of the stored logits, `float16` or `float32`.
    """

    teacher: str
    tokenizer: str
    dtype: str

    @property
    def name(self) -> str:
        """The name of the teacher's folder in the cache, 32 hexadecimal digits."""
        return _digest(json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True).encode())


class Description(BaseModel):
    """The fields that a shard's header and manifest.json share; identity.json has exactly these."""

    model_config = ConfigDict(strict=True)
    format: int
    teacher: str
    tokenizer: str
    dtype: Literal["float16", "float32"]

    @property
    def identity(self) -> Identity:
        return Identity(self.teacher, self.tokenizer, self.dtype)


class Header(Description):
    """The metadata entry of a shard."""

    precision: list[str]
    rows: int
    checksum: str


@dataclass(frozen=True)
class Rows:
    """N rows with T tokens in total; the module's docstring has the shapes.

    Attributes:
        precision: of the teacher's encoder, `float32` or `bfloat16`; both if rows of several runs differ in it.
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


def _digest(*parts: bytes | memoryview) -> str:
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
    """Parse and validate the metadata of a shard or of a folder of shards.

    Args:
        where: the file, for the error.

    Raises:
        InputError: the text is not JSON, has missing or invalid fields, or is of another format.
    """
    try:
        description = kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "top level"
        raise InputError(f"{where} is damaged: its metadata is invalid ({field}: {first['msg']})") from None
    if description.format != FORMAT:
        raise InputError(f"{where} holds different logits: format is {description.format}, expected {FORMAT}")
    return description


def shard_files(folder: Path) -> list[Path]:
    """The shards in a folder, sorted by name."""
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file())


def _checksum(header: dict[str, Any], rows: Rows) -> str:
    """Checksum of a shard's tensors and of its header without the checksum."""
    metadata = json.dumps({key: value for key, value in header.items() if key != "checksum"}, sort_keys=True)
    return _digest(metadata.encode(), *(np.ascontiguousarray(array).data for array in rows.tensors.values()))


def shard_name(identity: Identity, rows: Rows) -> str:
    return _digest(identity.name.encode(), rows.keys.tobytes())


def write_shard(folder: Path, identity: Identity, rows: Rows) -> str:
    """Write rows atomically as one shard, and return the file name."""
    name = f"{shard_name(identity, rows)}.safetensors"
    header = {"format": FORMAT, **asdict(identity), "precision": rows.precision, "rows": len(rows)}
    header["checksum"] = _checksum(header, rows)
    write_atomically(folder / name, save(rows.tensors, metadata={METADATA: json.dumps(header, sort_keys=True)}))
    return name


def read_shard(path: Path, identity: Identity) -> Rows:
    """Verify a shard; its rows are mapped from the file.

    Raises:
        InputError: it is missing, damaged, of another format, or not of this teacher, tokenizer and dtype.
        OSError: the file cannot be opened or read; it may be intact.
    """
    header, tensors = _load(path)
    expected, found = asdict(identity), asdict(header.identity)
    different = [f"{key} is {found[key]}, expected {value}" for key, value in expected.items() if found[key] != value]
    if different:
        raise InputError(f"{path} holds different logits: {'; '.join(different)}")
    fault = _layout_fault(tensors, header)
    if fault:
        raise InputError(f"{path} is damaged: {fault}")
    rows = Rows(**tensors, precision=tuple(header.precision))
    if header.checksum != _checksum(header.model_dump(), rows):
        raise InputError(f"{path} is damaged: its checksum does not match its content")
    return rows


def map_shard(path: Path) -> Rows:
    """The rows of a shard that `read_shard` has verified, mapped from the file."""
    header, tensors = _load(path)
    return Rows(**tensors, precision=tuple(header.precision))


def read_checksum(path: Path) -> str:
    """The checksum of a shard that `read_shard` has verified: of its rows, teacher, tokenizer and precision."""
    return _load(path)[0].checksum


def _load(path: Path) -> tuple[Header, dict[str, np.ndarray]]:
    try:
        path.open("rb").close()  # raises PermissionError, which safetensors reports as a missing file
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    try:
        metadata, tensors = map_tensors(path)
    except (SafetensorError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a shard of logits, or is damaged: {error}") from None
    return parse_description(Header, metadata.get(METADATA, ""), path), tensors


def _layout_fault(tensors: dict[str, np.ndarray], header: Header) -> str | None:
    """What is wrong with the names, dtypes and shapes of the tensors, which a checksum of bytes does not cover."""
    if set(tensors) != set(TENSORS):
        return f"its tensors are {sorted(tensors)}, expected {sorted(TENSORS)}"
    n, t = header.rows, tensors["start_logits"].size
    layout = {"keys": ("uint8", (n, KEY_BYTES)), "starts": ("int64", (n + 1,))}
    layout |= dict.fromkeys(("start_logits", "end_logits"), (header.dtype, (t,)))
    for name, expected in layout.items():
        found = (str(tensors[name].dtype), tensors[name].shape)
        if found != expected:
            return f"{name} is {found[0]} {found[1]}, expected {expected[0]} {expected[1]}"
    starts = tensors["starts"]
    if starts[0] != 0 or starts[-1] != t or (np.diff(starts) <= 0).any():
        return f"starts does not increase strictly from 0 to {t}"
    return None


def count_rows(path: Path) -> int:
    """The number of rows of a shard, read from the safetensors header alone.

    Raises:
        InputError: the shard is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return file.get_slice("keys").get_shape()[0]
    except (SafetensorError, OSError, IndexError) as error:
        raise InputError(f"{path} is not a shard of logits, or is damaged: {error}") from None

"""The teacher's logits on disk: ragged safetensors shards, whose rows are found by what the window is.

A row is one window's start and end logits, one pair a token. Its key is the hash of the window's token and segment
ids (`windows.Window.key`), so batch size, order, slice and split do not matter. There are two folders of shards:

- the user's cache, one folder a teacher, which gets a shard as soon as it is computed and forgets nothing;
- the teacher's folder in data/logits, written from it in one go: exactly the rows of this data set, in its order, and
  a manifest.

A shard has the tensors `keys` (N, 16) uint8, `starts` (N + 1,) int64, and `start_logits` and `end_logits`, (T,)
float16 or float32; row i has the tokens starts[i] to starts[i + 1]. Its metadata names the format, teacher,
tokenizer and dtype, the precisions that its rows were computed in, and a checksum of all that. Its file name is the
hash of teacher, tokenizer, dtype and keys.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.questions.features import KEY_BYTES, Features, key_list

FORMAT = 3
TENSORS = ("keys", "starts", "start_logits", "end_logits")
NO_ROW = -1
# one entry, because safetensors writes several in no fixed order
METADATA = "span_distill"
MANIFEST = "manifest.json"
IDENTITY = "identity.json"


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


class Described(BaseModel):
    """What a shard's header, identity.json and the manifest say, each with more of its own."""

    model_config = ConfigDict(strict=True)
    format: int
    teacher: str
    tokenizer: str
    dtype: Literal["float16", "float32"]

    @property
    def identity(self) -> Identity:
        return Identity(self.teacher, self.tokenizer, self.dtype)


class Header(Described):
    precision: list[str]
    rows: int
    checksum: str


class ManifestShard(BaseModel):
    model_config = ConfigDict(strict=True)
    file: str = Field(pattern=r"^[0-9a-f]{32}\.safetensors$")
    split: str
    rows: int
    precision: list[str]


class Manifest(Described):
    rows: int
    shards: list[ManifestShard]


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


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _described(kind: type[Described], text: str | bytes, where: Path) -> Any:
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


def read_description(folder: Path) -> Described:
    """What a folder of shards says that it is: its manifest in data/logits, identity.json in the cache.

    Raises:
        InputError: it has neither, or one that cannot be read.
    """
    for name, kind in ((MANIFEST, Manifest), (IDENTITY, Described)):
        if (folder / name).is_file():
            return _described(kind, (folder / name).read_bytes(), folder / name)
    raise InputError(f"{folder} has no {MANIFEST} and no {IDENTITY}, so that nobody knows whose logits it holds")


def shard_files(folder: Path) -> list[Path]:
    """The shards in a folder, by name."""
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file())


def _checksum(header: dict[str, Any], rows: Rows) -> str:
    """Of all of a shard: its tensors, and its header but for the checksum itself."""
    said = json.dumps({key: value for key, value in header.items() if key != "checksum"}, sort_keys=True)
    return _digest(said.encode(), *(np.ascontiguousarray(array).tobytes() for array in rows.tensors.values()))


def _shard_name(identity: Identity, rows: Rows) -> str:
    return _digest(identity.name.encode(), rows.keys.tobytes())


def write_shard(folder: Path, identity: Identity, rows: Rows) -> str:
    """Write rows as one shard, whole or not at all; returns the file's name."""
    name = f"{_shard_name(identity, rows)}.safetensors"
    header = {"format": FORMAT, **asdict(identity), "precision": rows.precision, "rows": len(rows)}
    header["checksum"] = _checksum(header, rows)
    _write(folder / name, save(rows.tensors, metadata={METADATA: json.dumps(header, sort_keys=True)}))
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
    return _described(Header, said, path), tensors


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


def lock(folder: Path) -> FileLock:
    """Held by whoever adds to a teacher's folder of the cache, or deletes it."""
    return FileLock(f"{folder}.lock")


class RowCache:
    """The rows of one teacher that are kept in a folder, in shards of whatever run wrote them.

    `identity.json` beside the shards says whose they are. A shard that is damaged is deleted with a warning, and so
    its rows are computed again; what a killed run had begun to write is deleted too. Whoever opens it for adding holds
    its `lock`.
    """

    def __init__(self, folder: Path, identity: Identity):
        self.folder = folder / identity.name
        self.identity = identity
        self.folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self.folder.glob(".*.safetensors.*"):
            unfinished.unlink()
        _write(self.folder / IDENTITY, _json({"format": FORMAT, **asdict(identity)}))
        self._shards: list[Rows] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        for path in shard_files(self.folder):
            try:
                self._remember(read_shard(path, identity))
            except InputError as error:
                print(f"warning: {error}; its rows are computed again", file=sys.stderr)
                path.unlink()

    def _remember(self, rows: Rows) -> None:
        self._places |= {key: (len(self._shards), i) for i, key in enumerate(key_list(rows.keys))}
        self._shards.append(rows)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def add(self, rows: Rows) -> None:
        """Keep rows, on disk first."""
        write_shard(self.folder, self.identity, rows)
        self._remember(rows)

    def add_all(self, shards: Iterable[Rows]) -> None:
        """Keep the rows of each shard; it is written while the next one is computed."""
        with ThreadPoolExecutor(1) as writer:
            writing = None
            for rows in shards:
                if writing:
                    writing.result()
                writing = writer.submit(self.add, rows)
            if writing:
                writing.result()

    def adopt(self, folder: Path) -> None:
        """Keep the rows of a folder of shards too, of data/logits as `dvc pull` brought it say.

        Shards that are damaged, or of another teacher, are passed over.
        """
        for path in shard_files(folder):
            if (self.folder / path.name).exists():
                continue
            try:
                rows = read_shard(path, self.identity)
            except InputError:
                continue
            if not all(key in self for key in key_list(rows.keys)):
                self.add(rows)

    def rows(self, keys: list[bytes]) -> Rows:
        """The rows of `keys`, in that order.

        Raises:
            KeyError: a key has no row.
        """
        start_logits, end_logits, precision = [], [], set()
        for key in keys:
            shard, row = self._places[key]
            precision.update(self._shards[shard].precision)
            tokens = slice(*self._shards[shard].starts[row : row + 2])
            start_logits.append(self._shards[shard].start_logits[tokens])
            end_logits.append(self._shards[shard].end_logits[tokens])
        return Rows(
            keys=np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1),
            starts=np.concatenate([[0], np.cumsum([len(row) for row in start_logits])]).astype(np.int64),
            start_logits=np.concatenate(start_logits),
            end_logits=np.concatenate(end_logits),
            precision=tuple(sorted(precision)),
        )


def unique_keys(features: Features) -> dict[bytes, int]:
    """Each different key, in order, with the index of the first window that has it."""
    keys: dict[bytes, int] = {}
    for i, key in enumerate(key_list(features.keys)):
        keys.setdefault(key, i)
    return keys


def chunks(items: list, size: int) -> Iterator[list]:
    """Consecutive stretches of `size` items; the last may be shorter."""
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def write_store(folder: Path, cache: RowCache, splits: dict[str, list[bytes]], shard_size: int) -> None:
    """Write the rows of `splits` from the cache to `folder`: shards of `shard_size` rows of a split, and a manifest.

    A key that occurs in two splits is stored once. The bytes depend on the rows, their order and `shard_size` alone.
    """
    shards, seen = [], set()
    for split, keys in splits.items():
        new = [key for key in keys if key not in seen]
        seen.update(new)
        for chunk in chunks(new, shard_size):
            rows = cache.rows(chunk)
            name = write_shard(folder, cache.identity, rows)
            shards.append({"file": name, "split": split, "rows": len(rows), "precision": rows.precision})
    manifest = {"format": FORMAT, **asdict(cache.identity), "rows": len(seen), "shards": shards}
    _write(folder / MANIFEST, _json(manifest))


class LogitStore:
    """A teacher's folder in data/logits, for reading. Rows of a shard that is missing or damaged count as missing.

    Raises:
        InputError: the manifest is missing, of another format, or made with another tokenizer.
    """

    def __init__(self, folder: Path, tokenizer: str):
        try:
            manifest = _described(Manifest, (folder / MANIFEST).read_bytes(), folder / MANIFEST)
        except FileNotFoundError:
            raise InputError(f"{folder} has no logits; `dvc repro logits` makes it") from None
        except InputError as error:
            raise InputError(f"{error}; `dvc repro logits` makes it anew") from None
        self.identity = manifest.identity
        if self.identity.tokenizer != tokenizer:
            raise InputError(f"{folder} was made with another tokenizer; `dvc repro logits` makes it anew")
        self.folder = folder
        self._shards: list[Rows] = []
        self._faults: list[str] = []
        for shard in manifest.shards:
            try:
                self._shards.append(read_shard(folder / shard.file, self.identity))
            except InputError as error:
                self._faults.append(str(error))
        # rows are numbered through all shards
        self._rows = {key: row for row, key in enumerate(key for shard in self._shards for key in key_list(shard.keys))}
        counts = [len(shard) for shard in self._shards]
        self._first_rows = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._shard_of = np.repeat(np.arange(len(counts)), counts)
        self._lengths = np.concatenate([*(np.diff(shard.starts) for shard in self._shards), [NO_ROW]])

    def __len__(self) -> int:
        return len(self._rows)

    def aligned(self, features: Features, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Start and end logits of every window, each (T,), laid end to end as the features' tokens are.

        Args:
            names: the windows' question ids, for the error.

        Raises:
            InputError: a window has no row, or one of another length; names the first and how many.
        """
        rows = np.array([self._rows.get(key, NO_ROW) for key in key_list(features.keys)])
        missing = np.flatnonzero(self._lengths[rows] != features.lengths)
        if len(missing):
            raise InputError(
                f"{self.folder} has no logits for {len(missing)} of {len(features)} windows, the first of question "
                f"{names[missing[0]]}{''.join(f'; {fault}' for fault in self._faults[:1])}; "
                "`dvc repro logits` computes what is missing"
            )
        start_logits = np.empty(len(features.input_ids), dtype=self.identity.dtype)
        end_logits = np.empty_like(start_logits)
        # windows whose rows follow one another in a shard are copied together
        shards = self._shard_of[rows]
        cuts = np.flatnonzero((np.diff(rows) != 1) | (np.diff(shards) != 0)) + 1
        for begin, past in pairwise([0, *cuts.tolist(), len(rows)]):
            shard, row = self._shards[shards[begin]], rows[begin] - self._first_rows[shards[begin]]
            here = slice(features.starts[begin], features.starts[past])
            there = slice(shard.starts[row], shard.starts[row + past - begin])
            start_logits[here] = shard.start_logits[there]
            end_logits[here] = shard.end_logits[there]
        return start_logits, end_logits


def stores(folder: Path) -> list[Path]:
    """The folders of shards in a folder, data/logits say, which has one a teacher; itself, if it has none."""
    here = (folder / MANIFEST).exists() or (folder / IDENTITY).exists() or not folder.is_dir()
    return ([] if here else sorted(path for path in folder.iterdir() if path.is_dir())) or [folder]


def problems(folder: Path) -> Iterator[str]:
    """Read a whole folder of shards, of data/logits or of the cache; one line for each thing that is wrong.

    Looks for shards that are damaged, missing, foreign or under a wrong name, keys that are missing or doubled, and
    values that are not finite.
    """
    try:
        description = read_description(folder)
    except (InputError, OSError) as error:
        yield str(error)
        return
    there = {path.name for path in shard_files(folder)}
    listed = {}
    if isinstance(description, Manifest):
        listed = {shard.file: shard.rows for shard in description.shards}
        for name in sorted(set(listed) - there):
            yield f"{folder / name}: the manifest names it, and it is not there"
        for name in sorted(there - set(listed)):
            yield f"{folder / name}: the manifest does not name it"
    seen: dict[bytes, str] = {}
    for name in sorted(there):
        try:
            rows = read_shard(folder / name, description.identity)
        except (InputError, OSError) as error:
            yield str(error)
            continue
        expected = listed.get(name, len(rows))
        yield from _row_problems(folder / name, rows, description.identity, expected, seen if listed else {})
    if listed and len(listed) != len(description.shards):
        yield f"{folder / MANIFEST}: names a shard twice"
    if listed and not there ^ set(listed) and len(seen) != description.rows:
        yield f"{folder / MANIFEST}: says {description.rows} rows, there are {len(seen)} different ones"


def _row_problems(path: Path, rows: Rows, identity: Identity, expected: int, seen: dict[bytes, str]) -> Iterator[str]:
    if path.stem != _shard_name(identity, rows):
        yield f"{path}: its name is not the hash of its content"
    if len(rows) != expected:
        yield f"{path}: {len(rows)} rows, the manifest says {expected}"
    for i, key in enumerate(rows.keys):
        name = key.tobytes()
        if name in seen:
            yield f"{path}: key {name.hex()} of row {i} is in {seen[name]} too"
        seen[name] = path.name
        tokens = slice(*rows.starts[i : i + 2])
        if not (np.isfinite(rows.start_logits[tokens]).all() and np.isfinite(rows.end_logits[tokens]).all()):
            yield f"{path}: row {i}, key {name.hex()}, is not finite"

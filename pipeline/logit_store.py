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
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pipeline.errors import InputError
from pipeline.feature_store import Features
from pipeline.files import replacing

FORMAT = 2
TENSORS = ("keys", "starts", "start_logits", "end_logits")
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
        InputError: it is damaged, of another format, or not of this teacher, tokenizer and dtype.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            rows = Rows(**tensors, precision=tuple(header.get("precision", ())))
    except (SafetensorError, OSError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not a shard of logits, or is damaged: {error}") from None
    expected = {"format": FORMAT, **asdict(identity)}
    wrong = [f"{key} is {header.get(key)}, not {value}" for key, value in expected.items() if header.get(key) != value]
    if wrong:
        raise InputError(f"{path} holds other logits: {'; '.join(wrong)}")
    if header.get("checksum") != _checksum(header, rows):
        raise InputError(f"{path} is damaged: its checksum does not fit its content")
    return rows


def count_rows(path: Path) -> int:
    """Rows of a shard, by its header alone."""
    with safe_open(path, framework="numpy") as file:
        return file.get_slice("keys").get_shape()[0]


class RowCache:
    """The rows of one teacher that are kept in a folder, in shards of whatever run wrote them.

    `identity.json` beside the shards says whose they are. A shard that is damaged is deleted with a warning, and so
    its rows are computed again.
    """

    def __init__(self, folder: Path, identity: Identity):
        self.folder = folder / identity.name
        self.identity = identity
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / IDENTITY, _json(asdict(identity)))
        self._shards: list[Rows] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                self._remember(read_shard(path, identity))
            except InputError as error:
                print(f"warning: {error}; its rows are computed again", file=sys.stderr)
                path.unlink()

    def _remember(self, rows: Rows) -> None:
        for i, key in enumerate(rows.keys):
            self._places[key.tobytes()] = (len(self._shards), i)
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
        for path in sorted(folder.glob("*.safetensors")):
            try:
                rows = read_shard(path, self.identity)
            except InputError:
                continue
            if not all(key.tobytes() in self for key in rows.keys):
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
    for i, key in enumerate(features.keys):
        keys.setdefault(key.tobytes(), i)
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
    """A teacher's folder in data/logits, for reading.

    Raises:
        InputError: the manifest is missing, of another format, or made with another tokenizer; a shard is missing
            or damaged.
    """

    def __init__(self, folder: Path, tokenizer: str):
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError) as error:
            raise InputError(f"{folder} is not a store of logits ({error}); `dvc repro logits` makes it") from None
        if manifest.get("format") != FORMAT:
            raise InputError(f"{folder} is not of format {FORMAT}; `dvc repro logits` makes it anew")
        self.identity = Identity(**{key: manifest[key] for key in ("teacher", "tokenizer", "dtype")})
        if self.identity.tokenizer != tokenizer:
            raise InputError(f"{folder} was made with another tokenizer; `dvc repro logits` makes it anew")
        self.folder = folder
        self._shards = [read_shard(folder / shard["file"], self.identity) for shard in manifest["shards"]]
        self._places = {
            key.tobytes(): (s, i) for s, shard in enumerate(self._shards) for i, key in enumerate(shard.keys)
        }

    def __len__(self) -> int:
        return len(self._places)

    def aligned(self, features: Features, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Start and end logits of every window, each (T,), laid end to end as the features' tokens are.

        Args:
            names: the windows' question ids, for the error.

        Raises:
            InputError: a window has no row, or one of another length; names the first and how many.
        """
        start_logits = np.empty(len(features.input_ids), dtype=self.identity.dtype)
        end_logits = np.empty_like(start_logits)
        missing = []
        for i, key in enumerate(features.keys):
            shard, row = self._places.get(key.tobytes(), (None, None))
            tokens = features.tokens(i)
            there = slice(*self._shards[shard].starts[row : row + 2]) if shard is not None else slice(0, 0)
            if there.stop - there.start != tokens.stop - tokens.start:
                missing.append(names[i])
                continue
            start_logits[tokens] = self._shards[shard].start_logits[there]
            end_logits[tokens] = self._shards[shard].end_logits[there]
        if missing:
            raise InputError(
                f"{self.folder} has no logits for {len(missing)} of {len(features)} windows, the first of question "
                f"{missing[0]}; `dvc repro logits` computes them"
            )
        return start_logits, end_logits


def stores(folder: Path) -> list[Path]:
    """The folders of shards in a folder, data/logits say, which has one a teacher; itself, if it has none."""
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST}")) or [folder]


def problems(folder: Path) -> Iterator[str]:
    """Read a whole folder of shards, of data/logits or of the cache; one line for each thing that is wrong.

    Looks for shards that are damaged, missing, foreign or under a wrong name, keys that are missing or doubled, and
    values that are not finite.
    """
    try:
        described = folder / MANIFEST if (folder / MANIFEST).exists() else folder / IDENTITY
        description = json.loads(described.read_text(encoding="utf-8"))
        identity = Identity(**{key: description[key] for key in ("teacher", "tokenizer", "dtype")})
    except (OSError, KeyError, json.JSONDecodeError) as error:
        yield f"{folder}: no {MANIFEST} or {IDENTITY} that can be read ({error})"
        return
    there = {path.name for path in folder.glob("*.safetensors")}
    listed = {shard["file"]: shard["rows"] for shard in description["shards"]} if "shards" in description else {}
    for name in sorted(set(listed) - there):
        yield f"{folder / name}: the manifest names it, and it is not there"
    if "shards" in description:
        for name in sorted(there - set(listed)):
            yield f"{folder / name}: the manifest does not name it"
    seen: dict[bytes, str] = {}
    for name in sorted(there):
        try:
            rows = read_shard(folder / name, identity)
        except InputError as error:
            yield str(error)
            continue
        yield from _row_problems(folder / name, rows, identity, listed.get(name, len(rows)), seen if listed else {})
    if listed and not there ^ set(listed) and len(seen) != description["rows"]:
        yield f"{described}: says {description['rows']} rows, there are {len(seen)} different ones"


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

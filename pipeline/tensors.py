"""Safetensors files that are memory-mapped: read without a copy, or written in parts, in any order."""

import json
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import safe_open

# numpy's name of each element type that the project stores, in the order in which safetensors stores them
DTYPES = {"I64": "int64", "F32": "float32", "I32": "int32", "F16": "float16", "U8": "uint8"}
Layout = dict[str, tuple[str, tuple[int, ...]]]


def map_tensors(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The metadata of a safetensors file and its tensors, as read-only arrays mapped from the file.

    Raises:
        SafetensorError: the header is damaged, or does not fit the size of the file.
        TypeError: a tensor has an element type that is not in `DTYPES`.
    """
    with safe_open(path, framework="numpy") as file:  # checks the header
        metadata = file.metadata() or {}
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    begin, tensors = _header(mapped)
    return metadata, _arrays(mapped, begin, tensors)


@contextmanager
def mapped_writer(
    path: Path, layout: Layout, metadata: dict[str, str] | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Yield writable arrays, zeros at first, that are mapped to a new safetensors file.

    The file has the bytes that `safetensors.numpy.save_file` writes for the same tensors and at most one entry of
    metadata.

    Args:
        layout: the dtype and shape of each tensor, by its name.
    """
    header = _encoded(layout, metadata)
    with open(path, "w+b") as file:
        file.write(header)
        size = len(header) + sum(_bytes(*tensor) for tensor in layout.values())
        if hasattr(os, "posix_fallocate"):  # where the disk is full, this raises; a write to the mapping would kill
            os.posix_fallocate(file.fileno(), 0, size)
        file.truncate(size)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0)
    yield _arrays(mapped, *_header(mapped))
    mapped.flush()


def _header(mapped: mmap.mmap) -> tuple[int, dict[str, dict]]:
    """Where the data of a safetensors file begin, and the header's entries for its tensors."""
    (length,) = struct.unpack("<Q", mapped[:8])
    header = json.loads(mapped[8 : 8 + length])
    header.pop("__metadata__", None)
    return 8 + length, header


def _arrays(mapped: mmap.mmap, begin: int, tensors: dict[str, dict]) -> dict[str, np.ndarray]:
    unknown = sorted({tensor["dtype"] for tensor in tensors.values()} - set(DTYPES))
    if unknown:
        raise TypeError(f"element type {unknown[0]} is not one of {', '.join(DTYPES)}")
    return {
        name: np.ndarray(tensor["shape"], DTYPES[tensor["dtype"]], mapped, begin + tensor["data_offsets"][0])
        for name, tensor in tensors.items()
    }


def _encoded(layout: Layout, metadata: dict[str, str] | None) -> bytes:
    """The header as safetensors writes it: tensors by element type, then by name; padded to a multiple of 8 bytes."""
    names = {numpy: name for name, numpy in DTYPES.items()}
    order = list(names)
    header: dict = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, (dtype, shape) in sorted(layout.items(), key=lambda item: (order.index(item[1][0]), item[0])):
        end = offset + _bytes(dtype, shape)
        header[name] = {"dtype": names[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _bytes(dtype: str, shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize

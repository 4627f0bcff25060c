"""Safetensors files larger than memory: written in parts, and mapped instead of loaded."""

import json
import mmap
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

LENGTH = 8  # bytes before the header: its length
# in the order of tensors in a file: wide ones first, so that all are aligned
DTYPES = {"I64": "<i8", "F64": "<f8", "F32": "<f4", "I32": "<i4", "F16": "<f2", "U8": "|u1"}
NAMES = {np.dtype(code): name for name, code in DTYPES.items()}


class Tensor(NamedTuple):
    """A tensor to write: its type, its shape, and parts of it along the first axis, which are read once."""

    dtype: np.dtype
    shape: tuple[int, ...]
    parts: Iterable[np.ndarray]


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors part by part. The bytes are those of `safetensors.numpy.save_file` for the whole tensors.

    Raises:
        ValueError: the parts of a tensor do not add up to its shape.
    """
    ordered = sorted(tensors.items(), key=lambda item: (list(NAMES).index(item[1].dtype), item[0]))
    header, end = {}, 0
    for name, (dtype, shape, _) in ordered:
        begin, end = end, end + dtype.itemsize * prod(shape)
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(LENGTH, "little") + text)
        for name, (dtype, _, parts) in ordered:
            for part in parts:
                file.write(np.ascontiguousarray(part, dtype=dtype).data)
            if file.tell() != LENGTH + len(text) + header[name]["data_offsets"][1]:
                raise ValueError(f"the parts of {name} have other sizes in all than {header[name]['shape']}")


def map_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file as read-only arrays that are mapped, not loaded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a safetensors file with tensors of `DTYPES`, or its header does not fit its size.
    """
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        size = path.stat().st_size - LENGTH - length
        if size < 0:
            raise ValueError("the file is shorter than its header says")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            places = {name: _place(values, size) for name, values in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the header is damaged: {error}") from None
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = LENGTH + length
    return {
        name: np.frombuffer(content, dtype, prod(shape), start + begin).reshape(shape)
        for name, (dtype, shape, begin) in places.items()
    }


def _place(values: dict, size: int) -> tuple[np.dtype, tuple[int, ...], int]:
    """The type, the shape and the first byte of a tensor, from its entry in the header.

    Args:
        size: bytes of all tensors.

    Raises:
        ValueError, KeyError, TypeError: the entry is not one of a tensor in the file.
    """
    dtype, shape = np.dtype(DTYPES[values["dtype"]]), tuple(values["shape"])
    begin, end = values["data_offsets"]
    fits = 0 <= begin <= end <= size and all(isinstance(each, int) and each >= 0 for each in shape)
    if not fits or end - begin != dtype.itemsize * prod(shape):
        raise ValueError(f"{values} does not fit {size} bytes")
    return dtype, shape, begin

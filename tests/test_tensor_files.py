import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipeline.tensor_files import Tensor, map_tensors, write_tensors

RNG = np.random.default_rng(0)
ARRAYS = {
    "zebra": RNG.integers(0, 2**40, 7),
    "bytes": RNG.integers(0, 255, (5, 3), dtype=np.uint8),
    "ant": RNG.integers(0, 99, (4, 2), dtype=np.int32),
    "half": RNG.standard_normal(9).astype(np.float16),
    "empty": np.zeros((0, 2), dtype=np.int32),
    "wide": RNG.standard_normal((2, 3)),
    "single": RNG.standard_normal(3).astype(np.float32),
}


def tensors(size):
    """The arrays as tensors to write, in parts of this many rows."""
    return {
        name: Tensor(array.dtype, array.shape, [array[i : i + size] for i in range(0, len(array), size)])
        for name, array in ARRAYS.items()
    }


@pytest.mark.parametrize("size", [1, 2, 100])
def test_the_bytes_are_those_of_save_file(tmp_path, size):
    save_file(ARRAYS, tmp_path / "whole")
    write_tensors(tensors(size), tmp_path / "parts")
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()


def test_parts_that_are_too_small_raise(tmp_path):
    with pytest.raises(ValueError, match="ant"):
        write_tensors({"ant": Tensor(np.dtype(np.int32), (5, 2), [ARRAYS["ant"]])}, tmp_path / "parts")


def test_mapped_tensors_are_those_of_load_file_and_read_only(tmp_path):
    save_file(ARRAYS, tmp_path / "file", {"about": "metadata"})
    mapped, loaded = map_tensors(tmp_path / "file"), load_file(tmp_path / "file")
    assert mapped.keys() == loaded.keys()
    for name, array in mapped.items():
        np.testing.assert_array_equal(array, loaded[name], strict=True)
        assert not array.flags.writeable and array.ctypes.data % array.itemsize == 0


def changed(**values):
    """A function that changes the entry of a tensor in a file's header; the header keeps its length."""

    def change(content):
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        header["ant"] |= values
        text = json.dumps(header, separators=(",", ":")).encode()
        return content[:8] + text.ljust(length) + content[8 + length :]

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: content[:5],
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: (2**63).to_bytes(8, "little") + content[8:],
        lambda content: content[:8] + b"[" + content[9:],
        lambda content: content[:8] + b"\xff" + content[9:],
        changed(dtype="I65"),
        changed(dtype="I64"),
        changed(shape=[2, 4, 1, 2]),
        changed(shape=[-4, -2]),
        changed(shape=None),
        changed(data_offsets=[-8, 24]),
        changed(data_offsets=[1]),
    ],
)
def test_a_damaged_header_raises_one_error(tmp_path, change):
    arrays = {"ant": ARRAYS["ant"], "zebra": ARRAYS["zebra"], "z" * 40: ARRAYS["bytes"]}
    save_file(arrays, tmp_path / "file", {"room": " " * 40})
    (tmp_path / "file").write_bytes(change((tmp_path / "file").read_bytes()))
    with pytest.raises(ValueError, match="header"):
        map_tensors(tmp_path / "file")

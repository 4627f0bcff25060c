import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from pipeline.tensors import map_tensors, mapped_writer


def tensors():
    rng = np.random.default_rng(0)
    return {
        "starts": np.array([0, 3, 7], dtype=np.int64),
        "ids": rng.integers(0, 9, 7).astype(np.int32),
        "Bytes": rng.integers(0, 256, (7, 3)).astype(np.uint8),
        "low": rng.standard_normal(7).astype(np.float16),
        "zero": rng.standard_normal(7).astype(np.float32),
        "none": np.zeros((0, 2), dtype=np.int32),
    }


@pytest.mark.parametrize("metadata", [None, {"span_distill": '{"a": "é"}'}])
def test_writes_the_bytes_of_safetensors(tmp_path, metadata):
    expected = tensors()
    save_file(expected, tmp_path / "saved", metadata=metadata)
    layout = {name: (str(array.dtype), array.shape) for name, array in expected.items()}
    with mapped_writer(tmp_path / "mapped", layout, metadata) as arrays:
        for name in reversed(expected):
            arrays[name][...] = expected[name]
    assert (tmp_path / "mapped").read_bytes() == (tmp_path / "saved").read_bytes()


def test_maps_what_safetensors_wrote(tmp_path):
    expected = tensors()
    save_file(expected, tmp_path / "saved", metadata={"key": "value"})
    metadata, mapped = map_tensors(tmp_path / "saved")
    assert metadata == {"key": "value"} and set(mapped) == set(expected)
    for name, array in expected.items():
        assert mapped[name].dtype == array.dtype and np.array_equal(mapped[name], array)
        assert not mapped[name].flags.writeable and mapped[name].base is not None


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_refuses_a_truncated_file(tmp_path, keep):
    save_file(tensors(), tmp_path / "saved")
    content = (tmp_path / "saved").read_bytes()
    (tmp_path / "saved").write_bytes(content[:keep])
    with pytest.raises(SafetensorError):
        map_tensors(tmp_path / "saved")


def test_refuses_other_element_types(tmp_path):
    save_file({"wide": np.zeros(2)}, tmp_path / "saved")
    with pytest.raises(TypeError, match="F64"):
        map_tensors(tmp_path / "saved")

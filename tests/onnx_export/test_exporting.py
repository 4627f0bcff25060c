import numpy as np
import onnx_ir
import onnxruntime
import pytest
import torch

from pipeline.models.heads import HEADS
from pipeline.onnx_export import exporting
from pipeline.onnx_export.lstm import exportable
from pipeline.onnx_export.session import OUTPUTS, OnnxStudent
from tests.onnx_export import students
from tests.words import refused


def batch(size, length, segments):
    """Rows of random tokens; the first has no padding, the others have some."""
    rng = np.random.default_rng(size * length)
    lengths = np.array([length, *rng.integers(3, length + 1, size - 1)])
    mask = torch.from_numpy((np.arange(length) < lengths[:, None]).astype(np.int64))
    inputs = {"input_ids": torch.from_numpy(rng.integers(5, students.VOCABULARY, (size, length))) * mask}
    inputs["attention_mask"] = mask
    return {**inputs, "token_type_ids": (torch.arange(length) >= 3) * mask} if segments else inputs


def largest_difference(student, exported, inputs):
    """Over the tokens, as a share of the largest logit."""
    tokens = inputs["attention_mask"].bool()
    with torch.inference_mode():
        expected, found = student(**inputs), exported(**inputs)
    pairs = [(getattr(expected, name)[tokens], getattr(found, name)[tokens]) for name in OUTPUTS]
    return max(float((a - b).abs().max()) for a, b in pairs) / max(float(a.abs().max()) for a, _ in pairs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "encoder"),
    [*((head, "embeddings") for head in HEADS), *(("linear", name) for name in ("bert", "distilbert", "roberta"))],
)
def test_an_exported_student_has_the_students_logits_in_every_batch(head, encoder, tmp_path):
    student = students.student(head, encoder)
    path = tmp_path / "model.onnx"
    onnx_ir.save(exporting.export(student), path)
    session = onnxruntime.InferenceSession(path)
    segments = ["token_type_ids"] if encoder in ("bert", "embeddings") else []
    assert [value.name for value in session.get_inputs()] == ["input_ids", "attention_mask", *segments]
    assert [value.name for value in session.get_outputs()] == OUTPUTS
    values = [*session.get_inputs(), *session.get_outputs()]
    assert {tuple(value.shape) for value in values} == {("batch", "length")}
    exported = OnnxStudent(path, student.config.encoder_config)
    for size in (1, 3):
        for length in (7, 33, students.LONGEST):
            difference = largest_difference(student, exported, batch(size, length, segments))
            assert difference < 1e-5, (size, length)


def test_the_exportable_form_shares_the_encoder_and_leaves_the_student_as_it_is():
    student = students.student("lstm64x2")
    before = student(**batch(2, 9, True)).start_logits
    twin = exportable(student)
    assert twin.encoder is student.encoder and twin.head.output is student.head.output
    assert twin.head is not student.head
    torch.testing.assert_close(student(**batch(2, 9, True)).start_logits, before, rtol=0, atol=0)
    linear = students.student("linear")
    assert exportable(linear) is linear


def test_what_the_exporter_cannot_trace_is_one_line(monkeypatch):
    def fail(*_):
        raise TypeError("it is\nnot traced" + 1000 * ".")

    monkeypatch.setattr(exporting.OnnxExporter, "export", fail)
    with refused("bert", "exported", "it is not traced") as error:
        exporting.export(students.student("linear"))
    assert len(str(error.value)) < 400


def test_a_student_larger_than_an_onnx_file_is_refused(monkeypatch):
    monkeypatch.setattr(exporting, "LARGEST", 1000)
    with refused("0.0 GB", "2.1"):
        exporting.export(students.student("linear"))


@pytest.mark.parametrize(
    ("cpu", "overflows"),
    [
        ({"architecture": "x86_64", "avx512_vnni": False, "avx_vnni": False}, True),
        ({"architecture": "x86_64", "avx512_vnni": True, "avx_vnni": False}, False),
        ({"architecture": "x86_64", "avx512_vnni": False, "avx_vnni": True}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_8_bit_products_overflow_on_x86_without_vnni(cpu, overflows, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    assert exporting.cpu_overflows() == overflows

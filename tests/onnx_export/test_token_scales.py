"""The int8 program has a scale for each token, and the student is as before."""

import numpy as np
import onnx_ir
import onnxruntime
import pytest
import torch
from torch import nn
from transformers.exporters import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer
from transformers.exporters.configs import ExportFormat

from pipeline.onnx_export.exporting import quiet
from pipeline.onnx_export.token_scales import TokenScaledLinear, with_token_scales
from tests.onnx_export import students


@pytest.mark.parametrize("head", ["linear", "lstm64x2", "cnn357", "mlp"])
def test_the_scaled_student_computes_the_same_with_the_same_weights(head):
    student = students.student(head).eval()
    twin = with_token_scales(student)
    ids = torch.randint(5, 50, (2, 12))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        expected, found = student(**inputs), twin(**inputs)
    torch.testing.assert_close(found.start_logits, expected.start_logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.end_logits, expected.end_logits, rtol=1e-4, atol=1e-5)
    shared = dict(student.named_parameters())
    assert all(weights is shared[name] for name, weights in twin.named_parameters())
    assert sum(isinstance(module, TokenScaledLinear) for module in twin.modules()) >= 6
    assert not any(isinstance(module, TokenScaledLinear) for module in student.modules())


def test_rows_of_zeros_stay_zeros_and_a_layer_may_have_no_bias():
    layer = nn.Linear(4, 3, bias=False)
    expected = layer(torch.eye(4)[:2])
    layer.__class__ = TokenScaledLinear
    torch.testing.assert_close(layer(torch.eye(4)[:2]), expected)
    assert layer(torch.zeros(1, 4)).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.slow
def test_one_large_token_leaves_the_others_exact(tmp_path):
    layer = nn.Linear(64, 64)
    inputs = torch.randn(8, 64)
    inputs[0] *= 1000
    expected = layer(inputs).detach().numpy()[1:]

    def error() -> float:
        config = OnnxRuntimeDynamicConfig(per_channel=True)
        with quiet():
            program = torch.onnx.export(layer, (inputs,), dynamo=True).model
            program = OnnxRuntimeQuantizer(config).quantize(program, {"input": inputs}, ExportFormat.ONNX)
        onnx_ir.save(program, tmp_path / "layer.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "layer.onnx", providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
        return np.abs(found[1:] - expected).max() / np.abs(expected).max()

    assert error() > 0.5
    layer.__class__ = TokenScaledLinear
    assert error() < 0.02

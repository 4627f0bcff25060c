"""The int8 program has a scale for each token, and the student is as before."""

import copy

import numpy as np
import onnx_ir
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn
from transformers.exporters import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer
from transformers.exporters.configs import ExportFormat

from pipeline.onnx_export.exporting import cpu_overflows, quiet
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


@pytest.fixture(scope="module")
def tokens():
    """Eight tokens, (8, 64), of which the first is large, and a layer for them."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 64, generator=generator)
    inputs[0] *= 1000
    layer = nn.Linear(64, 64)
    nn.init.uniform_(layer.weight, -0.125, 0.125, generator=generator)
    return inputs, layer


@pytest.mark.slow
@pytest.mark.parametrize("reduce_range", [False, True], ids=["8 bits", "7 bits"])
def test_one_large_token_leaves_the_others_exact(tokens, reduce_range):
    inputs, layer = tokens
    expected = layer(inputs).detach().numpy()[1:]

    def error(layer_class):
        twin = copy.copy(layer)
        twin.__class__ = layer_class
        config = OnnxRuntimeDynamicConfig(per_channel=True, reduce_range=reduce_range)
        with quiet():
            program = torch.onnx.export(twin, (inputs,), dynamo=True).model
            program = OnnxRuntimeQuantizer(config).quantize(program, {"input": inputs}, ExportFormat.ONNX)
        program = onnx_ir.to_proto(program)
        feed = {program.graph.input[0].name: inputs.numpy()}
        (found,) = ReferenceEvaluator(program).run(None, feed)  # on every CPU
        if reduce_range or not cpu_overflows():
            session = onnxruntime.InferenceSession(program.SerializeToString(), providers=["CPUExecutionProvider"])
            np.testing.assert_allclose(session.run(None, feed)[0], found, rtol=1e-5, atol=1e-5)
        return np.abs(found[1:] - expected).max() / np.abs(expected).max()

    assert error(nn.Linear) > 0.5
    assert error(TokenScaledLinear) < 0.02

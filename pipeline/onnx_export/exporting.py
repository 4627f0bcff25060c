"""A student as an ONNX program, in float32 or int8, by the exporters of transformers."""

import contextlib
import io
import logging
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

import onnx_ir
import torch
from torch.export import Dim
from transformers.exporters import OnnxConfig, OnnxExporter, OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer
from transformers.exporters.configs import ExportFormat

from pipeline.errors import InputError
from pipeline.models.architectures import max_length, uses_segments
from pipeline.models.student import Student
from pipeline.onnx_export.lstm import exportable
from pipeline.onnx_export.token_scales import with_token_scales
from pipeline.pretrained import one_line

AXES = ("batch", "length")
LARGEST = 2**31 - 1  # bytes of an ONNX file
SHORTEST = 3  # tokens of a window, at least: [CLS] and two [SEP]; some encoders treat fewer in other ways
SHAPE = (2, 16)  # of the traced batch; a size of 1 would be taken for a constant


def export(student: Student) -> onnx_ir.Model:
    """The student as an ONNX program in float32, for batches of any size and length.

    Inputs: `input_ids`, `attention_mask`, and `token_type_ids` if the encoder has segments, (batch, length) int64.
    Outputs: `start_logits` and `end_logits`, (batch, length) float32.

    Raises:
        InputError: the encoder cannot be exported, or is larger than an ONNX file can be.
    """
    size = sum(weights.nbytes for weights in student.parameters())
    if size > LARGEST:
        raise InputError(f"the student has weights of {size / 1e9:.1f} GB; an ONNX file holds at most 2.1")
    limit = max_length(student)
    length = Dim(AXES[1], min=SHORTEST, max=None if math.isinf(limit) else int(limit))
    inputs = traced_inputs(student)
    config = OnnxConfig(dynamic_shapes={name: {0: Dim(AXES[0]), 1: length} for name in inputs})
    try:
        with quiet():
            program = OnnxExporter().export(exportable(student.eval()), inputs, config).program
    except Exception as error:  # torch raises many types of exceptions
        kind = student.config.encoder_config.model_type
        raise InputError(f"a student of type {kind} cannot be exported: {one_line(error)[:300]}") from None
    name_axes(program)
    return program


def export_int8(student: Student, reduce_range: bool) -> onnx_ir.Model:
    """Like `export`, but with int8 weights, a scale for each channel; activations are quantized at run time, by token.

    Args:
        reduce_range: whether weights have 7 bits; see `cpu_overflows`.
    """
    program = export(with_token_scales(student))
    config = OnnxRuntimeDynamicConfig(per_channel=True, reduce_range=reduce_range)
    with quiet():
        return OnnxRuntimeQuantizer(config).quantize(program, traced_inputs(student), ExportFormat.ONNX)


def cpu_overflows() -> bool:
    """Whether 8-bit products overflow on this CPU: on an x86 CPU without VNNI, two of them are added in 16 bits."""
    cpu = torch.cpu.get_capabilities()
    return cpu.get("architecture") == "x86_64" and not (cpu.get("avx512_vnni") or cpu.get("avx_vnni"))


def traced_inputs(student: Student) -> dict[str, Any]:
    """A small batch; its content does not matter."""
    inputs = {"input_ids": torch.ones(SHAPE, dtype=torch.int64), "attention_mask": torch.ones(SHAPE, dtype=torch.int64)}
    if uses_segments(student):
        inputs["token_type_ids"] = torch.zeros(SHAPE, dtype=torch.int64)
    return inputs


def name_axes(program: onnx_ir.Model) -> None:
    """Replace the names that torch gives to the axes, such as s18, with `AXES`."""
    names = {str(axis): name for axis, name in zip(program.graph.inputs[0].shape or (), AXES, strict=True)}
    nodes = program.graph.all_nodes()
    for value in (*program.graph.inputs, *(output for node in nodes for output in node.outputs)):
        if value.shape is not None:
            value.shape = onnx_ir.Shape([_renamed(axis, names) for axis in value.shape])


def _renamed(axis: Any, names: dict[str, str]) -> int | str | None:
    if isinstance(axis, int) or axis.value is None:
        return axis if isinstance(axis, int) else None
    return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), axis.value)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what the exporters print, log and warn of: their progress, and versions newer than those they know."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)

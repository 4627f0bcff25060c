"""A student whose int8 program has one scale for each token, instead of one for all tokens of a batch."""

import copy

import torch
from torch import Tensor, nn

from pipeline.models.student import Student


def with_token_scales(student: Student) -> Student:
    """A copy of the student that computes the same, with `TokenScaledLinear` layers; shares the student's weights."""
    twin = copy.deepcopy(student, {id(weights): weights for weights in student.parameters()})
    for module in twin.modules():
        if type(module) is nn.Linear:
            module.__class__ = TokenScaledLinear
    return twin


class TokenScaledLinear(nn.Linear):
    """A linear layer that multiplies rows whose largest absolute value is 1, and scales the products back.

    Dynamic quantization in ONNX has one scale for all inputs of a product, so that one token with a large value, which
    encoders often have, leaves the others few levels. When each token's largest value is 1, all tokens use the whole
    range: the scales by token of Dettmers et al. 2022 (LLM.int8()), which onnxruntime has no operator for.
    """

    def forward(self, input: Tensor) -> Tensor:
        largest = input.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(input.dtype).tiny)
        products = nn.functional.linear(input / largest, self.weight) * largest
        return products if self.bias is None else products + self.bias

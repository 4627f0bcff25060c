"""Encoders and question-answering models: loading, initialization, layer selection and fingerprints."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    BertConfig,
    BertForQuestionAnswering,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import ModelOutput, logging

from pipeline import pretrained
from pipeline.errors import InputError
from pipeline.models.architectures import NOT_BY_LAYER, REFUSED, computes_by_position

# amplitude of new position embeddings, in units of the initializer's standard deviation
POSITION_SCALE = 3

# missing weights are checked below and reported in one line
logging.set_verbosity_error()
logging.disable_progress_bar()

# keys that transformers writes into every config.json and that do not change what a model computes
VOLATILE = {"transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype"}


def load_qa_model(
    source: str | Path, revision: str | None = None, trained_output: bool = True, seed: int = 0
) -> PreTrainedModel:
    """A question-answering model with float32 weights, from safetensors only.

    Args:
        source: hub id or model folder.
        trained_output: whether to raise if the model has no weights for its output layer.
        seed: for the initialization of missing weights of the output layer.

    Raises:
        InputError: there is no such model, it does not support question answering or is one of `REFUSED`, its weights
            cannot be loaded, weights of its encoder are missing, or its output layer is not trained.
    """
    folder = pretrained.fetch(source, revision, pretrained.MODEL_FILES)
    config = pretrained.load_config(folder)
    kind = qa_class(config)
    if config.num_labels != 2:  # a classifier's; start and end are two
        config.num_labels = 2
    torch.manual_seed(seed)
    model, missing = pretrained.load_model(kind, config, folder)
    encoder_prefix = model.base_model_prefix + "."
    if [name for name in missing if name.startswith(encoder_prefix)]:
        raise InputError(f"{folder} has no weights for part of its encoder: {pretrained.listed(missing)}")
    if missing and trained_output:
        raise InputError(
            f"{folder} has no trained question-answering output ({', '.join(missing)} missing), its logits would be "
            "random; fine-tune it with teacher.train.epochs of 1 or more, or choose a fine-tuned model"
        )
    return model


def qa_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """The question-answering model of transformers for this config.

    Raises:
        InputError: there is none, or it is one of `REFUSED`.
    """
    if type(config) not in MODEL_FOR_QUESTION_ANSWERING_MAPPING:
        raise InputError(f"transformers has no question-answering model for model_type {config.model_type}")
    if config.model_type in REFUSED:
        raise InputError(
            f"model_type {config.model_type} cannot be used: {REFUSED[config.model_type]}; see docs/models.md"
        )
    kind: Any = MODEL_FOR_QUESTION_ANSWERING_MAPPING[type(config)]
    return kind


def new_qa_model(config: dict[str, Any], vocab_size: int, seed: int) -> PreTrainedModel:
    """A BERT with random weights; `config` has keys of transformers' BertConfig.

    Position embeddings are initialized as sinusoids (Vaswani et al. 2017, section 3.5), which makes attention to
    neighbouring tokens easy to learn. A small model converges in fewer steps than with random position embeddings.

    Raises:
        InputError: a key is unknown or a value is invalid.
    """
    unknown = sorted(set(config) - set(BertConfig().to_dict()))
    if unknown:
        raise InputError(f"teacher.config: transformers' BertConfig has no key {', '.join(unknown)}")
    torch.manual_seed(seed)
    try:
        model = BertForQuestionAnswering(BertConfig(vocab_size=vocab_size, **config))
    except Exception as error:
        raise InputError(f"teacher.config: {error}") from None
    positions = model.bert.embeddings.position_embeddings.weight
    with torch.no_grad():
        positions.copy_(POSITION_SCALE * model.config.initializer_range * sinusoids(*positions.shape))
    return model


def sinusoids(length: int, size: int) -> torch.Tensor:
    """(length, size) sines at even indices and cosines at odd ones, wavelengths from 2 pi to 20,000 pi positions."""
    angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, size, 2) / size)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :size]


def load_encoder(source: str | Path, revision: str | None = None) -> PreTrainedModel:
    """The encoder of a model, without its output layer, which need not be trained; see `load_qa_model`."""
    encoder: Any = load_qa_model(source, revision, trained_output=False).base_model
    return encoder


def keep_layers(encoder: PreTrainedModel, layers: list[int] | None) -> PreTrainedModel:
    """A new encoder with only the given layers of one that is not used again; None keeps all.

    Lists of the config with a value for each layer, such as ModernBERT's `layer_types`, are cut too.

    Args:
        layers: ascending indices, from 0.

    Raises:
        InputError: an index is out of range, the encoder does not have exactly one list of layers, or a layer cannot
            take the place of another.
    """
    if layers is None:
        return encoder
    kind, count = type(encoder).__name__, encoder.config.num_hidden_layers
    stacks = [
        name for name, module in encoder.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    if len(stacks) != 1:
        raise InputError(f"backbone.layers: {kind} has no single list of layers; leave it null")
    if layers[-1] >= count:
        raise InputError(f"backbone.layers {layers}: the encoder has layers 0 to {count - 1}")
    if layers != list(range(len(layers))) and computes_by_position(encoder.config):
        raise InputError(f"backbone.layers {layers}: a layer of {kind} computes by its position; keep the first layers")
    config = _cut_config(encoder.config, layers)
    stack: Any = encoder.get_submodule(stacks[0])
    encoder.set_submodule(stacks[0], nn.ModuleList(stack[i] for i in layers))
    cut: Any = qa_class(config)(config).base_model
    try:
        cut.load_state_dict(encoder.state_dict())
    except RuntimeError as error:
        raise InputError(
            f"backbone.layers {layers}: the layers of {kind} are not alike; keep layer 0 ({pretrained.one_line(error)})"
        ) from None
    return cut


def _cut_config(config: PretrainedConfig, layers: list[int]) -> PretrainedConfig:
    """The config of an encoder with only the given layers."""
    cut = copy.deepcopy(config)
    for key, values in config.to_dict().items():
        if isinstance(values, list) and len(values) == config.num_hidden_layers and key not in VOLATILE | NOT_BY_LAYER:
            setattr(cut, key, [values[i] for i in layers])
    cut.num_hidden_layers = len(layers)
    return pretrained.parse_config(type(config), cut.to_dict(), "backbone.layers")


def bfloat16_encoder(model: PreTrainedModel) -> PreTrainedModel:
    """Convert the encoder to bfloat16 in place, weights and computation; the output layer stays in float32.

    So do the frequencies of rotary positions, as transformers loads them: rounded, a distant token's angle is wrong.
    Other buffers are converted, since some are factors of hidden states (MiniMax).
    """
    frequencies = {name: buffer for name, buffer in model.base_model.named_buffers() if name.endswith("inv_freq")}
    encoder = model.base_model.to(torch.bfloat16)
    for name, buffer in frequencies.items():
        parent, _, own = name.rpartition(".")
        encoder.get_submodule(parent).register_buffer(own, buffer, persistent=False)
    encoder.register_forward_hook(_last_hidden_state_in_float32)
    return model


def _last_hidden_state_in_float32(encoder: nn.Module, inputs: tuple, output: ModelOutput) -> ModelOutput:
    output["last_hidden_state"] = output["last_hidden_state"].float()
    return output


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Turn on gradient checkpointing: the backward pass recomputes activations.

    Raises:
        InputError: the model does not support it.
    """
    try:
        model.activation_checkpointing_enable()
    except ValueError as error:
        raise InputError(f"train.gradient_checkpointing: {error}") from None


def fingerprint(folder: Path) -> str:
    """Hexadecimal SHA-256 of a model folder's config and weights; independent of how the weights are split into files.

    Raises:
        InputError: the config or the weights are damaged.
    """
    values = pretrained.read_config(folder)
    config = {key: value for key, value in values.items() if key not in VOLATILE}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name, path in sorted(pretrained.weight_files(folder).items()):
        with pretrained.open_weights(path, "pt") as file:
            tensor = file.get_tensor(name)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy() if tensor.dim() else tensor.numpy().tobytes())
    return digest.hexdigest()

"""Encoders and question-answering models: loading, initialization, layer selection and fingerprints."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
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
from pipeline.names import HEADS

# amplitude of new position embeddings, in units of the initializer's standard deviation
POSITION_SCALE = 3

# of an encoder's folder: what the model that it was taken from had besides it
HEAD = "head.safetensors"

# missing weights are checked below and reported in one line
logging.set_verbosity_error()
logging.disable_progress_bar()

# keys that transformers writes into every config.json and that do not change what a model computes
VOLATILE = {"transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype"}


class SavedHead(NamedTuple):
    """What a question-answering model has besides its encoder.

    Attributes:
        name: a student's head, one of `names.HEADS`; or else the model's class in transformers.
        weights: by their name in the head; of a class of transformers, by their name in the model.
    """

    name: str
    weights: dict[str, Tensor]


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
    model, missing = _load_qa_model(folder, pretrained.load_config(folder), seed)
    if missing and trained_output:
        raise InputError(
            f"{folder} has no trained question-answering output ({', '.join(missing)} missing), its logits would be "
            "random; fine-tune it with teacher.train.epochs of 1 or more, or choose a fine-tuned model"
        )
    return model


def _load_qa_model(
    folder: Path, config: PretrainedConfig, seed: int = 0, weights: dict[str, Tensor] | None = None
) -> tuple[PreTrainedModel, list[str]]:
    """A question-answering model, and the names of the weights of its output layer that the folder lacks."""
    kind = qa_class(config)
    if config.num_labels != 2:  # a classifier's; start and end are two
        config.num_labels = 2
    torch.manual_seed(seed)
    model, missing = pretrained.load_model(kind, config, folder, weights)
    if [name for name in missing if name.startswith(model.base_model_prefix + ".")]:
        raise InputError(f"{folder} has no weights for part of its encoder: {pretrained.listed(missing)}")
    return model, missing


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


def load_with_head(source: str | Path, revision: str | None = None) -> tuple[PreTrainedModel, SavedHead | None]:
    """The encoder of a model, and its head; None if the model has none that is trained.

    Args:
        source: hub id, or folder of a model of transformers or of a student.

    Raises:
        InputError: as `load_qa_model`.
    """
    folder = pretrained.fetch(source, revision, pretrained.MODEL_FILES)
    config = pretrained.student_encoder_config(folder)
    if config is not None:
        return _split_student(folder, config)
    config = pretrained.load_config(folder)
    is_student, name = hasattr(config, "answering"), getattr(config, "head", "linear")
    for key in ("answering", "head"):  # of a student in the class of its encoder
        if is_student and hasattr(config, key):
            delattr(config, key)
    model, missing = _load_qa_model(folder, config)
    encoder: Any = model.base_model
    prefix = model.base_model_prefix + "."
    weights = {key: weight for key, weight in model.state_dict().items() if not key.startswith(prefix)}
    if missing or not weights:
        return encoder, None
    if is_student:
        return encoder, SavedHead(name, {f"output.{key.rpartition('.')[2]}": w for key, w in weights.items()})
    return encoder, SavedHead(type(model).__name__, weights)


def _split_student(folder: Path, config: PretrainedConfig) -> tuple[PreTrainedModel, SavedHead]:
    """The encoder and the head in the folder of a student, by the prefixes of its tensors."""
    name = pretrained.read_config(folder).get("head")
    if name not in HEADS:
        raise InputError(f"{folder / pretrained.CONFIG}: there is no head {name!r}; the heads are {', '.join(HEADS)}")
    encoder, head = ({}, {})
    for key, weight in pretrained.read_weights(folder).items():
        part, _, inside = key.partition(".")
        (head if part == "head" else encoder)[inside] = weight
    prefix = qa_class(config).base_model_prefix
    model: Any = _load_qa_model(folder, config, weights={f"{prefix}.{key}": w for key, w in encoder.items()})[0]
    return model.base_model, SavedHead(name, head)


def save_head(head: SavedHead, folder: Path) -> None:
    """Save a head beside the encoder in a folder."""
    weights = {name: weight.contiguous() for name, weight in head.weights.items()}
    save_file(weights, folder / HEAD, metadata={"head": head.name})


def read_head(folder: Path) -> SavedHead | None:
    """The head that `save_head` saved in a folder; None if there is none.

    Raises:
        InputError: it is damaged.
    """
    if not (folder / HEAD).exists():
        return None
    with pretrained.open_weights(folder / HEAD, "pt") as file:
        return SavedHead(file.metadata()["head"], {name: file.get_tensor(name) for name in file.keys()})


def layer_stack(encoder: PreTrainedModel, setting: str) -> str:
    """The name of an encoder's list of layers.

    Args:
        setting: the parameter that needs it, for the error.

    Raises:
        InputError: it does not have exactly one.
    """
    count = encoder.config.num_hidden_layers
    stacks = [
        name for name, module in encoder.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    if len(stacks) != 1:
        raise InputError(f"{setting}: {type(encoder).__name__} has no single list of layers; leave it null")
    return stacks[0]


def keep_layers(
    encoder: PreTrainedModel, layers: list[int] | None, setting: str = "backbone.layers"
) -> PreTrainedModel:
    """A new encoder with only the given layers of one that is not used again; None keeps all.

    Lists of the config with a value for each layer, such as ModernBERT's `layer_types`, are cut too.

    Args:
        layers: ascending indices, from 0.
        setting: the parameter that has them, for errors.

    Raises:
        InputError: an index is out of range, the encoder does not have exactly one list of layers, or a layer cannot
            take the place of another.
    """
    if layers is None:
        return encoder
    kind, count, name = type(encoder).__name__, encoder.config.num_hidden_layers, layer_stack(encoder, setting)
    if layers[-1] >= count:
        raise InputError(f"{setting} {layers}: the encoder has layers 0 to {count - 1}")
    if layers != list(range(len(layers))) and computes_by_position(encoder.config):
        raise InputError(f"{setting} {layers}: a layer of {kind} computes by its position; keep the first layers")
    config = _cut_config(encoder.config, layers)
    stack: Any = encoder.get_submodule(name)
    encoder.set_submodule(name, nn.ModuleList(stack[i] for i in layers))
    cut: Any = qa_class(config)(config).base_model
    try:
        cut.load_state_dict(encoder.state_dict())
    except RuntimeError as error:
        raise InputError(
            f"{setting} {layers}: the layers of {kind} are not alike; keep layer 0 ({pretrained.one_line(error)})"
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

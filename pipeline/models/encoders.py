"""Encoders and question-answering models: by hub id, from a folder, or new; picking layers; fingerprints."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoModelForQuestionAnswering, BertConfig, BertForQuestionAnswering, PreTrainedModel
from transformers.utils import ModelOutput, logging

from pipeline.errors import InputError
from pipeline.questions.features import Features

# amplitude of new position embeddings, in standard deviations of the other new weights
POSITION_SCALE = 3

# what a load did not find is checked below, and said in one line
logging.set_verbosity_error()
logging.disable_progress_bar()

# written by the library into every config.json; not part of what a model computes
VOLATILE = {"transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype"}


def load_qa_model(
    source: str | Path, revision: str | None = None, trained_output: bool = True, seed: int = 0
) -> PreTrainedModel:
    """A question-answering model with float32 weights, from safetensors only.

    Args:
        trained_output: refuse a model that brings no weights for its output layer.
        seed: of the output layer where it brings none.

    Raises:
        InputError: there is no such model, it is not one for question answering, its weights are not safetensors, or
            its output layer is not trained.
    """
    torch.manual_seed(seed)
    try:
        model, info = AutoModelForQuestionAnswering.from_pretrained(
            source, revision=revision, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # the library and the hub raise many kinds, and all of them mean that there is none
        raise InputError(f"no question-answering model with safetensors weights in {source}: {error}") from None
    encoder_prefix = model.base_model_prefix + "."
    missing = sorted(info["missing_keys"])
    if [name for name in missing if name.startswith(encoder_prefix)]:
        raise InputError(f"{source} lacks weights of its encoder: {', '.join(missing[:5])}")
    if missing and trained_output:
        raise InputError(
            f"{source} has no trained question-answering output ({', '.join(missing)} missing), its logits would be "
            "noise; fine-tune it with teacher.train.epochs of 1 or more, or name a model that is fine-tuned"
        )
    return model


def new_qa_model(config: dict[str, Any], vocab_size: int, seed: int) -> PreTrainedModel:
    """A BERT with random weights; `config` holds keys of transformers' BertConfig.

    Its position embeddings start as sinusoids (Vaswani et al. 2017, section 3.5), from where attention to neighbours
    is near: a small model learns far sooner which words stand beside an answer than from random positions.

    Raises:
        InputError: a key is unknown or its value impossible.
    """
    unknown = sorted(set(config) - set(BertConfig().to_dict()))
    if unknown:
        raise InputError(f"teacher.config: {', '.join(unknown)} is not a key of transformers' BertConfig")
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
    """(length, size) sines in even places and cosines in odd ones, of wavelengths from 2 pi to 20,000 pi positions."""
    angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, size, 2) / size)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :size]


def keep_layers(encoder: PreTrainedModel, layers: list[int] | None) -> PreTrainedModel:
    """The encoder with only the named layers, counted from 0, in their order; all of them for None.

    Raises:
        InputError: it has no such layer, or no list of layers to pick from.
    """
    if layers is None:
        return encoder
    count = encoder.config.num_hidden_layers
    stacks = [
        (parent, name)
        for parent in encoder.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == count
    ]
    if len(stacks) != 1:
        raise InputError(f"backbone.layers: {type(encoder).__name__} has no single list of layers; leave it null")
    if layers[-1] >= count:
        raise InputError(f"backbone.layers {layers}: the encoder has layers 0 to {count - 1}")
    parent, name = stacks[0]
    stack = getattr(parent, name)
    setattr(parent, name, nn.ModuleList(stack[i] for i in layers))
    encoder.config.num_hidden_layers = len(layers)
    return encoder


def bfloat16_encoder(model: PreTrainedModel) -> PreTrainedModel:
    """The model with its encoder's weights and computation in bfloat16, and its output layer in float32, in place."""
    encoder = model.base_model.to(torch.bfloat16)
    encoder.register_forward_hook(_last_hidden_state_in_float32)
    return model


def _last_hidden_state_in_float32(encoder: nn.Module, inputs: tuple, output: ModelOutput) -> ModelOutput:
    output["last_hidden_state"] = output["last_hidden_state"].float()
    return output


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Have the backward pass compute activations again.

    Raises:
        InputError: the model cannot.
    """
    try:
        model.activation_checkpointing_enable()
    except ValueError as error:
        raise InputError(f"train.gradient_checkpointing: {error}") from None


def refuse_unreadable(model: PreTrainedModel, features: Features) -> None:
    """Refuse windows that a model cannot read.

    Raises:
        InputError: one has more tokens than the model has positions, or a token that the model does not know.
    """
    positions = [
        module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding)
    ]
    longest = int(features.lengths.max())
    if positions and longest > min(positions):
        raise InputError(
            f"a window has {longest} tokens, {type(model).__name__} has positions for {min(positions)}; lower "
            "tokenize.max_length"
        )
    highest, known = int(features.input_ids.max()), model.get_input_embeddings().num_embeddings
    if highest >= known:
        raise InputError(
            f"a window has token {highest}, {type(model).__name__} knows {known}; its tokenizer is not its own"
        )


def uses_segments(model: PreTrainedModel) -> bool:
    """Whether the model has embeddings for segment ids (BERT has, DistilBERT and RoBERTa have not)."""
    config = getattr(model.config, "encoder_config", model.config)
    return getattr(config, "type_vocab_size", 0) > 1


def fingerprint(folder: Path) -> str:
    """Hexadecimal SHA-256 over a model folder's config and weights, whatever files the weights are split into.

    Raises:
        InputError: its config or its weights cannot be read.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder / 'config.json'} is damaged: {error}") from None
    config = {key: value for key, value in config.items() if key not in VOLATILE}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    files = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                files |= dict.fromkeys(file.keys(), path)
        except SafetensorError as error:
            raise InputError(f"{path} is damaged: {error}") from None
    for name in sorted(files):
        with safe_open(files[name], framework="pt") as file:
            tensor = file.get_tensor(name)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy() if tensor.dim() else tensor.numpy().tobytes())
    return digest.hexdigest()

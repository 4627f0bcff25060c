"""Encoders and question-answering models: loading, initialization, layer selection and fingerprints."""

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
        InputError: there is no such model, it does not support question answering, its weights are not safetensors,
            weights of its encoder are missing, or its output layer is not trained.
    """
    torch.manual_seed(seed)
    try:
        model, info = AutoModelForQuestionAnswering.from_pretrained(
            source, revision=revision, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # transformers and the hub raise many types; all mean that loading failed
        raise InputError(f"no question-answering model with safetensors weights in {source}: {error}") from None
    encoder_prefix = model.base_model_prefix + "."
    missing = sorted(info["missing_keys"])
    if [name for name in missing if name.startswith(encoder_prefix)]:
        raise InputError(f"{source} has no weights for part of its encoder: {', '.join(missing[:5])}")
    if missing and trained_output:
        raise InputError(
            f"{source} has no trained question-answering output ({', '.join(missing)} missing), its logits would be "
            "random; fine-tune it with teacher.train.epochs of 1 or more, or choose a fine-tuned model"
        )
    return model


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


def keep_layers(encoder: PreTrainedModel, layers: list[int] | None) -> PreTrainedModel:
    """The encoder with only the given layers, changed in place; None keeps all.

    Args:
        layers: ascending indices, from 0.

    Raises:
        InputError: an index is out of range, or the encoder does not have exactly one list of layers.
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
    """Convert the encoder to bfloat16 in place, weights and computation; the output layer stays in float32."""
    encoder = model.base_model.to(torch.bfloat16)
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


def check_windows(model: PreTrainedModel, features: Features) -> None:
    """Check that a model can process all windows.

    Raises:
        InputError: a window has more tokens than the model has positions, or a token outside the model's vocabulary.
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
    highest, vocabulary = int(features.input_ids.max()), model.get_input_embeddings().num_embeddings
    if highest >= vocabulary:
        raise InputError(
            f"a window has token {highest}, the vocabulary of {type(model).__name__} has {vocabulary}; the "
            "tokenizer belongs to another model"
        )


def uses_segments(model: PreTrainedModel) -> bool:
    """Whether the model has embeddings for segment ids: BERT does, DistilBERT and RoBERTa do not."""
    config = getattr(model.config, "encoder_config", model.config)
    return getattr(config, "type_vocab_size", 0) > 1


def fingerprint(folder: Path) -> str:
    """Hexadecimal SHA-256 of a model folder's config and weights; independent of how the weights are split into files.

    Raises:
        InputError: the config or the weights are damaged.
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

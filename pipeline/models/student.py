"""The student: an encoder and a span head in one model, saved and loaded as a transformers model folder.

A student with the linear head whose encoder's own question-answering class is that encoder and one linear layer is
saved as this class, so that transformers loads it without this package. Every other student is saved as a `Student`.
Importing this module registers it with transformers' `AutoConfig` and `AutoModelForQuestionAnswering`.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForQuestionAnswering, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from pipeline import pretrained
from pipeline.checksums import intact
from pipeline.errors import InputError
from pipeline.models.architectures import made_inputs
from pipeline.models.encoders import SavedHead, qa_class
from pipeline.models.heads import HEADS


@dataclass(frozen=True)
class Answering:
    """How a student answers questions.

    Attributes:
        max_length, stride: of windows, in tokens.
        max_answer_length: in tokens.
        null_threshold: a question has no answer if its null odds (see `scores.null_threshold`) are above it; None if
            every question has an answer.
        confidence_temperature: see `scores.confidence`.
    """

    max_length: int
    stride: int
    max_answer_length: int
    null_threshold: float | None
    confidence_temperature: float


class StudentConfig(PretrainedConfig):
    """The config of the encoder, the name of the head, and how questions are answered.

    Attributes:
        answering: the values of an `Answering`; empty for a new student.
    """

    model_type = pretrained.STUDENT
    # pyrefly: ignore [bad-override]  transformers' own classes have AutoConfig here
    sub_configs = {"encoder_config": AutoConfig}

    def __init__(
        self,
        encoder_config: PretrainedConfig | dict | None = None,
        head: str = "linear",
        answering: dict[str, Any] | None = None,
        **kwargs,
    ):
        if isinstance(encoder_config, dict):
            encoder_config = AutoConfig.for_model(**encoder_config)
        self.encoder_config = encoder_config
        self.head = head
        self.answering = answering or {}
        super().__init__(**kwargs)


class Student(PreTrainedModel):
    """An encoder with a span head; same interface as the question-answering models of transformers."""

    config_class = StudentConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: StudentConfig):
        super().__init__(config)
        encoder: Any = config.encoder_config
        # question-answering models build their encoder without a pooler, which span heads do not use
        self.encoder = qa_class(encoder)(encoder).base_model
        self.head = HEADS[config.head](encoder.hidden_size)
        self.post_init()

    @classmethod
    def from_encoder(cls, encoder: PreTrainedModel, head: str, seed: int, saved: SavedHead | None = None) -> "Student":
        """A student with the weights of a trained encoder and a new head, initialized from the seed.

        Args:
            saved: the head's weights, if it has the same name; another head is ignored.
        """
        torch.manual_seed(seed)
        student = cls(StudentConfig(encoder.config, head))
        student.encoder.load_state_dict(encoder.state_dict())
        if saved and saved.name == head:
            student.head.load_state_dict(saved.weights)
        return student

    @classmethod
    def load(cls, folder: Path) -> "Student":
        """The student that `save_pretrained` saved in a folder.

        Raises:
            InputError: there is none, or the config or the weights are damaged, of another model, or incomplete.
        """
        values = pretrained.read_config(folder)
        kind = values.get("model_type")
        if kind != StudentConfig.model_type and "answering" not in values:
            raise InputError(f"{folder} has no student: its model_type is {kind!r}, and its config has no `answering`")
        if kind != StudentConfig.model_type:
            return cls._from_own_class(folder)
        config = pretrained.parse_config(StudentConfig, values, folder / pretrained.CONFIG)
        student, missing = pretrained.load_model(cls, config, folder)
        _check_complete(folder, missing)
        return student

    @classmethod
    def _from_own_class(cls, folder: Path) -> "Student":
        """The student in a folder that `save_pretrained` wrote as the encoder's question-answering class."""
        config: Any = pretrained.load_config(folder)
        model, missing = pretrained.load_model(qa_class(config), config, folder)
        _check_complete(folder, missing)
        output = output_layer(model)
        if output is None:
            raise InputError(
                f"{folder} has no student: {type(model).__name__} has more than a linear layer as its head"
            )
        encoder = copy.deepcopy(config)
        for name in ("answering", "head"):
            if hasattr(encoder, name):
                delattr(encoder, name)
        student = cls(StudentConfig(encoder, "linear", config.answering))
        student.encoder.load_state_dict(model.base_model.state_dict())
        head: Any = student.head
        head.output.load_state_dict(output.state_dict())
        return student

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Like transformers' own; without other arguments, `load` of a folder that is compared with its checksums."""
        if args or kwargs or not Path(pretrained_model_name_or_path).is_dir():
            kwargs.pop("trust_remote_code", None)
            return super().from_pretrained(pretrained_model_name_or_path, *args, trust_remote_code=False, **kwargs)
        return cls.load(intact(Path(pretrained_model_name_or_path))).eval()

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """Like transformers' own, for the linear head with the class that transformers has for the encoder."""
        own = self.as_own_class()
        if own is None:
            super().save_pretrained(save_directory, *args, **kwargs)
        else:
            own.save_pretrained(save_directory, *args, **kwargs)

    def as_own_class(self) -> PreTrainedModel | None:
        """A copy as the encoder's question-answering class of transformers; None if no such model is this student."""
        config: Any = self.config
        if config.head != "linear":
            return None
        with torch.device("meta"):
            if output_layer(qa_class(config.encoder_config)(config.encoder_config)) is None:
                return None
        encoder = copy.deepcopy(config.encoder_config)
        encoder.head, encoder.answering = config.head, config.answering
        own: Any = qa_class(encoder)(encoder)
        own.base_model.load_state_dict(self.encoder.state_dict())
        head: Any = self.head
        layer: Any = output_layer(own)
        layer.load_state_dict(head.output.state_dict())
        return own.eval()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> QuestionAnsweringModelOutput:
        """Start and end logits, each (B, L), of a batch; the inputs are (B, L) int64."""
        others = made_inputs(self.config.encoder_config, input_ids)
        if token_type_ids is not None:
            others["token_type_ids"] = token_type_ids
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **others)[0]  # (B, L, H)
        start_logits, end_logits = self.head(hidden, attention_mask).unbind(-1)
        return QuestionAnsweringModelOutput(start_logits=start_logits, end_logits=end_logits)


def answering(config: Any, folder: Path) -> Answering:
    """How the student in a folder answers, from its config.

    Raises:
        InputError: the config lacks a value, or has one that cannot be.
    """
    values, where = getattr(config, "answering", None), folder / pretrained.CONFIG
    if not isinstance(values, dict):
        raise InputError(f"{where}: `answering` is {values!r}, and must be an object; train the student again")
    names = [field.name for field in fields(Answering)]
    if missing := [name for name in names if name not in values]:
        raise InputError(f"{where}: `answering` has no {', '.join(missing)}; train the student again")
    found = Answering(**{name: values[name] for name in names})
    for name, (kind, valid, rule) in _rules(found).items():
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, kind) or not valid(value):
            raise InputError(
                f"{where}: {name} of `answering` is {value!r}, and must be {rule}; train the student again"
            )
    return found


def _rules(settings: Answering) -> dict[str, tuple[Any, Callable[[Any], bool], str]]:
    """The type of each value, a test, and what the test means. A test can use the values before its own."""
    return {
        "max_length": (int, lambda value: value > 0, "a positive whole number"),
        "stride": (int, lambda value: 0 <= value < settings.max_length, "a whole number from 0 to max_length - 1"),
        "max_answer_length": (int, lambda value: value > 0, "a positive whole number"),
        "null_threshold": (
            int | float | None,
            lambda value: value is None or math.isfinite(value),
            "a number, or null if every question has an answer",
        ),
        "confidence_temperature": (int | float, lambda value: 0 < value < math.inf, "a positive number"),
    }


def output_layer(model: PreTrainedModel) -> nn.Linear | None:
    """The linear layer that is all of a question-answering model but its encoder; None if it has more than that."""
    prefix = model.base_model_prefix + "."
    own = {name.rpartition(".")[0] for name, _ in model.named_parameters() if not name.startswith(prefix)}
    layer: Any = model.get_submodule(own.pop()) if len(own) == 1 else None
    fits = isinstance(layer, nn.Linear) and layer.out_features == 2 and layer.bias is not None
    return layer if fits else None


def _check_complete(folder: Path, missing: list[str]) -> None:
    if missing:
        raise InputError(f"{folder} has no weights for part of the student: {pretrained.listed(missing)}")


AutoConfig.register(StudentConfig.model_type, StudentConfig)
AutoModelForQuestionAnswering.register(StudentConfig, Student)

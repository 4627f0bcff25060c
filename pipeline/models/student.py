"""The student: an encoder and a span head in one model, saved and loaded as a transformers model folder."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from pipeline import pretrained
from pipeline.errors import InputError
from pipeline.models.encoders import made_inputs, qa_class
from pipeline.models.heads import HEADS


class StudentConfig(PretrainedConfig):
    """The config of the encoder, the name of the head, and when there is no answer.

    `null_threshold`: a question has no answer if its null odds (see `scores.null_threshold`) are above it; None if the
    student was not trained and scored on unanswerable questions, so that every question has an answer.
    """

    model_type = "span_student"
    # pyrefly: ignore [bad-override]  transformers' own classes have AutoConfig here
    sub_configs = {"encoder_config": AutoConfig}

    def __init__(
        self,
        encoder_config: PretrainedConfig | dict | None = None,
        head: str = "linear",
        null_threshold: float | None = None,
        **kwargs,
    ):
        if isinstance(encoder_config, dict):
            encoder_config = AutoConfig.for_model(**encoder_config)
        self.encoder_config = encoder_config
        self.head = head
        self.null_threshold = null_threshold
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
    def from_encoder(cls, encoder: PreTrainedModel, head: str, seed: int) -> "Student":
        """A student with the weights of a trained encoder and a new head, initialized from the seed."""
        torch.manual_seed(seed)
        student = cls(StudentConfig(encoder.config, head))
        student.encoder.load_state_dict(encoder.state_dict())
        return student

    @classmethod
    def load(cls, folder: Path) -> "Student":
        """The student that `save_pretrained` saved in a folder.

        Raises:
            InputError: the config or the weights are damaged, of another model, or incomplete.
        """
        values = pretrained.read_config(folder)
        if values.get("model_type") != StudentConfig.model_type:
            raise InputError(f"{folder} has no student: its model_type is {values.get('model_type')!r}")
        config = pretrained.parse_config(StudentConfig, values, folder / pretrained.CONFIG)
        student, missing = pretrained.load_model(cls, config, folder)
        if missing:
            raise InputError(f"{folder} has no weights for part of the student: {pretrained.listed(missing)}")
        return student

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> QuestionAnsweringModelOutput:
        """Start and end logits, each (B, L), of a batch; the inputs are (B, L) int64."""
        others = made_inputs(self.config.encoder_config, input_ids)
        if token_type_ids is not None:
            others["token_type_ids"] = token_type_ids
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **others)[0]  # (B, L, H)
        start_logits, end_logits = self.head(hidden, attention_mask).unbind(-1)
        return QuestionAnsweringModelOutput(start_logits=start_logits, end_logits=end_logits)

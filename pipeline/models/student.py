"""The student: an encoder and a span head in one model, saved and loaded as a transformers model folder."""

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForQuestionAnswering, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from pipeline.models.heads import HEADS


class StudentConfig(PretrainedConfig):
    """The config of the encoder, the name of the head, and when there is no answer.

    `null_threshold`: a question has no answer if its null odds (see `scores.null_threshold`) are above it; None if the
    student was not trained and scored on unanswerable questions, so that every question has an answer.
    """

    model_type = "span_student"
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
        # question-answering models build their encoder without a pooler, which span heads do not use
        self.encoder = AutoModelForQuestionAnswering.from_config(config.encoder_config).base_model
        self.head = HEADS[config.head](config.encoder_config.hidden_size)
        self.post_init()

    @classmethod
    def from_encoder(cls, encoder: PreTrainedModel, head: str, seed: int) -> "Student":
        """A student with the weights of a trained encoder and a new head, initialized from the seed."""
        torch.manual_seed(seed)
        student = cls(StudentConfig(encoder.config, head))
        student.encoder.load_state_dict(encoder.state_dict())
        return student

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> QuestionAnsweringModelOutput:
        """Start and end logits, each (B, L), of a batch; the inputs are (B, L) int64."""
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **segments)[0]  # (B, L, H)
        start_logits, end_logits = self.head(hidden, attention_mask).unbind(-1)
        return QuestionAnsweringModelOutput(start_logits=start_logits, end_logits=end_logits)

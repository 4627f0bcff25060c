"""A student that answers at random."""

from transformers import BertConfig, BertForQuestionAnswering

from pipeline import paths
from pipeline.checksums import seal
from pipeline.models.student import Student


def write_student(tokenizer, head):
    """Write a student with random weights to data/student, as `train` does."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    encoder = BertForQuestionAnswering(BertConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes)).base_model
    student = Student.from_encoder(encoder, head, seed=0)
    student.config.answering = {
        "max_length": 26,
        "stride": 6,
        "max_answer_length": 8,
        "null_threshold": None,
        "confidence_temperature": 1.5,
    }
    student.save_pretrained(paths.STUDENT)
    tokenizer.save_pretrained(paths.STUDENT)
    seal(paths.STUDENT)

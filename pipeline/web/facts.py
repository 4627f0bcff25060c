"""What the pages say of a student."""

from typing import Any


def facts(config: Any) -> list[str]:
    """The head, if it is a student, and the encoder.

    Args:
        config: of a student, an exported student, or another question-answering model.
    """
    encoder = getattr(config, "encoder_config", config)
    layers, hidden = getattr(encoder, "num_hidden_layers", None), getattr(encoder, "hidden_size", None)
    size = f" with {layers} {'layer' if layers == 1 else 'layers'} of {hidden}" if layers and hidden else ""
    head = getattr(config, "head", None)
    return [*([f"head {head}"] if head else []), f"encoder {encoder.model_type}{size}"]

"""An encoder with the embeddings of some tokens only."""

from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from pipeline import pretrained
from pipeline.errors import InputError
from pipeline.models.encoders import qa_class

SETTING = "tokenize.student_vocabulary"


def keep_tokens(encoder: PreTrainedModel, kept: list[int]) -> PreTrainedModel:
    """A new encoder with the embeddings of some tokens.

    Args:
        kept: the ids of the tokens, ascending; the new ids are 0, 1, ...

    Raises:
        InputError: the encoder does not have one table of embeddings, or counts positions from another padding token.
    """
    embeddings, state = encoder.get_input_embeddings(), encoder.state_dict()
    names = [f"{name}.weight" for name, module in encoder.named_modules() if module is embeddings]
    if len(names) != 1 or names[0] not in state:
        raise InputError(f"{SETTING}: {type(encoder).__name__} has no single table of word embeddings; set it to all")
    state[names[0]] = state[names[0]][kept]
    config = _with_tokens(encoder.config, kept)
    if config.pad_token_id != encoder.config.pad_token_id:
        raise InputError(
            f"{SETTING}: the padding token of {type(encoder).__name__} is {encoder.config.pad_token_id} in its config, "
            "and another in its tokenizer; set it to all"
        )
    cut: Any = qa_class(config)(config).base_model
    cut.load_state_dict(state)
    return cut


def _with_tokens(config: PretrainedConfig, kept: list[int]) -> PretrainedConfig:
    """The config with the new number of tokens, and the new ids of the tokens that it names; None if one is removed."""
    new, values = {old: i for i, old in enumerate(kept)}, config.to_dict()
    values |= {
        key: new.get(value) for key, value in values.items() if key.endswith("_token_id") and isinstance(value, int)
    }
    return pretrained.parse_config(type(config), {**values, "vocab_size": len(kept)}, SETTING)

"""An encoder with the embeddings of some tokens computes what the original does for these."""

import pytest
import torch
from transformers import AutoModel

from pipeline.shrinking.units import FEED_FORWARD
from pipeline.shrinking.vocabulary import keep_tokens
from tests.models import architectures
from tests.models.architectures import CLS, PAD, QUESTION, SEP
from tests.words import refused

KEPT = [CLS, PAD, SEP, QUESTION, 9, 20, 41, 59]


@pytest.mark.parametrize("model_type", sorted(FEED_FORWARD))
def test_the_hidden_states_are_those_of_the_original(model_type, tmp_path):
    encoder = architectures.model(model_type).base_model
    keep_tokens(encoder, KEPT).save_pretrained(tmp_path)
    part = AutoModel.from_pretrained(tmp_path).eval()
    assert part.config.vocab_size == 8 and part.config.pad_token_id == PAD
    new = torch.tensor([[0, 3, 7, 2, 4, 6, 5, 2], [0, 7, 2, 3, 2, 1, 1, 1]])
    mask = (new != PAD).long()
    with torch.inference_mode():
        states = part(input_ids=new, attention_mask=mask)[0]
        expected = encoder.eval()(input_ids=torch.tensor(KEPT)[new], attention_mask=mask)[0]
    torch.testing.assert_close(states[mask.bool()], expected[mask.bool()], rtol=0, atol=1e-6)


def test_the_padding_token_must_keep_its_id():
    with refused("tokenize.student_vocabulary", "padding", str(PAD)):
        keep_tokens(architectures.model("roberta").base_model, [PAD, SEP, 5])

import pytest
from torch import nn

from pipeline.errors import InputError
from pipeline.models import hardware
from pipeline.models.hardware import BATCH_TOKENS_VARIABLE, PRECISION_VARIABLE, batch_tokens, teacher_precision


def test_a_wide_model_gets_smaller_batches_on_a_cpu(monkeypatch):
    monkeypatch.delenv(BATCH_TOKENS_VARIABLE, raising=False)
    budgets = [batch_tokens(nn.Linear(2, width)) for width in (16, 1536, 4096)]
    assert budgets == [2048, 1024, 384]


@pytest.mark.parametrize("value", ["many", "-5", "1e4", "0"])
def test_batch_tokens_must_be_a_whole_number(model, monkeypatch, value):
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, value)
    with pytest.raises(InputError, match=f"SPAN_DISTILL_BATCH_TOKENS is '{value}'; it must be a whole number"):
        batch_tokens(model)


def test_the_precision_depends_on_the_environment_variable_or_else_on_the_device(monkeypatch):
    monkeypatch.delenv(PRECISION_VARIABLE, raising=False)
    for native, precision in ((False, "float32"), (True, "bfloat16")):
        monkeypatch.setattr(hardware, "has_bfloat16", lambda native=native: native)
        assert teacher_precision() == precision
    monkeypatch.setenv(PRECISION_VARIABLE, "float32")
    assert teacher_precision() == "float32"
    monkeypatch.setenv(PRECISION_VARIABLE, "half")
    with pytest.raises(InputError, match="SPAN_DISTILL_PRECISION is 'half'; it must be float32 or bfloat16"):
        teacher_precision()

import pytest

from pipeline.comparison import tables


def test_what_rounds_to_0_is_not_negative():
    assert tables._fixed(-0.001, 2, "+") == "+0.00"
    assert (tables._fixed(-1.25, 1), tables._fixed(3.0, 2, "+")) == ("-1.2", "+3.00")


@pytest.mark.parametrize(
    "value, text", [(1.0, "1"), (0.99996, "1"), (0.0312, ".0312"), (0.0001, ".0001"), (1e-9, "<.0001"), (None, "")]
)
def test_no_p_value_is_shown_as_0(value, text):
    assert tables._p_value(value) == text

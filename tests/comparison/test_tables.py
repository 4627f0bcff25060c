import numpy as np
import pandas as pd
import pytest

from pipeline.comparison import tables


def test_what_rounds_to_0_is_not_negative():
    assert tables._fixed(pd.Series([-0.001]), 2, "+").tolist() == ["+0.00"]
    assert tables._fixed(pd.Series([-1.25, np.nan]), 1).tolist() == ["-1.2", ""]
    assert tables._fixed(pd.Series([3.0]), 2, "+").tolist() == ["+3.00"]


@pytest.mark.parametrize(
    "value, text", [(1.0, "1"), (0.99996, "1"), (0.0312, ".0312"), (0.0001, ".0001"), (1e-9, "<.0001"), (np.nan, "")]
)
def test_no_p_value_is_shown_as_0(value, text):
    assert tables._p_values(pd.Series([value])).tolist() == [text]

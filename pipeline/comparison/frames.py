"""Arrow tables as frames, and frames as JSON values."""

from typing import Any

import pandas as pd
import pyarrow as pa


def from_table(table: pa.Table) -> pd.DataFrame:
    """A frame in which integers with missing values stay integers."""
    return table.to_pandas(types_mapper={pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}.get)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries of JSON values; None where a value is missing."""
    rows = frame.astype(object).to_dict("records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows]

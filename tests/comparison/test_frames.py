import json

import pandas as pd
import pyarrow as pa

from pipeline.comparison import frames


def test_integers_with_missing_values_stay_integers():
    frame = frames.from_table(pa.table({"start": pa.array([3, None], pa.int32()), "windows": pa.array([1, 2])}))
    assert frames.records(frame) == [{"start": 3, "windows": 1}, {"start": None, "windows": 2}]
    assert [str(dtype) for dtype in frame.dtypes] == ["Int32", "Int64"]


def test_records_are_json_values():
    frame = pd.DataFrame({"f1": [1.5, float("nan")], "name": ["a", None], "n": [1, 2], "right": [True, False]})
    assert json.loads(json.dumps(frames.records(frame))) == [
        {"f1": 1.5, "name": "a", "n": 1, "right": True},
        {"f1": None, "name": None, "n": 2, "right": False},
    ]

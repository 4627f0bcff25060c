"""What a student is taught: the teacher's stored logits, over the student's own tokens."""

from typing import Any

import numpy as np

from pipeline.feature_store import Features
from pipeline.logit_store import LogitStore
from pipeline.metrics import Logits
from pipeline.transport import transport


def teachers_logits(store: LogitStore, features: Features, records: list[dict[str, Any]]) -> Logits:
    """Start and end logits of the teacher's own windows, laid end to end as their tokens are.

    Raises:
        InputError: a window has no row; names its question.
    """
    return store.aligned(features, [records[i]["id"] for i in features.record])


def students_targets(logits: Logits, teachers: Features, students: Features) -> Logits:
    """The teacher's logits for the student's windows: as they are where both read the same windows, else carried over.

    Prints the share of mass that could not be carried.
    """
    if np.array_equal(teachers.keys, students.keys):
        return logits
    carried, unplaced = transport(teachers, logits, students)
    print(f"{100 * unplaced:.3f} % of the teacher's probability has no place among the student's tokens")
    return carried

"""The windows without a target of a teacher's folder in data/logits: a sealed file with the key of each.

Such a teacher is a file of answers that does not answer every question. A folder without the file has no such windows.
"""

from pathlib import Path

import numpy as np

from pipeline.checksums import seal, verified
from pipeline.logits.index import Index
from pipeline.questions.features import KEY_BYTES

GAPS = "without_target"


def write_gaps(folder: Path, keys: np.ndarray) -> None:
    """Write the (n, 16) keys of windows without a target, if there are any."""
    if len(keys):
        (folder / GAPS).write_bytes(keys.tobytes())
        seal(folder / GAPS)


def read_gaps(folder: Path) -> Index | None:
    """The keys of the windows without a target; None if there are none.

    Raises:
        InputError: the file is damaged.
    """
    if not (folder / GAPS).exists():
        return None
    content = np.frombuffer(verified(folder / GAPS, "logits").read_bytes(), dtype=np.uint8)
    return Index([content.reshape(-1, KEY_BYTES)], folder)

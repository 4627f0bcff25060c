"""The windows without a target of a teacher's folder in data/logits: a sealed file with the key of each.

Such a teacher is a file of answers that does not answer every question. A folder without the file has no such windows.
"""

from pathlib import Path

import numpy as np

from pipeline.checksums import seal, verified
from pipeline.questions.features import KEY_BYTES, Features, key_list

GAPS = "without_target"


def write_gaps(folder: Path, keys: list[bytes]) -> None:
    """Write the keys of windows without a target, if there are any."""
    if keys:
        (folder / GAPS).write_bytes(b"".join(keys))
        seal(folder / GAPS)


def gaps(folder: Path, features: Features) -> np.ndarray:
    """(N,) bool, whether each window has no target.

    Raises:
        InputError: the file is damaged.
    """
    if not (folder / GAPS).exists():
        return np.zeros(len(features), dtype=bool)
    content = np.frombuffer(verified(folder / GAPS, "logits").read_bytes(), dtype=np.uint8)
    without = set(key_list(content.reshape(-1, KEY_BYTES)))
    return np.array([key in without for key in key_list(features.keys)])

"""Where every artifact lives, relative to the repository's root, in which DVC runs each stage."""

import os
import shutil
from pathlib import Path

import platformdirs

PARAMS = Path("params.yaml")
RAW = Path("data/raw")

DATASET = Path("data/dataset")
TOKENIZER = Path("data/tokenizer")
FEATURES = Path("data/features")
TEACHER = Path("data/teacher")
LOGITS = Path("data/logits")
BACKBONE = Path("data/backbone")
STUDENT = Path("data/student")
CURVES = Path("data/curves")
PREDICTIONS = Path("data/predictions")

TEACHER_METRICS = Path("metrics/teacher.json")
TRAIN_METRICS = Path("metrics/train.json")
EVAL_METRICS = Path("metrics/eval.json")

CACHE_VARIABLE = "SPAN_DISTILL_CACHE"


def cache() -> Path:
    """The user's folder for unfinished work and for rows worth keeping between runs."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("span-distill", appauthor=False))


def students(path: Path) -> Path:
    """The student's own file or folder beside the teacher's; the teacher's where the student reads as it does."""
    own = path / "student" if path == TOKENIZER else path.parent / "student" / path.name
    return own if own.exists() else path


def fresh(folder: Path) -> Path:
    """An empty folder in the place of whatever is there. DVC removes outputs itself; a run by hand needs this."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

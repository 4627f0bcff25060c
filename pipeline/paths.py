"""Where every artifact lives, relative to the repository's root, in which DVC runs each stage."""

import os
import shutil
from collections.abc import Collection
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

# windows beside the teachers, which have names of their own
STUDENTS = "student"

TEACHER_METRICS = Path("metrics/teacher.json")
TRAIN_METRICS = Path("metrics/train.json")
EVAL_METRICS = Path("metrics/eval.json")

CACHE_VARIABLE = "SPAN_DISTILL_CACHE"


def cache() -> Path:
    """The user's folder for unfinished work and for rows worth keeping between runs."""
    said = os.environ.get(CACHE_VARIABLE, "").strip()
    return Path(said).expanduser() if said else Path(platformdirs.user_cache_dir("span-distill", appauthor=False))


def logits_cache() -> Path:
    """The folder of all teachers' cached rows; made if it is missing."""
    folder = cache() / "logits"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def training_cache() -> Path:
    """The folder of the checkpoints of unfinished trainings."""
    return cache() / "training"


def tokenizer(model: str) -> Path:
    """The tokenizer of a teacher, by its name, or of the `STUDENTS`."""
    return TOKENIZER / model


def features(model: str, split: str) -> Path:
    """The windows that a teacher or the student reads."""
    return FEATURES / model / f"{split}.safetensors"


def teacher_paths(teacher: str, split: str) -> tuple[Path, Path, Path]:
    """A teacher's logits, tokenizer and windows."""
    return LOGITS / teacher, tokenizer(teacher), features(teacher, split)


def remove_others(folder: Path, names: Collection[str]) -> None:
    """Remove what teachers that are in the parameters no more have left in a folder."""
    for path in folder.glob("*/"):
        if path.name not in names:
            shutil.rmtree(path)


def empty_folder(folder: Path) -> Path:
    """An empty folder in the place of whatever is there. DVC removes outputs itself; a run by hand needs this."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

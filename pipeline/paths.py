"""Paths of all artifacts, relative to the repository root, which is the working directory of every DVC stage."""

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
TEACHER_PREDICTIONS = Path("data/teacher_predictions")

# the student's name in TOKENIZER and FEATURES; teachers are there under their own names
STUDENTS = "student"

TEACHER_METRICS = Path("metrics/teacher.json")
EVAL_METRICS = Path("metrics/eval.json")

CACHE_VARIABLE = "SPAN_DISTILL_CACHE"


def cache() -> Path:
    """The user's folder of logits, checkpoints and costs: $SPAN_DISTILL_CACHE, or the platform's cache folder."""
    configured = os.environ.get(CACHE_VARIABLE, "").strip()
    if configured:
        return Path(configured).expanduser()
    return Path(platformdirs.user_cache_dir("span-distill", appauthor=False))


def logits_cache() -> Path:
    """The folder of all teachers' cached logits; created if it is missing."""
    folder = cache() / "logits"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def training_cache() -> Path:
    """The folder of checkpoints of unfinished training runs."""
    return cache() / "training"


def costs() -> Path:
    """The folder of measured costs of students."""
    return cache() / "cost"


def tokenizer(model: str) -> Path:
    """The tokenizer folder of a model: a teacher's name, or `STUDENTS`."""
    return TOKENIZER / model


def features(model: str, split: str) -> Path:
    """The tokenized windows of a split for a model: a teacher's name, or `STUDENTS`."""
    return FEATURES / model / f"{split}.safetensors"


def teacher_paths(teacher: str, split: str) -> tuple[Path, Path, Path]:
    """The paths of a teacher's logits, its tokenizer and its windows of a split."""
    return LOGITS / teacher, tokenizer(teacher), features(teacher, split)


def question_scores(folder: Path) -> Path:
    """The scores of each question, in the folder of a model's predictions."""
    return folder / "questions.parquet"


def remove_others(folder: Path, names: Collection[str]) -> None:
    """Remove the subfolders that are not in `names`, such as those of teachers removed from the parameters."""
    for path in folder.glob("*/"):
        if path.name not in names:
            shutil.rmtree(path)


def empty_folder(folder: Path) -> Path:
    """Delete a folder and create it again, empty. DVC deletes outputs itself; a stage run without DVC needs this."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

"""Paths of all artifacts, relative to the repository root, which is the working directory of every DVC stage."""

import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

import platformdirs

from pipeline.errors import InputError

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
DATA = Path("data")
RAW = Path("data/raw")

# hashes of the files in data/raw that params name: the questions here, each model in a file of its own
SOURCES = Path("data/sources")
QUESTION_SOURCES = SOURCES / "questions.json"
DATASET = Path("data/dataset")
TOKENIZER = Path("data/tokenizer")
FEATURES = Path("data/features")
TEACHER = Path("data/teacher")
LOGITS = Path("data/logits")
BACKBONE = Path("data/backbone")
ENCODER = Path("data/encoder")
STUDENT = Path("data/student")
CURVES = Path("data/curves")
PREDICTIONS = Path("data/predictions")
TEACHER_PREDICTIONS = Path("data/teacher_predictions")

# the ids that the student's tokens have in its backbone's vocabulary, if it has some of them only
KEPT_TOKENS = TOKENIZER / "student/kept.json"

# the student's name in TOKENIZER and FEATURES; teachers are there under their own names
STUDENT_NAME = "student"

TEACHER_METRICS = Path("metrics/teacher.json")
EVAL_METRICS = Path("metrics/eval.json")

CACHE_VARIABLE = "SPAN_DISTILL_CACHE"


def cache() -> Path:
    """The user's folder of logits, checkpoints and costs: $SPAN_DISTILL_CACHE, or the platform's cache folder.

    Raises:
        InputError: the variable is not an absolute path.
    """
    configured = os.environ.get(CACHE_VARIABLE, "").strip()
    if not configured:
        return Path(platformdirs.user_cache_dir("span-distill", appauthor=False))
    try:
        folder = Path(configured).expanduser()
    except RuntimeError:
        name = Path(configured).parts[0]
        raise InputError(
            f"{CACHE_VARIABLE} is '{configured}', but {name} is not a home folder of this machine"
        ) from None
    if not folder.is_absolute():
        raise InputError(
            f"{CACHE_VARIABLE} is '{configured}', a relative path: another folder in each clone and each queued "
            f"experiment; give an absolute path, such as '{folder.absolute()}'"
        )
    return folder


def logits_cache() -> Path:
    """The folder of all teachers' cached logits."""
    return cache() / "logits"


def training_cache() -> Path:
    """The folder of checkpoints of unfinished training runs."""
    return cache() / "training"


def importance_cache() -> Path:
    """The folder of what the stage `shrink` measured of encoders."""
    return cache() / "importance"


def writable(folder: Path) -> Path:
    """Return a folder of the cache after writing to it on trial; stages call this before they work for hours.

    Raises:
        InputError: it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1024))
    except OSError as error:
        raise InputError(
            f"the cache folder {folder} cannot be written ({error.strerror}); {CACHE_VARIABLE} sets another one"
        ) from None
    return folder


def handed_over() -> Path:
    """The folder of students' logits that `train` hands over to `evaluate`."""
    return cache() / "handed_over"


def targets_cache() -> Path:
    """The folder of targets, the teachers' logits over a student's tokens."""
    return cache() / "targets"


def costs() -> Path:
    """The folder of measured costs of students."""
    return cache() / "cost"


def tokenizer(model: str) -> Path:
    """The tokenizer folder of a model: a teacher's name, or `STUDENT_NAME`."""
    return TOKENIZER / model


def model_sources(model: str) -> Path:
    """The hashes of a model's files in data/raw: of a teacher's, by its name, or of the encoder of `STUDENT_NAME`."""
    return SOURCES / "models" / f"{model}.json"


def answers(teacher: str) -> Path:
    """The copy of a teacher's file of answers."""
    return TEACHER / teacher / "answers"


def features(model: str, split: str) -> Path:
    """The tokenized windows of a split for a model: a teacher's name, or `STUDENT_NAME`."""
    return FEATURES / model / f"{split}.safetensors"


def teacher_paths(teacher: str, split: str) -> tuple[Path, Path, Path]:
    """The paths of a teacher's logits, its tokenizer and its windows of a split."""
    return LOGITS / teacher, tokenizer(teacher), features(teacher, split)


def question_scores(folder: Path) -> Path:
    """The scores of each question, in the folder of a model's predictions."""
    return folder / "questions.parquet"


def remove_others(folder: Path, names: Collection[str]) -> None:
    """Remove the subfolders that are not in `names`, such as folders of teachers that the parameters dropped."""
    for path in folder.glob("*/"):
        if path.name not in names:
            shutil.rmtree(path)


def empty_folder(folder: Path) -> Path:
    """Delete a folder and create it again, empty. DVC deletes outputs itself; a stage run without DVC needs this."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

"""What `span-distill cost` measured of the students and the teachers of runs, in the cache folder."""

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException

from pipeline import paths, pretrained
from pipeline.answering.gain import Figures, gain
from pipeline.errors import InputError
from pipeline.experiments.run import BUILD, Run
from pipeline.files import atomic_write

KEYS = (
    "parameters",
    "nonzero_parameters",
    "bytes",
    "compressed_bytes",
    "gflops_per_window",
    "latency_ms_median",
    "latency_ms_low",
    "latency_ms_high",
    "latency_ms_p95",
    "cpu_share",
    "windows_per_second",
    "peak_memory_mb",
    "threads",
    "device",
)
FORM_KEYS = ("bytes", *KEYS[KEYS.index("latency_ms_median") :])
FORMS = "forms"  # of a student: in torch, and its ONNX files
TORCH, INT8 = "torch float32", "ONNX int8"


def folder(model: str) -> Path:
    """The folder of a model: a teacher's name, or `STUDENT_NAME`."""
    return paths.STUDENT if model == paths.STUDENT_NAME else paths.TEACHER / model


def read(run: Run, model: str = paths.STUDENT_NAME) -> dict[str, Any] | None:
    """The cost of a model of a run, as measured last on this machine; None if it was not, or by an earlier version.

    Returns:
        parameters, nonzero_parameters; bytes and compressed_bytes, of the weights, the second None of a teacher;
        peak_memory_mb, resident, of a process with the model; the others see `answering.cost.measure`.
        forms, if the exported forms were measured: by its name, of each the same but the numbers of parameters, and
        `questions`, `exact_match` and `f1` of the first ones, with `_low` and `_high`; `f1_difference` from torch too.
    """
    try:
        path = stored(run, model)
    except InputError:
        return None
    values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return values if all(key in values for key in KEYS) else None


def write(path: Path, values: dict[str, Any]) -> None:
    """Store a cost at its place, see `stored`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def stored(run: Run, model: str) -> Path:
    """Where the cost of a model of a run on this machine is, or will be.

    Raises:
        InputError: the run has no such model, or no windows.
    """
    weights = fingerprint(run, folder(model) / pretrained.WEIGHTS)
    windows = fingerprint(run, paths.features(model, "validation"))  # a latency is for their mean length
    return paths.costs() / f"{weights}-{windows[:8]}-{machine()}.json"


def machine() -> str:
    """8 hexadecimal digits that tell this machine from others."""
    name = f"{platform.node()} {platform.machine()} {os.cpu_count()}"
    return hashlib.blake2b(name.encode(), digest_size=4).hexdigest()


def fingerprint(run: Run, path: Path) -> str:
    """The MD5 of a file of a run, by which DVC knows it; nothing is downloaded.

    Raises:
        InputError: the run has no such file.
    """
    try:
        known = run.files.md5(path) if run.files else md5(path)
    except (OSError, DvcException):
        raise InputError(f"{run.name} has no {path}; {BUILD}") from None
    return known or hashlib.md5(run.read(path), usedforsecurity=False).hexdigest()


def md5(path: Path) -> str:
    """The MD5 of a file of the workspace."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def teachers(run: Run) -> list[str]:
    """The names of a run's teachers."""
    return sorted(run.params["teacher"]["models"])


def figures(run: Run, teacher: str) -> Figures:
    """What is known of a teacher of a run; nothing of one without weights, or with weights that are not here."""
    try:
        return Figures(run.size(folder(teacher) / pretrained.WEIGHTS), read(run, teacher))
    except InputError:
        return Figures(None, None)


def gain_of(run: Run, f1: float) -> str:
    """What the student of a run gains, see `answering.gain`; "" without scores of its teachers.

    Args:
        f1: of the student.
    """
    try:
        scores = json.loads(run.read(paths.TEACHER_METRICS))
    except InputError:
        return ""
    names = teachers(run)
    # null of a file of answers that has none to these questions; on some of them alone, F1 is not comparable
    scored = [name for name in names if scores.get(name) and scores[name].get("answered", 100) == 100]
    if not scored:
        return ""
    mean = scores.get("mean") if len(names) > 1 else None
    compared = names if mean else scored[:1]
    student = Figures(run.metrics["bytes"], read(run))
    return gain(student, f1, [figures(run, name) for name in compared], (mean or scores[scored[0]])["f1"])

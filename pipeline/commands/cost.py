"""cost: measure the size, speed and memory of students on this machine.

Also of their ONNX files and their teachers. Reads models, windows and validation questions of the runs named:
revisions, DVC experiments, or `workspace`. Exports each student to a temporary folder, and scores it and the files on
the first 1,000 questions.
Writes to the cache folder, which SPAN_DISTILL_CACHE sets; `span-distill compare` shows it. Not a DVC metric, since
it differs from machine to machine and from day to day. Measure on a machine that does nothing else; what was measured
on a busy one is measured again the next time.
"""

import json
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline import paths, pretrained
from pipeline.answering.gain import busy
from pipeline.checksums import SUMS
from pipeline.comparison.statistics import compare, with_interval
from pipeline.comparison.tables import forms
from pipeline.errors import InputError
from pipeline.experiments import costs
from pipeline.experiments.run import Run, fetch, read_run, scored_runs, with_defaults
from pipeline.scores.standard_errors import clusters_of

EXPORTED = {"ONNX float32": "float32", costs.INT8: "int8"}


def main(names: list[str], again: bool, no_exports: bool = False) -> None:
    runs = [read_run(name) for name in names] if names else one_of_each_setting()
    for run in runs:
        values = read_or_measure(run, paths.STUDENT_NAME, again, exports=not no_exports)
        if not no_exports:
            print(f"\n{forms({run.name: values[costs.FORMS]}, len(run.scores))}", flush=True)
    measured: set[Path] = set()
    for run in runs:
        for teacher in costs.teachers(run):
            try:
                path = costs.stored(run, teacher)
                if path not in measured:
                    read_or_measure(run, teacher, again, exports=False)
                measured.add(path)
            except InputError:  # a file of answers, or a teacher that was not pulled, has no cost
                continue


def one_of_each_setting() -> list[Run]:
    """The first run of each setting among HEAD, the workspace and the experiments; seeds cost the same."""
    first: dict[str, Run] = {}
    for run in scored_runs([]):
        first.setdefault(run.setting, run)
    return list(first.values())


def read_or_measure(run: Run, model: str, again: bool, exports: bool) -> dict[str, Any]:
    """The cost of a model of a run, measured unless it was on this machine when it was not busy; prints a line.

    Args:
        model: a teacher's name, or `STUDENT_NAME`.
        again: whether to measure in any case.
        exports: whether the cost includes exported forms.

    Raises:
        InputError: as `measure`.
    """
    values = None if again else costs.read(run, model)
    if values and (disturbed(values, exports) or (exports and costs.FORMS not in values)):
        values = None
    done = "measured before" if values else "measured"
    values = values or measure(run, model, exports)
    print(
        f"{run.name if model == paths.STUDENT_NAME else f'teacher {model}'}: {done}, "
        f"{values['latency_ms_median']:.1f} ms [{values['latency_ms_low']:.1f}, {values['latency_ms_high']:.1f}] "
        f"(p95 {values['latency_ms_p95']:.1f}), {values['windows_per_second']:.1f} windows/s, "
        f"{values['peak_memory_mb']:.0f} MB, on {values['device']} x{values['threads']}"
        f"{'; the machine was busy' if disturbed(values, exports) else ''}",
        flush=True,
    )
    return values


def disturbed(values: dict[str, Any], exports: bool) -> bool:
    """Whether the machine was busy while a model was measured, or with `exports` one of its forms."""
    forms = values.get(costs.FORMS, {}).values() if exports else ()
    return any(map(busy, (values, *forms)))


def measure(run: Run, model: str = paths.STUDENT_NAME, exports: bool = False) -> dict[str, Any]:
    """Measure the cost of a model of a run, each form in a new process, and store it.

    Args:
        model: a teacher's name, or `STUDENT_NAME`.
        exports: whether to export the student, and to measure and score each form.

    Raises:
        InputError: DVC does not have the model, its windows or the questions, or the measurement failed.
    """
    path = costs.stored(run, model)
    with TemporaryDirectory() as name:
        here = Path(name)
        folder = fetch(run, costs.folder(model), here)
        is_student = model == paths.STUDENT_NAME
        tokenizer = folder if is_student else fetch(run, paths.tokenizer(model), here / "tokenizer")
        windows = fetch_file(run, paths.features(model, "validation"), here / "windows")
        scored = []
        if exports:
            settings = with_defaults(run.params)["evaluate"]
            questions = fetch_file(run, paths.DATASET / "validation.parquet", here / "questions")
            scored = [questions, settings["max_answer_length"], settings["metric"]]
        found = in_new_process(run, "student" if is_student else "teacher", folder, tokenizer, windows, *scored)
        values = {**found, "compressed_bytes": None}
        if is_student:
            values["compressed_bytes"] = compressed_size(folder / pretrained.WEIGHTS)
        values = {key: values[key] for key in costs.KEYS}
        if exports:
            measured = {costs.TORCH: found}
            for form, kind in EXPORTED.items() if export(folder, here / "export") else ():
                measured[form] = in_new_process(run, kind, here / "export", tokenizer, windows, *scored)
            values[costs.FORMS] = with_scores(measured, run)
    costs.write(path, values)
    return values


def fetch_file(run: Run, path: Path, folder: Path) -> Path:
    """Fetch a file of a run with the checksums beside it."""
    folder.mkdir()
    fetch(run, path.with_name(SUMS), folder)
    return fetch(run, path, folder)


def in_new_process(run: Run, *arguments: Any) -> dict[str, Any]:
    """What `pipeline.commands.measurement` prints.

    Raises:
        InputError: it failed.
    """
    command = [sys.executable, "-m", "pipeline.commands.measurement", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"the cost of {run.name} could not be measured, see above")
    return json.loads(done.stdout.splitlines()[-1])


def export(student: Path, out: Path) -> bool:
    """Whether a student could be exported; if not, the command has said why."""
    command = [sys.executable, "-m", "pipeline", "export", str(student), "--quantize", "int8", "--out", str(out)]
    return subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0


def with_scores(measured: Mapping[str, dict[str, Any]], run: Run) -> dict[str, dict[str, Any]]:
    """The costs of the forms with their scores.

    Args:
        measured: for each form, torch first, its cost, and `exact_match` and `f1` of each of the first questions.
        run: whose questions they are.
    """
    torch = measured[costs.TORCH]
    questions = len(torch["f1"])
    clusters = clusters_of(run.scores.slice(0, questions)).labels
    several = len(set(clusters)) > 1  # one has no interval
    found = {}
    for form, values in measured.items():
        row = {key: values[key] for key in costs.FORM_KEYS} | {"questions": questions}
        for name in ("exact_match", "f1"):
            row |= with_interval(name, values[name], clusters) if several else {name: sum(values[name]) / questions}
        if several and values is not torch:
            difference = compare(values["f1"], torch["f1"], clusters).difference
            row |= {
                "f1_difference": difference.mean,
                "f1_difference_low": difference.low,
                "f1_difference_high": difference.high,
            }
        found[form] = row
    return found


def compressed_size(path: Path) -> int:
    """Bytes of a file after DEFLATE at zlib's default level, as in a zip or gzip file."""
    compressor, size = zlib.compressobj(), 0
    with open(path, "rb") as file:
        while block := file.read(2**20):
            size += len(compressor.compress(block))
    return size + len(compressor.flush())

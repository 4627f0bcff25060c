"""cost: measure the size, speed and memory of students on this machine.

Reads data/student and data/features of the runs named: revisions, DVC experiments, or `workspace`.
Writes to the cache folder, which SPAN_DISTILL_CACHE sets; `span-distill compare` shows it. Not a DVC metric, since
it differs from machine to machine and from day to day. Measure on a machine that does nothing else.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dvc.exceptions import DvcException

from pipeline import paths
from pipeline.checksums import SUMS
from pipeline.errors import InputError
from pipeline.experiments.run import BUILD, Run, fetch, read_run, scored_runs
from pipeline.files import atomic_write

KEYS = (
    "parameters",
    "nonzero_parameters",
    "bytes",
    "compressed_bytes",
    "gflops_per_window",
    "latency_ms_median",
    "latency_ms_p95",
    "windows_per_second",
    "peak_memory_mb",
    "threads",
    "device",
)
WEIGHTS = paths.STUDENT / "model.safetensors"


def main(names: list[str], again: bool) -> None:
    for run in [read_run(name) for name in names] if names else one_of_each_setting():
        values = None if again else read(run)
        done = "measured before" if values else "measured"
        values = values or measure(run)
        print(
            f"{run.name}: {done}, {values['latency_ms_median']:.1f} ms (p95 {values['latency_ms_p95']:.1f}), "
            f"{values['windows_per_second']:.1f} windows/s, {values['peak_memory_mb']:.0f} MB, "
            f"on {values['device']} x{values['threads']}",
            flush=True,
        )


def one_of_each_setting() -> list[Run]:
    """The first run of each setting among HEAD, the workspace and the experiments; seeds cost the same."""
    first: dict[str, Run] = {}
    for run in scored_runs([]):
        first.setdefault(run.setting, run)
    return list(first.values())


def read(run: Run) -> dict[str, Any] | None:
    """The cost of a run's student, as measured last on this machine; None if it was not.

    Returns:
        parameters, nonzero_parameters; bytes and compressed_bytes, of the weights; gflops_per_window; latency_ms_median
        and latency_ms_p95; windows_per_second; peak_memory_mb, resident, of a process with the student; threads;
        device. See `answering.cost.measure`.
    """
    try:
        path = stored(run)
    except InputError:
        return None
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def measure(run: Run) -> dict[str, Any]:
    """Measure the cost of a run's student in a new process, and store it.

    Raises:
        InputError: DVC does not have the student or the windows, or the measurement failed.
    """
    path = stored(run)
    with TemporaryDirectory() as folder:
        student = fetch(run, paths.STUDENT, Path(folder))
        windows = fetch(run, paths.features(paths.STUDENT_NAME, "validation"), Path(folder))
        fetch(run, paths.features(paths.STUDENT_NAME, "validation").with_name(SUMS), Path(folder))
        command = [sys.executable, "-m", "pipeline.answering.cost", str(student), str(windows)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise InputError(f"the cost of {run.name} could not be measured, see above")
        weights = student / WEIGHTS.name
        values = json.loads(done.stdout.splitlines()[-1])
        values |= {"bytes": weights.stat().st_size, "compressed_bytes": compressed_size(weights)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({key: values[key] for key in KEYS}, indent=2) + "\n", encoding="utf-8")
    return values


def stored(run: Run) -> Path:
    """Where the cost of a run's student on this machine is, or will be.

    Raises:
        InputError: the run has no student, or no windows.
    """
    weights = fingerprint(run, WEIGHTS)
    windows = fingerprint(run, paths.features(paths.STUDENT_NAME, "validation"))  # a latency is for their mean length
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
        known = run.files.md5(path) if run.files else None
    except (OSError, DvcException):
        raise InputError(f"{run.name} has no {path}; {BUILD}") from None
    return known or hashlib.md5(run.read(path), usedforsecurity=False).hexdigest()


def compressed_size(path: Path) -> int:
    """Bytes of a file after DEFLATE at zlib's default level, as in a zip or gzip file."""
    compressor, size = zlib.compressobj(), 0
    with open(path, "rb") as file:
        while block := file.read(2**20):
            size += len(compressor.compress(block))
    return size + len(compressor.flush())

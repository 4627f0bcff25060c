"""sweep: train and score a student for each head, seed and other value.

Each is a DVC experiment with a name such as cnn3-alpha0-seed1. An experiment, or HEAD, is finished if it has the params
asked for, scores of its questions, and the code and data/raw of the workspace. Finished experiments are skipped; the
others run with `dvc exp run --temp`, one after the other, in a copy of the workspace, which itself does not change. The
same command resumes an interrupted sweep. Exit code 1 if any experiment failed.

    span-distill sweep --heads linear cnn3 --seeds 0 1 2 -S distill.alpha=0,1 -S prune.amount=0.0,0.3

DVC's queue is not used: `dvc exp run --run-all` exits with 0 even if all experiments failed, and can hang after one or
two (DVC's issues 10398 and 10428).
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from pipeline import cli, paths
from pipeline.errors import InputError
from pipeline.experiments.run import Run, experiments, read_params, read_run, with_defaults
from pipeline.params import check, load, parse

PIPELINE = Path("dvc.yaml")


@dataclass(frozen=True)
class Experiment:
    """One experiment of the sweep.

    Attributes:
        name: derived from its settings.
        overrides: what `dvc exp run -S` takes.
        params: values of params.yaml with the overrides.
    """

    name: str
    overrides: tuple[str, ...]
    params: dict[str, Any]


def main(heads: list[str], seeds: list[int], settings: list[str]) -> None:
    load(paths.PARAMS)
    cli.refuse_shallow_clone(Path.cwd())
    cells = product(heads, combinations(settings), seeds)
    wanted = distinct([experiment(head, seed, values) for head, values, seed in cells])
    head = git("rev-parse", "--verify", "HEAD")
    state = changes(head)
    finished = finished_runs(wanted)
    for item in wanted:
        if item.overrides in finished:
            print(f"{item.name}: finished before, {finished[item.overrides]}")
    missing = [item for item in wanted if item.overrides not in finished]
    failed = []
    for number, item in enumerate(missing, 1):
        if changes(head) != state:
            raise InputError("code or data/raw changed during the sweep; the same command sweeps with the new state")
        progress = f"{number} of {len(missing)}: {item.name}:"
        print(progress, *item.overrides, flush=True)
        started = time.monotonic()
        outcome = run_experiment(item)
        print(progress, outcome or "FAILED", f"after {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
        failed += [] if outcome else [item.name]
    print(f"{len(wanted) - len(failed)} of {len(wanted)} experiments are finished")
    if failed:
        sys.exit(f"failed, see above: {' '.join(failed)}; the same command runs them again")


def combinations(settings: Sequence[str]) -> list[tuple[str, ...]]:
    """Each combination of the settings' values, as DVC's queue makes them: a=1,2 b=3 gives a=1 b=3, a=2 b=3.

    Raises:
        InputError: a setting is not of the form key=value.
    """
    try:
        return [tuple(values["params"]) for values in get_hydra_sweeps({"params": settings})]
    except (InvalidArgumentError, HydraException, OmegaConfBaseException):
        raise InputError(f"-S {' -S '.join(settings)}: a setting is KEY=VALUE or KEY=VALUE,VALUE") from None


def distinct(wanted: Sequence[Experiment]) -> list[Experiment]:
    """The experiments without those whose params equal those of an earlier one: alpha=1,1.0 is one experiment."""
    found: dict[str, Experiment] = {}
    for item in wanted:
        found.setdefault(json.dumps(with_defaults(item.params), sort_keys=True), item)
    return list(found.values())


def experiment(head: str, seed: int, settings: Sequence[str]) -> Experiment:
    """The experiment of a head, a seed and other settings.

    Raises:
        InputError: a setting is not of the form key=value, or gives a parameter that is wrong.
    """
    for setting in settings:
        if re.match(r"\+*(head|seed)=", setting):
            raise InputError(f"-S {setting}: give heads with --heads and seeds with --seeds")
    overrides = (f"head={head}", f"seed={seed}", *map(added, settings))
    return Experiment(experiment_name(head, seed, settings), overrides, overridden(overrides))


def added(setting: str) -> str:
    """A setting as DVC takes it: with `+` in front if params.yaml has no value for its key, but the default."""
    key = setting.partition("=")[0]
    values: Any = parse(paths.PARAMS.read_text(encoding="utf-8"))
    for part in key.split("."):
        if key[0] not in "+~" and not (isinstance(values, dict) and part in values):
            return f"+{setting}"
        values = values.get(part) if isinstance(values, dict) else None
    return setting


def experiment_name(head: str, seed: int, settings: Sequence[str]) -> str:
    """`cnn3-temperature4-seed1` for cnn3, 1 and distill.temperature=4; valid as an experiment's name."""
    others = [setting.partition("=")[0].rpartition(".")[2] + setting.partition("=")[2] for setting in settings]
    text = re.sub(r"[^\w.]+", "-", "-".join([head, *others, f"seed{seed}"]), flags=re.ASCII)
    return re.sub(r"\.\.+", ".", text)


def overridden(overrides: Sequence[str]) -> dict[str, Any]:
    """The values of params.yaml with overrides, as DVC applies them; params.yaml does not change.

    Raises:
        InputError: an override is malformed, its key is not in params.yaml, or its value is wrong.
    """
    with TemporaryDirectory() as folder:
        copy = shutil.copy(paths.PARAMS, folder)
        try:
            apply_overrides(copy, list(overrides))
        except (InvalidArgumentError, HydraException, OmegaConfBaseException) as error:
            reason = str(error.__cause__ or error).splitlines()[0].rstrip(".")
            raise InputError(
                f"-S: {reason}; a setting is KEY=VALUE, and +KEY=VALUE where params.yaml lacks the key"
            ) from None
        values = parse(Path(copy).read_text(encoding="utf-8"))
    check(values, f"{paths.PARAMS} with -S {' -S '.join(overrides)}")
    return values


def finished_runs(wanted: Sequence[Experiment]) -> dict[tuple[str, ...], str]:
    """What is finished, by its overrides: the scores, and the name that it has in DVC if that is another."""
    known = {**experiments(), "HEAD": "HEAD"}
    same = [name for name, revision in known.items() if not changes(revision)]
    params = {name: with_defaults(read_params(known[name])) for name in same}
    found = {}
    for item in wanted:
        for name in (name for name, values in params.items() if values == with_defaults(item.params)):
            try:
                run = read_run(name, known[name])
            except InputError:  # no scores
                continue
            found[item.overrides] = scores(run) + f" ({name})" * (name != item.name)
            break
    return found


def run_experiment(item: Experiment) -> str | None:
    """Run an experiment and return its scores in words; None if it failed.

    DVC's exit code is not enough: the experiment must be there, with its params and scores.
    """
    name = free_name(item.name, experiments())
    settings = [part for override in item.overrides for part in ("-S", override)]
    if run_interruptible([sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name, *settings]) != 0:
        return None
    try:
        run = read_run(name)
    except InputError as error:
        print(error, file=sys.stderr)
        return None
    return scores(run) if run.params == item.params else None


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or with the first number that makes it new: an experiment of other code or data is not overwritten."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def run_interruptible(command: Sequence[str]) -> int:
    """Run a command that asks nothing and return its exit code.

    Ctrl-C and SIGTERM reach all of its processes, once, and are raised when these have ended: a stage saves its
    checkpoint. Without a process group of its own, SIGTERM would leave the stage behind.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        return process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise


def scores(run: Run) -> str:
    return f"exact match {run.metrics['exact_match']:.2f}, F1 {run.metrics['f1']:.2f}"


def changes(revision: str) -> str:
    """The workspace's changes since a revision in dvc.yaml, the code of the stages, and data/raw.

    Raises:
        InputError: there is no such revision.
    """
    stages = parse(PIPELINE.read_text(encoding="utf-8"))["stages"].values()
    inputs = {dep for stage in stages for dep in stage.get("do", stage)["deps"]}  # git ignores those that stages write
    return git("diff", "--no-ext-diff", revision, "--", str(PIPELINE), *sorted(inputs))


def git(*arguments: str) -> str:
    """The output of a git command.

    Raises:
        InputError: it failed.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise InputError(f"git {' '.join(arguments)} failed: {' '.join(done.stderr.split())}")
    return done.stdout.strip()

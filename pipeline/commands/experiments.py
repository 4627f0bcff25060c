"""The scored students of this repository, as DVC knows them: the workspace, commits, branches and experiments."""

import io
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.scm import RevError

from pipeline import paths
from pipeline.checksums import SUMS, matches
from pipeline.errors import InputError, rebuild
from pipeline.params import parse
from pipeline.scores.question_scores import QUESTIONS

WORKSPACE = "workspace"


@dataclass(frozen=True)
class Run:
    """One trained and scored student.

    Attributes:
        name: the revision or experiment as the user knows it.
        params: values of params.yaml.
        metrics: of metrics/eval.json.
        scores: a row a question, see `scores.question_scores`.
    """

    name: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    scores: pa.Table

    @property
    def questions(self) -> bytes:
        """Equal for runs scored on the same questions by the same metric."""
        return (self.scores.schema.metadata or {}).get(QUESTIONS, b"")


def experiments() -> list[str]:
    """The names of all experiments of the repository, those of one commit side by side.

    Raises:
        InputError: this is no DVC repository.
    """
    try:
        with Repo() as repo:
            found = repo.experiments.ls(all_commits=True)
    except NotDvcRepoError:
        raise InputError("this folder is not in a DVC repository") from None
    return [name for of_commit in found.values() for name, _ in of_commit]


def read_run(name: str) -> Run:
    """Read what DVC holds of a revision, an experiment, or the workspace.

    Raises:
        InputError: there is no such revision, or it has no scores of its questions.
    """
    files = None if name == WORKSPACE else DVCFileSystem(rev=name)

    def read(path: Path) -> bytes:
        return files.read_bytes(path.as_posix()) if files else path.read_bytes()

    try:
        path = paths.question_scores(paths.PREDICTIONS)
        content = read(path)
        if not matches(content, path.name, read(path.with_name(SUMS))):
            fix = rebuild(paths.PREDICTIONS, "evaluate")
            raise ValueError(f"{path} does not match its checksum in {SUMS}; {fix}")
        scores = pq.read_table(io.BytesIO(content))
        metrics = json.loads(read(paths.EVAL_METRICS))
        params = parse(read(paths.PARAMS).decode())
    except RevError:
        raise InputError(
            f"there is no revision or experiment '{name}'; `dvc exp list --all-commits` shows the experiments"
        ) from None
    except (OSError, DvcException):
        raise InputError(
            f"{name} has no scores of its questions; run `dvc repro` there and commit dvc.lock, or `dvc pull`"
        ) from None
    except ValueError as error:
        raise InputError(f"{name} has damaged scores: {error}") from None
    return Run(name, params, metrics, scores)


def scored_runs(first: list[str]) -> list[Run]:
    """The runs named, then the workspace and every experiment; says which of these have no scores, and leaves them out.

    Raises:
        InputError: a run named in `first` cannot be read.
    """
    runs = [read_run(name) for name in first]
    for name in (WORKSPACE, *experiments()):
        try:
            runs.append(read_run(name))
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
    return runs


def refuse_other_questions(runs: Iterable[Run]) -> None:
    """Refuse runs that were not scored on the same questions by the same metric.

    Raises:
        InputError: names the first two that differ.
    """
    first, *others = runs
    for run in others:
        if run.questions != first.questions:
            raise InputError(
                f"{run.name} was scored on other questions, or by another evaluate.metric, than {first.name} "
                f"({len(run.scores)} and {len(first.scores)} questions); compare runs of one validation set and metric"
            )

"""The scored students of this repository, as DVC knows them: the workspace, commits, branches and experiments."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dvc.api
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from scmrepo.exceptions import SCMError

from pipeline import paths
from pipeline.errors import InputError
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
        """Equal for runs scored on the same questions."""
        return (self.scores.schema.metadata or {}).get(QUESTIONS, b"")


def experiments() -> list[str]:
    """The names of all experiments, oldest first."""
    rows = [row for row in dvc.api.exp_show(all_commits=True) if row["Experiment"]]
    return [row["Experiment"] for row in sorted(rows, key=lambda row: str(row["Created"]))]


def read_run(name: str) -> Run:
    """Read what DVC holds of a revision, an experiment, or the workspace.

    Raises:
        InputError: there is no such revision, or it has no scores of its questions.
    """
    read = (lambda path: Path(path).read_bytes()) if name == WORKSPACE else _reader(name)
    try:
        scores = pq.read_table(io.BytesIO(read(paths.question_scores(paths.PREDICTIONS))))
        metrics = json.loads(read(paths.EVAL_METRICS))
        params = yaml.safe_load(read(paths.PARAMS))
    except (OSError, DvcException):
        raise InputError(
            f"{name} has no scores of its questions; run `dvc repro` there and commit dvc.lock, or `dvc pull`"
        ) from None
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{name} has damaged scores: {error}") from None
    return Run(name, params, metrics, scores)


def _reader(name: str):
    try:
        files = DVCFileSystem(rev=name)
    except (SCMError, DvcException):
        raise InputError(
            f"there is no revision or experiment '{name}'; `dvc exp list --all-commits` shows the experiments"
        ) from None
    return lambda path: files.read_bytes(path.as_posix())


def refuse_other_questions(runs: Iterable[Run]) -> None:
    """Refuse runs that were not scored on the same questions.

    Raises:
        InputError: names the first two that differ.
    """
    first, *others = runs
    for run in others:
        if run.questions != first.questions:
            raise InputError(
                f"{run.name} was scored on other questions than {first.name} ({len(run.scores)} and "
                f"{len(first.scores)}); compare runs of one validation set"
            )

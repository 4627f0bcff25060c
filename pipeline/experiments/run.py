"""The scored students of this repository, as DVC knows them: the workspace, commits, branches and experiments."""

import io
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.scm import NoSCMError, RevError

from pipeline import paths
from pipeline.checksums import SUMS, matches
from pipeline.errors import InputError, rebuild
from pipeline.experiments.lockfile import stale, training_inputs
from pipeline.experiments.revision import Revision
from pipeline.log import log
from pipeline.params import check, parse
from pipeline.questions.question import Question
from pipeline.scores.question_scores import QUESTIONS, fingerprint

WORKSPACE = "workspace"
# the sections of params that determine what a student is trained on
INPUT_SECTIONS = ("dataset", "tokenize", "teacher", "logits", "backbone")
ROUNDING = 1e-3  # of the scores in metrics/eval.json
BUILD = "run `dvc repro` there and commit dvc.lock, or `dvc pull`"


@dataclass(frozen=True)
class Run:
    """One trained and scored student.

    Attributes:
        name: the revision or experiment as the user knows it.
        params: values of params.yaml.
        metrics: of metrics/eval.json.
        scores: a row a question, see `scores.question_scores`.
        files: what DVC holds of it; None in the workspace.
        inputs: equal for runs whose student had the same questions, logits and encoder before its training.
    """

    name: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    scores: pa.Table
    files: Revision | None = None
    inputs: str = ""

    @property
    def questions(self) -> bytes:
        """Equal for runs scored on the same questions by the same metric."""
        return (self.scores.schema.metadata or {}).get(QUESTIONS, b"")

    @property
    def setting(self) -> str:
        """Equal for runs whose params differ in the seed alone."""
        others = {key: value for key, value in with_defaults(self.params).items() if key != "seed"}
        return json.dumps(others, sort_keys=True)

    @property
    def input_setting(self) -> str:
        """Equal for runs whose params of `inputs` are equal."""
        params = with_defaults(self.params)
        return json.dumps({section: params.get(section) for section in INPUT_SECTIONS}, sort_keys=True)

    def read(self, path: Path) -> bytes:
        """The content of another of its files.

        Raises:
            InputError: it has no such file.
        """
        try:
            return _read(self.files, path)
        except (OSError, DvcException):
            raise InputError(f"{self.name} has no {path}; {BUILD}") from None

    def size(self, path: Path) -> int:
        """Bytes of another of its files.

        Raises:
            InputError: it has no such file.
        """
        try:
            return self.files.size(path) if self.files else path.stat().st_size
        except (OSError, DvcException):
            raise InputError(f"{self.name} has no {path}; {BUILD}") from None

    def read_table(self, path: Path, stage: str) -> pa.Table:
        """A sealed Parquet file, as a table.

        Args:
            stage: the DVC stage that writes it, for the error.

        Raises:
            InputError: it has no such file, or a damaged one.
        """
        try:
            return _read_table(self.files, path, stage)
        except (OSError, DvcException):
            raise InputError(f"{self.name} has no {path}; {BUILD}") from None
        except ValueError as error:
            raise InputError(f"{self.name} is damaged: {error}") from None


def experiments() -> dict[str, str]:
    """The commit of every experiment of the repository by its name, newest first.

    A name that experiments of several commits share belongs to the newest; the others are named by their commits. So is
    an experiment with the name of a branch or a tag, or named HEAD or workspace: git's names come first.

    Raises:
        InputError: this is no DVC repository.
    """
    try:
        with Repo() as repo:
            found = [pair for of_commit in repo.experiments.ls(all_commits=True).values() for pair in of_commit]
            found.sort(key=lambda pair: -repo.scm.resolve_commit(pair[1]).commit_time)
            taken = {"HEAD", WORKSPACE, *repo.scm.list_branches(), *repo.scm.list_tags()}
    except (NotDvcRepoError, NoSCMError):
        raise InputError("this folder is not in a DVC repository with git") from None
    named: dict[str, str] = {}
    for name, commit in found:
        if commit != named.get(name):
            named[commit[:7] if name in named or name in taken else name] = commit
    return named


def read_run(name: str, revision: str | None = None) -> Run:
    """Read what DVC holds of a revision, an experiment, or the workspace.

    Args:
        revision: the experiment's commit where it is known; else `name` is looked up.

    Raises:
        InputError: there is no such revision, it has no scores of its questions, or they are not of its params.
    """
    try:
        files = None if name == WORKSPACE else Revision(revision or experiments().get(name, name))
        scores = _read_table(files, paths.question_scores(paths.PREDICTIONS), "evaluate")
        metrics = json.loads(_read(files, paths.EVAL_METRICS))
        params = parse(_read(files, paths.PARAMS).decode())
        lock = _lock(files)
    except RevError:
        raise InputError(
            f"there is no revision or experiment '{name}'; `dvc exp list --all-commits` shows the experiments"
        ) from None
    except (OSError, DvcException):
        raise InputError(f"{name} has no scores of its questions; {BUILD}") from None
    except ValueError as error:
        raise InputError(f"{name} has damaged scores: {error}") from None
    if not isinstance(params, dict):
        raise InputError(f"{paths.PARAMS} of {name} has no parameters")
    for key in ("exact_match", "f1", "parameters", "nonzero_parameters", "bytes"):
        if not (isinstance(metrics, dict) and isinstance(metrics.get(key), int | float) and np.isfinite(metrics[key])):
            raise InputError(f"{paths.EVAL_METRICS} of {name} has no number {key}; {BUILD}")
    for key in ("exact_match", "f1"):
        if not np.isfinite(scores[key]).all():
            raise InputError(f"{paths.PREDICTIONS} of {name} has {key} that is not a finite number; {BUILD}")
        if abs(np.mean(scores[key]) - metrics[key]) > ROUNDING:
            raise InputError(
                f"{paths.PREDICTIONS} of {name} has {key} {np.mean(scores[key]):.2f}, and {paths.EVAL_METRICS} "
                f"{metrics[key]:.2f}: they are of two runs; run `dvc checkout`, or `dvc repro`"
            )
    if difference := stale(params, lock):
        raise InputError(f"the scores of {name} are not those of its params.yaml: {difference}; {BUILD}")
    return Run(name, params, metrics, scores, files, training_inputs(lock))


def fetch(run: Run, path: Path, folder: Path) -> Path:
    """Copy a file or folder of a run into `folder`, and return where it is; the workspace's is used where it is.

    Raises:
        InputError: DVC does not have it.
    """
    if run.files is None:
        return path
    try:
        run.files.copy(path, folder / path.name)
    except (OSError, DvcException):
        raise InputError(f"{run.name} has no {path}; {BUILD}") from None
    return folder / path.name


def commit_of(run: Run) -> str:
    """The commit of a run; of the workspace HEAD, and that it may have changed since."""
    with Repo() as repo:
        if run.files is None:
            return f"{repo.scm.get_rev()[:12]}, or a change of it"
        return str(repo.scm.resolve_commit(experiments().get(run.name, run.name)).hexsha)[:12]


def repository_address() -> str | None:
    """The web address of the remote `origin`, without a user's name or password; None if it has none."""
    command = ["git", "config", "--get", "remote.origin.url"]
    url = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    return f"https://{parts.hostname}{parts.path.removesuffix('.git')}"


def read_params(revision: str) -> dict[str, Any]:
    """The values of a revision's params.yaml; empty if it has none that can be read.

    Raises:
        InputError: there is no such revision.
    """
    try:
        return parse(Revision(revision).read(paths.PARAMS).decode()) or {}
    except RevError:
        raise InputError(f"there is no revision '{revision}'; `git commit` makes the first one") from None
    except (OSError, ValueError):
        return {}


def read_questions(run: Run) -> list[Question]:
    """The questions that a run was scored on, in the order of its scores.

    Raises:
        InputError: it does not have them, or they are damaged.
    """
    path = paths.DATASET / "validation.parquet"
    records: list[Question] = run.read_table(path, "dataset").to_pylist()
    metric = run.params.get("evaluate", {}).get("metric", "")
    if fingerprint(records, metric).encode() != run.questions:
        raise InputError(f"{path} of {run.name} has other questions than its scores; run `dvc repro` there")
    return records


def with_defaults(params: dict[str, Any]) -> dict[str, Any]:
    """The params with the defaults of missing keys, to compare them; as they are if they are not valid now."""
    try:
        return check(params, "params").model_dump()
    except InputError:
        return params


def _lock(files: Revision | None) -> dict[str, Any]:
    try:
        return parse(_read(files, paths.LOCK).decode()) or {}
    except FileNotFoundError:  # of stages that ran without DVC
        return {}


def _read(files: Revision | None, path: Path) -> bytes:
    return files.read(path) if files else path.read_bytes()


def _read_table(files: Revision | None, path: Path, stage: str) -> pa.Table:
    """A sealed Parquet file; OSError or DvcException without it, ValueError if it does not match its checksum."""
    content = _read(files, path)
    if not matches(content, path.name, _read(files, path.with_name(SUMS))):
        raise ValueError(f"{path} does not match its checksum in {SUMS}; {rebuild(path.parent, stage)}")
    return pq.read_table(io.BytesIO(content))


def scored_runs(first: list[str]) -> list[Run]:
    """The runs named, then HEAD, the workspace and all experiments; says which of those have no scores.

    Raises:
        InputError: a run named in `first` cannot be read, or there is none with scores.
    """
    runs = [read_run(name) for name in first]
    for name, revision in {"HEAD": "HEAD", WORKSPACE: None, **experiments()}.items():
        try:
            runs.append(read_run(name, revision))
        except InputError as error:
            log.warning("left out: %s", error)
    if not runs:
        raise InputError("no run has scores yet; `dvc repro` trains and scores a student")
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

"""Invented scores of invented students, and a git and DVC repository with some of them as experiments."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from dvc.repo import Repo

from pipeline import paths
from pipeline.questions.records import write_records
from pipeline.scores.question_scores import COLUMNS, QUESTIONS, fingerprint, paragraph, write_question_scores
from tests.tiny import TINY

QUESTIONS_PER_PARAGRAPH = 3
WORDS = ("What", "Who", "How many")


def records(paragraphs=8):
    return [
        {
            "id": f"{i}-{j}",
            "title": "Town",
            "context": f"Here lies town {i}, " + "and a river " * i,
            "question": f"{WORDS[j]} lies here?",
            "answers": {"text": [f"town {i}"], "answer_start": [10]},
            "is_impossible": False,
        }
        for i in range(paragraphs)
        for j in range(QUESTIONS_PER_PARAGRAPH)
    ]


def scores(records, share, seed=0):
    """A table in which about `share` of the questions are answered right, more or less surely by seed."""
    right = 100.0 * (np.random.default_rng(seed).random(len(records)) < share)
    columns = {
        "id": [record["id"] for record in records],
        "paragraph": [paragraph(record["context"]) for record in records],
        "article": [record["title"] for record in records],
        "windows": [1 + i % 2 for i in range(len(records))],
        "answerable": [True] * len(records),
        "exact_match": right,
        "f1": right,
        "agreement": right,
        "prediction": [record["answers"]["text"][0] for record in records],
        "start": [10] * len(records),
        "score": [1.0] * len(records),
        "null_odds": [None] * len(records),
    }
    return pa.table(
        columns, schema=COLUMNS.with_metadata({QUESTIONS: fingerprint(records, TINY["evaluate"]["metric"])})
    )


def params(head="linear", seed=0, **sections):
    return {
        **TINY,
        "head": head,
        "seed": seed,
        **{name: {**TINY[name], **values} for name, values in sections.items()},
    }


# of dvc.lock: a run of `params()`, and a teacher that the params no longer have
LOCK = {
    "stages": {
        "teacher@removed": {
            "params": {"params.yaml": {"teacher.models.removed": {"model": "new"}, "teacher.train": {"epochs": 99}}}
        },
        "train": {
            "deps": [{"path": "pipeline/train.py", "md5": "1"}],
            "params": {"params.yaml": {"head": "linear", "seed": 0, "train": params()["train"]}},
            "outs": [{"path": "data/student", "md5": "2"}],
        },
        "evaluate": {
            "deps": [{"path": "data/student", "md5": "2"}],
            "params": {"params.yaml": {"evaluate.n_best": 5}},
        },
    }
}


def metrics(table):
    return {
        "exact_match": float(np.mean(table["exact_match"])),
        "f1": float(np.mean(table["f1"])),
        "parameters": 1000,
        "nonzero_parameters": 700,
        "bytes": 4000,
    }


def write_run(values, questions, table):
    """Write what `evaluate` leaves in the workspace."""
    paths.PARAMS.write_text(yaml.safe_dump(values))
    paths.DATASET.mkdir(parents=True, exist_ok=True)
    write_records(questions, paths.DATASET / "validation.parquet")
    paths.EVAL_METRICS.parent.mkdir(exist_ok=True)
    paths.EVAL_METRICS.write_text(json.dumps(metrics(table)))
    write_question_scores(table, paths.question_scores(paths.PREDICTIONS))


def save_experiment(name):
    """Make the workspace an experiment, and the workspace what HEAD is."""
    with Repo() as repo:
        repo.experiments.save(name=name)
    git("checkout", "-qf", "HEAD", ".")


def git(*arguments):
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout


def create(subfolder=False):
    """A repository in the working directory; its files are in git, where DVC reads them as well.

    Args:
        subfolder: whether the working directory is in a git repository already.
    """
    if not subfolder:
        git("init", "-q", "-b", "main")
    Repo.init(".", subdir=subfolder).close()
    Path("pipeline").mkdir()
    Path("pipeline/train.py").write_text("print('training')\n")
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": {"cmd": "true", "deps": ["pipeline/train.py"]}}}))
    write_run(params(), records(), scores(records(), 0.3))
    git("add", "-A")
    git("commit", "-qm", "linear")
    for name, head, seed, share in (
        ("linear-seed1", "linear", 1, 0.3),
        ("cnn3-seed0", "cnn3", 0, 0.95),
        ("cnn3-seed1", "cnn3", 1, 0.95),
    ):
        write_run(params(head, seed), records(), scores(records(), share, seed))
        save_experiment(name)
    write_run(params("mlp"), records(5), scores(records(5), 0.5))
    save_experiment("other-questions")
    write_run(params("lstm64"), records(), scores(records(), 0.5))
    paths.question_scores(paths.PREDICTIONS).unlink()
    save_experiment("unscored")

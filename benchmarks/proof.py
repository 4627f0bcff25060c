"""A large teacher, few labels, many questions without: every row of the comparison, resumable with the same command.

    python -m benchmarks.proof FOLDER --train train-v1.1.json --validation dev-v1.1.json --teacher MODEL --student MODEL

FOLDER becomes a clone of this repository at its last commit, with the preset `unlabelled`, the files in data/raw and a
cache of its own. The teacher is fine-tuned on the first questions only, and then used as it is. Students have equal
numbers of steps. `--labelled 10000 --unlabelled 30000` are the sizes for a machine that multiplies bfloat16.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from pipeline import paths
from pipeline.imports import ROOT

RAW = Path("data/raw")
LABELLED, UNLABELLED, ALL = (RAW / f"{name}.json" for name in ("train", "unlabelled", "all"))
TUNED = RAW / "tuned"
ONLY_LABELLED = "dataset.unlabelled_file=null"
# settings that differ from params.yaml, by row
ROWS = {
    "a": ["distill.alpha=0", ONLY_LABELLED],
    "b": [ONLY_LABELLED],
    "c": [],
    "d": ["distill.alpha=0", ONLY_LABELLED, f"dataset.train_file={ALL}"],
    "e": ["shrink.layers=4", "shrink.intermediate_size=768"],
}


def main(args: argparse.Namespace) -> None:
    folder: Path = args.folder.absolute()
    if not folder.exists():
        prepare(args, folder)
    if not (folder / TUNED).exists():
        tune(folder)
    for row in args.rows:
        seeds = map(str, args.seeds if row in "bc" else args.seeds[:1])
        settings = chain.from_iterable(("-S", setting) for setting in ROWS[row])
        span_distill(folder, "sweep", "--heads", "linear", "--seeds", *seeds, *settings)
    span_distill(folder, "compare")


def prepare(args: argparse.Namespace, folder: Path) -> None:
    """Make the clone, with the questions, the models and the params."""
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    run(Path.cwd(), "git", "clone", "--quiet", str(ROOT), str(unfinished))
    data = json.loads(args.train.read_text(encoding="utf-8"))
    first, last = args.labelled, args.labelled + args.unlabelled
    for path, content in {
        LABELLED: part(data, range(first)),
        UNLABELLED: without_answers(part(data, range(first, last))),
        ALL: part(data, range(last)),
        RAW / "validation.json": json.loads(args.validation.read_text(encoding="utf-8")),
    }.items():
        (unfinished / path).write_text(json.dumps(content), encoding="utf-8")
    shutil.copytree(args.teacher, unfinished / RAW / "teacher")
    shutil.copytree(args.student, unfinished / RAW / "student")
    values = yaml.safe_load((ROOT / "presets/unlabelled.yaml").read_text(encoding="utf-8"))
    steps = {"epochs": args.steps, "max_steps": args.steps, "evaluate_minutes": 1000.0, "keep": "last"}
    values["train"] |= steps  # the same steps for any number of questions; no evaluation but the last
    write_params(unfinished, values)
    commit(unfinished, "questions, models and params of the proof")
    unfinished.rename(folder)


def part(data: dict[str, Any], numbers: range) -> dict[str, Any]:
    """The questions with these numbers, of a data set in SQuAD's format."""
    articles, count = [], 0
    for article in data["data"]:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            asked = [qa for number, qa in enumerate(paragraph["qas"], count) if number in numbers]
            count += len(paragraph["qas"])
            if asked:
                paragraphs.append({"context": paragraph["context"], "qas": asked})
        if paragraphs:
            articles.append({"title": article["title"], "paragraphs": paragraphs})
    if count < numbers.stop:
        sys.exit(f"error: the training questions are {count:,}, fewer than the {numbers.stop:,} that are needed")
    return {"version": data.get("version", "1.1"), "data": articles}


def without_answers(data: dict[str, Any]) -> dict[str, Any]:
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = [{"id": qa["id"], "question": qa["question"]} for qa in paragraph["qas"]]
    return data


def tune(folder: Path) -> None:
    """Fine-tune the teacher, and make it the one that every row uses as it is."""
    dvc(folder, "repro", "--quiet", "teacher")
    unfinished = folder / RAW / ".tuned"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(folder / paths.TEACHER / "large", unfinished)
    shutil.copytree(
        folder / paths.tokenizer("large"), unfinished, dirs_exist_ok=True, ignore=shutil.ignore_patterns("SHA256SUMS")
    )
    for name in ("SHA256SUMS", "about.json"):
        (unfinished / name).unlink(missing_ok=True)
    values = yaml.safe_load((folder / paths.PARAMS).read_text(encoding="utf-8"))
    values["teacher"]["models"]["large"]["model"] = str(TUNED)
    values["teacher"]["train"]["epochs"] = 0
    write_params(folder, values)
    unfinished.rename(folder / TUNED)
    dvc(folder, "repro", "--quiet")  # row c, in the workspace, so that sweeps copy what its stages computed
    commit(folder, "the fine-tuned teacher, used as it is")


def write_params(folder: Path, values: dict[str, Any]) -> None:
    (folder / paths.PARAMS).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "--all", "--force", str(RAW), paths.PARAMS)
    run(folder, "git", "add", "--all")
    author = ("-c", "user.name=proof", "-c", "user.email=proof@localhost")
    run(folder, "git", *author, "commit", "--quiet", "--message", message)


def span_distill(folder: Path, *arguments: str) -> None:
    run(folder, sys.executable, "-m", "pipeline", *arguments)


def dvc(folder: Path, *arguments: str) -> None:
    run(folder, sys.executable, "-m", "dvc", *arguments)


def run(folder: Path, *command: str) -> None:
    """Run a command in the clone with the clone's code, this Python and a cache of its own."""
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    cache = str(folder.with_name(f"{folder.name.removeprefix('.')}-cache"))
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PATH": binaries, paths.CACHE_VARIABLE: cache})
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed in {folder}; the same command resumes")


def arguments(command_line: Iterable[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proof", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the clone; its cache is beside it")
    parser.add_argument("--train", type=Path, required=True, help="training questions, SQuAD JSON")
    parser.add_argument("--validation", type=Path, required=True, help="questions to score on, SQuAD JSON")
    parser.add_argument("--teacher", type=Path, required=True, metavar="MODEL", help="folder of the large encoder")
    parser.add_argument("--student", type=Path, required=True, metavar="MODEL", help="folder of the small encoder")
    parser.add_argument("--labelled", type=int, default=4000, help="first questions, with labels (default: 4,000)")
    parser.add_argument("--unlabelled", type=int, default=12000, help="next ones, without (default: 12,000)")
    parser.add_argument("--steps", type=int, default=3000, help="of each student (default: 3,000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of b and c; the others have the first")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list("cabde"), help="in this order (default: all)")
    return parser.parse_args(command_line)


if __name__ == "__main__":
    main(arguments())

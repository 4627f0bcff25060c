"""publish: write a student with a model card, and push it to the hub.

    span-distill publish OUT [--student REV|EXP]
    span-distill publish OUT --license mit --language en --push USER/NAME --private

The folder has the weights, the config with the settings for windows and no answer, the tokenizer, and a model card with
scores and their intervals, size, latency where `span-distill cost` measured it, params and commit. The student's
examples are validation questions; they are published only with --examples. --push needs the hub's token, as
`hf auth login` stores it.
"""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi
from huggingface_hub.errors import LocalTokenNotFoundError

from pipeline import paths, pretrained
from pipeline.about import ABOUT, read_about, write_about
from pipeline.answering.card import Facts, model_card
from pipeline.checksums import SUMS, seal, sealed, verified
from pipeline.comparison.statistics import with_interval
from pipeline.errors import InputError
from pipeline.experiments import costs
from pipeline.experiments.run import Run, commit_of, fetch, read_run, repository_address, with_defaults
from pipeline.files import replacing
from pipeline.scores.standard_errors import clusters_of

CARD = "README.md"


def main(
    out: Path,
    student: str,
    license: str | None,
    language: str | None,
    push: str | None,
    private: bool,
    examples: bool = False,
) -> None:
    check_free(out)
    run = read_run(student)
    with TemporaryDirectory() as fetched, replacing(out) as made:
        source = verified(fetch(run, paths.STUDENT, Path(fetched)), "train")
        shutil.copytree(source, made, dirs_exist_ok=True)
        if (made / ABOUT).exists():
            write_about(read_about(made).published(examples), made)
        (made / CARD).write_text(model_card(facts(run, made, push or str(out), license, language)), encoding="utf-8")
        seal(made)
    print(f"wrote {out}: the student of {run.name}, with its model card in {out / CARD}")
    if push:
        print(f"pushed to {upload(out, push, private)}")


def check_free(out: Path) -> None:
    """Raise an InputError if something is at `out` that this command did not write."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out.is_dir() and is_published(out)):
        raise InputError(f"{out} exists and is not a published student; name another folder")
    written = {SUMS, *sealed(out)}
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir())
    if others := [name for name in files if name not in written]:
        raise InputError(
            f"{out} has files that this command did not write and would delete: {', '.join(others)}; move them, or "
            "name another folder"
        )


def is_published(folder: Path) -> bool:
    """Whether this command wrote the folder: of those with checksums, only such a one has a card among its files."""
    return CARD in sealed(folder) and not (folder / ".git").exists()


def facts(run: Run, folder: Path, name: str, license: str | None, language: str | None) -> Facts:
    """What the card says of a run's student, of which the folder is a copy.

    Raises:
        InputError: the run lacks one of its files.
    """
    config = pretrained.read_config(folder)
    return Facts(
        name,
        with_defaults(run.params),
        commit_of(run),
        scores(run),
        clusters_of(run.scores).note,
        run.metrics,
        json.loads(run.read(paths.TEACHER_METRICS)),
        json.loads(run.read(paths.PREDICTIONS / "calibration.json")),
        config["answering"],
        costs.read(run),
        costs.gain_of(run, run.metrics["f1"]),
        config["model_type"] != pretrained.STUDENT,
        license,
        language,
        repository_address(),
        read_about(folder),
    )


def scores(run: Run) -> dict[str, float]:
    """Exact match and F1, with their intervals if the questions are about two paragraphs or more."""
    clusters = clusters_of(run.scores).labels
    found: dict[str, float] = {}
    for name in ("exact_match", "f1"):
        values = run.scores[name].to_numpy()
        several = len(set(clusters)) > 1
        found |= with_interval(name, values, clusters) if several else {name: float(values.mean())}
    return found


def upload(folder: Path, name: str, private: bool) -> str:
    """Upload a folder to a model of the hub, which is created if need be; returns its address.

    Raises:
        InputError: the name or the token is not valid, or the hub refuses.
    """
    api = HfApi()
    try:
        url = api.create_repo(name, repo_type="model", private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="A student of span-distill")
    except LocalTokenNotFoundError:
        raise InputError("there is no token of the hub; `hf auth login` stores one") from None
    except Exception as error:  # the hub raises many types of exceptions
        raise InputError(
            f"cannot push to {name}: {pretrained.one_line(error)}; the folder {folder} is complete"
        ) from None
    return str(url)

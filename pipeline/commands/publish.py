"""publish: write a trained student as a folder that is complete in itself, and push it to the Hugging Face hub.

    python -m pipeline.commands.publish OUT [--student REV|EXP]
    python -m pipeline.commands.publish OUT --licence mit --language en --push USER/NAME --private

The folder has the weights, the config with the settings for windows and no answer, the tokenizer, and a model card with
scores and their intervals, size, latency where `pipeline.commands.cost` measured it, params and commit. --push needs
the hub's token, as `hf auth login` stores it.
"""

import argparse
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi
from huggingface_hub.errors import LocalTokenNotFoundError

from pipeline import cli, paths, pretrained
from pipeline.answering.card import Facts, model_card
from pipeline.checksums import seal, sealed, verified
from pipeline.commands import cost
from pipeline.commands.experiments import WORKSPACE, Run, commit_of, fetch, read_run, with_defaults
from pipeline.comparison.statistics import with_interval
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.scores.standard_errors import clusters_of

CARD = "README.md"


def arguments() -> argparse.ArgumentParser:
    parser = cli.parser("pipeline.commands.publish", __doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write")
    parser.add_argument("--student", default=WORKSPACE, metavar="REV|EXP", help="by default %(default)s")
    parser.add_argument(
        "--licence", "--license", metavar="ID", help="of your student, as the hub names it: mit, cc-by-sa-4.0"
    )
    parser.add_argument("--language", metavar="CODE", help="such as en")
    parser.add_argument("--push", metavar="USER/NAME", help="upload the folder to this model of the hub")
    parser.add_argument("--private", action="store_true", help="with --push: a model that others do not see")
    return parser


def main(out: Path, student: str, licence: str | None, language: str | None, push: str | None, private: bool) -> None:
    check_free(out)
    run = read_run(student)
    with TemporaryDirectory() as fetched, replacing(out) as made:
        source = verified(fetch(run, paths.STUDENT, Path(fetched)), "train")
        shutil.copytree(source, made, dirs_exist_ok=True)
        (made / CARD).write_text(model_card(facts(run, made, push or str(out), licence, language)), encoding="utf-8")
        seal(made)
    print(f"wrote {out}: the student of {run.name}, with its model card in {out / CARD}")
    if push:
        print(f"pushed to {upload(out, push, private)}")


def check_free(out: Path) -> None:
    """Raise an InputError if something is at `out` that this command did not write."""
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or is_published(out))):
        raise InputError(f"{out} exists and is no published student; name another folder")


def is_published(folder: Path) -> bool:
    """Whether this command wrote the folder: of those with checksums, only such a one has a card among its files."""
    return CARD in sealed(folder) and not (folder / ".git").exists()


def facts(run: Run, folder: Path, name: str, licence: str | None, language: str | None) -> Facts:
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
        cost.read(run),
        config["model_type"] != pretrained.STUDENT,
        licence,
        language,
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


if __name__ == "__main__":
    cli.run(main, arguments())

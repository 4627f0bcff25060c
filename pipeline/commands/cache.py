"""`python -m pipeline.commands.cache`: lists, verifies and prunes teachers' logits and checkpoints in the cache."""

import argparse
import shutil
import sys
import time
from pathlib import Path

from filelock import Timeout

from pipeline import paths
from pipeline.errors import InputError, run
from pipeline.logits import store as logit_store

DAY = 86400


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.commands.cache",
        description="Teachers' logits and unfinished trainings are kept for later runs in a folder of yours. "
        f"{paths.CACHE_VARIABLE} moves it.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="each teacher's windows, bytes and days since it was used; unfinished trainings")
    verify = commands.add_parser("verify", help="read every row and say what is wrong; exit code 1 if anything is")
    verify.add_argument("folder", nargs="*", type=Path, help="data/logits, say; left out: every kept teacher, and it")
    prune = commands.add_parser("prune", help="delete kept teachers and trainings; nothing in data/ changes")
    choice = prune.add_mutually_exclusive_group(required=True)
    choice.add_argument("--teacher", help="beginning of the name that `list` prints")
    choice.add_argument("--unused-days", type=days, help="those not used for so many days")
    choice.add_argument("--all", action="store_true", help="every one")
    arguments = parser.parse_args()
    if arguments.command == "list":
        show(teachers())
    elif arguments.command == "verify":
        folders = arguments.folder or [*teachers(), *([paths.LOGITS] if paths.LOGITS.exists() else [])]
        check([store for folder in folders for store in logit_store.stores(folder)])
    else:
        delete_teachers(chosen(arguments.teacher, arguments.unused_days))
        if arguments.teacher is None:
            delete([run for run in trainings() if days_unused(run) >= (arguments.unused_days or 0)])


def days(text: str) -> float:
    """A number of days, for argparse.

    Raises:
        ValueError: it is negative, or no number.
    """
    number = float(text)
    if not number >= 0:
        raise ValueError
    return number


def teachers() -> list[Path]:
    """The folders of kept teachers."""
    return folders_in(paths.cache() / "logits")


def trainings() -> list[Path]:
    """The folders of unfinished trainings."""
    return folders_in(paths.cache() / "training")


def folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.exists() else []


def days_unused(folder: Path) -> float:
    """Since the last run that read or wrote a teacher's folder, each of which writes a file anew; or a training's."""
    return (time.time() - folder.stat().st_mtime) / DAY


def show(folders: list[Path]) -> None:
    print(f"{paths.cache() / 'logits'}: {len(folders)} teachers")
    for folder in folders:
        shards = logit_store.shard_files(folder)
        size = sum(path.stat().st_size for path in shards) / 1e6
        print(
            f"{folder.name}  {contents(folder, shards)}, {len(shards)} shards, {size:.1f} MB, "
            f"unused for {days_unused(folder):.1f} days"
        )
    print(f"{paths.cache() / 'training'}: {len(trainings())} unfinished trainings")
    for folder in trainings():
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
        print(f"{folder.name}  {size:.1f} MB, unused for {days_unused(folder):.1f} days")


def contents(folder: Path, shards: list[Path]) -> str:
    try:
        windows = sum(logit_store.count_rows(path) for path in shards)
        return f"{logit_store.read_description(folder).dtype}, {windows} windows"
    except InputError:
        return "damaged, as `verify` shows"


def check(folders: list[Path]) -> None:
    found = [problem for folder in folders for problem in logit_store.problems(folder)]
    for problem in found:
        print(problem)
    print(f"{len(folders)} folders read, {len(found)} problems")
    sys.exit(1 if found else 0)


def chosen(name: str | None, days: float | None) -> list[Path]:
    """The teachers to delete: one by the beginning of its name, the long unused, or all."""
    folders = teachers()
    if name is not None:
        folders = [folder for folder in folders if folder.name.startswith(name)]
        if len(folders) != 1:
            raise InputError(f"{len(folders)} kept teachers have a name that begins with '{name}'; `list` shows them")
    return [folder for folder in folders if days is None or days_unused(folder) >= days]


def delete_teachers(folders: list[Path]) -> None:
    """Delete teachers' folders, but for those that a run is using."""
    for folder in folders:
        try:
            with logit_store.lock(folder).acquire(timeout=0):
                delete([folder])
        except Timeout:
            print(f"left {folder}, which a run is using")


def delete(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder)
        print(f"deleted {folder}")


if __name__ == "__main__":
    run(main)

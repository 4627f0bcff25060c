"""cache: list, verify and prune what is cached: logits, targets, checkpoints.

Reads the cache folder, which SPAN_DISTILL_CACHE sets; `verify` also reads data/logits.
`list` and `verify` change nothing. `prune` deletes from the cache, never from data.
"""

import shutil
import sys
import time
from pathlib import Path

from pipeline import paths
from pipeline.errors import InputError
from pipeline.locks import Held, hold_if_free
from pipeline.logits.manifest import read_description, stores
from pipeline.logits.shards import count_rows, shard_files
from pipeline.logits.verify import problems
from pipeline.progress import Progress

DAY = 86400


def main(
    command: str,
    folders: list[Path] | None = None,
    teacher: str | None = None,
    unused_days: float | None = None,
    all: bool = False,
) -> None:
    if command == "list":
        print_list(teachers())
    elif command == "verify":
        default = [*teachers(), *([paths.LOGITS] if paths.LOGITS.exists() else [])]
        verify([store for folder in folders or default for store in stores(folder)])
    else:
        delete(select_teachers(teacher, unused_days))
        if teacher is None:
            others = [*targets(), *checkpoints(), *measurements(), *folders_in(paths.handed_over())]
            delete([folder for folder in others if days_unused(folder) >= (unused_days or 0)])


def teachers() -> list[Path]:
    """The folders of cached logits, one per teacher."""
    return folders_in(paths.logits_cache())


def targets() -> list[Path]:
    """The folders of cached targets, one per student's windows and teachers."""
    return folders_in(paths.targets_cache())


def checkpoints() -> list[Path]:
    """The folders of cached checkpoints, one per training run."""
    return folders_in(paths.training_cache())


def measurements() -> list[Path]:
    """The folders of what the stage `shrink` measured, one per encoder and windows."""
    return folders_in(paths.importance_cache())


def folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.exists() else []


def days_unused(folder: Path) -> float:
    """Days since the last run that used the folder; each such run writes a file in it, which sets its mtime."""
    return (time.time() - folder.stat().st_mtime) / DAY


def print_list(folders: list[Path]) -> None:
    print(f"{paths.logits_cache()}: {len(folders)} teachers")
    for folder in folders:
        shards = shard_files(folder)
        size = sum(path.stat().st_size for path in shards) / 1e6
        print(
            f"{folder.name}  {summary(folder, shards)}, {len(shards)} shards, {size:.1f} MB, "
            f"last used {days_unused(folder):.1f} days ago"
        )
    print_folders(paths.targets_cache(), targets(), "targets")
    print_folders(paths.training_cache(), checkpoints(), "checkpoints")
    print_folders(paths.importance_cache(), measurements(), "measured encoders")
    print_folders(paths.handed_over(), folders_in(paths.handed_over()), "students' logits that evaluate will take")


def print_folders(where: Path, folders: list[Path], what: str) -> None:
    print(f"{where}: {len(folders)} {what}")
    for folder in folders:
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
        print(f"{folder.name}  {size:.1f} MB, last used {days_unused(folder):.1f} days ago")


def summary(folder: Path, shards: list[Path]) -> str:
    try:
        windows = sum(count_rows(path) for path in shards)
        return f"{read_description(folder).dtype}, {windows} windows"
    except InputError:
        return "damaged, see `verify`"


def verify(folders: list[Path]) -> None:
    found = []
    with Progress("verifying", "shard", sum(len(shard_files(folder)) for folder in folders)) as progress:
        for folder in folders:
            found += problems(folder, progress.update)
    for problem in found:
        print(problem)
    print(f"{len(folders)} folders verified, {len(found)} problems")
    sys.exit(1 if found else 0)


def select_teachers(name: str | None, days: float | None) -> list[Path]:
    """The teachers to delete: one by the beginning of its name, those unused for `days`, or all."""
    folders = teachers()
    if name is not None:
        folders = [folder for folder in folders if folder.name.startswith(name)]
        if len(folders) != 1:
            raise InputError(f"{len(folders)} cached teachers have a name that begins with '{name}'; see `list`")
    return [folder for folder in folders if days is None or days_unused(folder) >= days]


def delete(folders: list[Path]) -> None:
    """Delete folders of the cache, except those that a run is using."""
    for folder in folders:
        try:
            with hold_if_free(folder):
                shutil.rmtree(folder)
                print(f"deleted {folder}")
        except Held as held:
            print(f"skipped {folder}: {held} is using it")

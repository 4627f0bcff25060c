"""Git repositories with this pipeline and a very small corpus, to run DVC in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.tiny import TINY

ROOT = Path(__file__).parents[1]
# the outputs that a student is trained from
FOLDERS = ("dataset", "tokenizer", "features", "logits", "encoder")
WITHOUT_TEACHER = tuple(f"data/{name}" for name in FOLDERS)


class Repository:
    """An existing repository, and the cache folder that its stages use. Stages are forks, see `tests.forks`."""

    def __init__(self, folder: Path, cache: Path):
        self.folder = folder
        self.cache = cache
        self.environment = {**os.environ, "SPAN_DISTILL_CACHE": str(cache), "OMP_NUM_THREADS": "1"}

    def use_new_interpreters(self) -> None:
        """Run stages as a user does, with the code of the repository."""
        self.environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), self.environment["PATH"]])

    def __call__(self, *command: str) -> str:
        """Run a command in the repository and return its output; it must succeed."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *command: str, **options: Any) -> subprocess.Popen:
        """Start a command in the background, in a session of its own, without output unless `options` say otherwise."""
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, start_new_session=True, **options)

    def change(self, **values: Any) -> None:
        """Change keys of params.yaml; a dictionary is merged into its section."""
        file = self.folder / "params.yaml"
        params = yaml.safe_load(file.read_text())
        for key, value in values.items():
            params[key] = {**params[key], **value} if isinstance(value, dict) else value
        file.write_text(yaml.safe_dump(params))

    def commit(self) -> None:
        self("git", "add", "-A")
        self("git", "commit", "-qm", "a step")

    def configure_git(self) -> None:
        self("git", "config", "user.name", "test")
        self("git", "config", "user.email", "test@example.org")


def create(folder: Path, cache: Path) -> Repository:
    """Create a repository like a fresh clone of this one, with a very small corpus."""
    folder.mkdir()
    copied = ("pipeline", ".dvc/config", ".dvcignore", ".gitattributes", ".gitignore", "dvc.yaml", "data/raw/README.md")
    for name in copied:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(TINY))
    repository = Repository(folder, cache)
    repository("git", "init", "-q")
    repository.configure_git()
    repository.commit()
    return repository


def clone(origin: Repository, folder: Path, cache: Path) -> Repository:
    """Clone a repository. `cache` can be the origin's, or a new folder, as on another machine; DVC's cache is empty."""
    origin("git", "clone", "-q", str(origin.folder), str(folder))
    repository = Repository(folder, cache)
    repository.configure_git()
    return repository


def copy(origin: Repository, folder: Path, cache: Path) -> Repository:
    """Copy a repository with its outputs, DVC's cache and the cache of its stages."""
    shutil.copytree(origin.folder, folder, symlinks=True)
    shutil.copytree(origin.cache, cache)
    return Repository(folder, cache)


def ran(output: str) -> list[str]:
    """The stages that DVC ran, from its output."""
    return re.findall(r"^Running stage '([\w@-]+)':", output, re.M)

"""Repositories like a fresh clone of this one, with a very small corpus."""

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
# what a student is trained from
WITHOUT_TEACHER = tuple(f"data/{name}" for name in ("dataset", "tokenizer", "features", "logits", "backbone"))


class Repository:
    """A repository like a fresh clone of this one, with a very small corpus."""

    def __init__(self, folder: Path, cache: Path):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SPAN_DISTILL_CACHE": str(cache),
            "OMP_NUM_THREADS": "1",
        }
        folder.mkdir()
        for name in ("pipeline", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "data/raw/README.md"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        (folder / "params.yaml").write_text(yaml.safe_dump(TINY))
        self("git", "init", "-q")
        self("git", "config", "user.name", "test")
        self("git", "config", "user.email", "test@example.org")
        self.commit()

    def __call__(self, *command: str) -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen:
        """A command that goes on while the test does, in a session of its own."""
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, start_new_session=True, **silent)

    def change(self, **values: Any) -> None:
        """Change keys of params.yaml; those of a section are added to it."""
        file = self.folder / "params.yaml"
        params = yaml.safe_load(file.read_text())
        for key, value in values.items():
            params[key] = {**params[key], **value} if isinstance(value, dict) else value
        file.write_text(yaml.safe_dump(params))

    def commit(self) -> None:
        self("git", "add", "-A")
        self("git", "commit", "-qm", "a step")


class Clone(Repository):
    """A clone of a repository, on a machine that has none of its caches."""

    def __init__(self, origin: Repository, folder: Path, cache: Path):
        self.folder = origin.folder
        self.environment = {**origin.environment, "SPAN_DISTILL_CACHE": str(cache)}
        self("git", "clone", "-q", str(origin.folder), str(folder))
        self.folder = folder
        self("git", "config", "user.name", "test")
        self("git", "config", "user.email", "test@example.org")


def ran(output: str) -> list[str]:
    return re.findall(r"^Running stage '([\w@-]+)':", output, re.M)

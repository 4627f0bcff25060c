"""The files that git and DVC hold of a revision."""

import io
from functools import cache
from pathlib import Path
from typing import cast

from dvc.api import DVCFileSystem
from dvc.exceptions import NotDvcRepoError
from dvc.repo import Repo
from dvc.scm import NoSCMError

from pipeline.errors import InputError


class Revision:
    """The files of a commit, branch, tag or experiment's commit.

    Paths are relative to the project, which may be in a subfolder of the git repository.

    Raises:
        RevError: there is no such revision.
        InputError: this folder is not in a DVC repository with git.
    """

    def __init__(self, revision: str):
        self._root = _subfolder(Path.cwd())
        self._files = DVCFileSystem(rev=revision, subrepos=self._root != Path())

    def read(self, path: Path) -> bytes:
        """The content of a file.

        Raises:
            OSError, DvcException: it is not there.
        """
        return cast(bytes, self._files.read_bytes(self._path(path)))

    def copy(self, path: Path, to: Path) -> None:
        """Copy a file or a folder.

        Raises:
            OSError, DvcException: it is not there.
        """
        self._files.get(self._path(path), str(to), recursive=True)

    def md5(self, path: Path) -> str | None:
        """The MD5 of a file that DVC tracks, without downloading it; None of a file of git.

        Raises:
            OSError, DvcException: it is not there.
        """
        return self._files.info(self._path(path)).get("md5")

    def size(self, path: Path) -> int:
        """Bytes of a file.

        Raises:
            OSError, DvcException: it is not there.
        """
        known = self._files.info(self._path(path))["size"]
        if known is not None:
            return cast(int, known)
        with self._files.open(self._path(path)) as file:  # in a folder, of which DVC stores the whole size alone
            return cast(int, file.seek(0, io.SEEK_END))

    def _path(self, path: Path) -> str:
        return (self._root / path).as_posix()


@cache
def _subfolder(folder: Path) -> Path:
    """The path of the DVC repository around a folder in its git repository; `.` if they are one."""
    try:
        with Repo(str(folder)) as repo:
            return Path(repo.root_dir).relative_to(Path(repo.scm.root_dir).resolve())
    except (NotDvcRepoError, NoSCMError):
        raise InputError("this folder is not in a DVC repository with git") from None

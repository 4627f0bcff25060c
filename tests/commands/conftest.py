import shutil

import pytest

from pipeline import paths
from tests.commands import scored


@pytest.fixture(scope="session")
def scored_repository(tmp_path_factory):
    """A repository with scored experiments, see `scored.create`. Tests must not change it."""
    folder = tmp_path_factory.mktemp("scored")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("GIT_AUTHOR_NAME", "test")
        monkeypatch.setenv("GIT_AUTHOR_EMAIL", "test@example.org")
        monkeypatch.setenv("GIT_COMMITTER_NAME", "test")
        monkeypatch.setenv("GIT_COMMITTER_EMAIL", "test@example.org")
        scored.create()
    return folder


@pytest.fixture
def repository(scored_repository, tmp_path, monkeypatch):
    """A copy of it for one test, as the working directory, with a cache of its own."""
    shutil.copytree(scored_repository, tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "repository"

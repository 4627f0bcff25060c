"""Repositories in which `dvc repro` has run. It takes half a minute, so it runs once, and tests work on copies."""

import os
import shutil

import pytest
from filelock import FileLock

from tests.repositories import Repository, copy, create


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory):
    """A committed repository after `dvc repro`, with the output in repro.txt next to it. Tests must not change it.

    The first pytest-xdist worker that needs it creates it, in the parent of the workers' temporary folders.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "reproduced"
    with FileLock(f"{folder}.lock"):
        if not (folder / "repro.txt").exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            repository = create(folder / "repository", folder / "cache")
            repository.use_new_interpreters()
            output = repository("dvc", "repro")
            repository.commit()
            (folder / "repro.txt").write_text(output)
    return Repository(folder / "repository", folder / "cache")


@pytest.fixture
def repository(reproduced, tmp_path):
    """A copy of `reproduced` for one test, in a folder with a space in its name."""
    return copy(reproduced, tmp_path / "a clone", tmp_path / "cache")

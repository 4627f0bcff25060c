"""The scored repository of the commands' tests."""

from tests.commands.conftest import repository, scored_repository

__all__ = ["repository", "scored_repository"]

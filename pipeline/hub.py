"""Files of a commit in a repository of the Hugging Face hub: listed, downloaded to the hub's cache, and verified.

Only files of that commit are returned, and only after their content matched the hashes that the hub has for it.
A commit never changes, so a listing or a file that the cache has is not asked for again.
"""

import hashlib
import json
import shlex
from collections.abc import Iterator
from glob import escape
from pathlib import Path
from typing import Literal

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download

# the public get_cached_repo_tree leaves out the SHA-256 of LFS files
from huggingface_hub._tree_cache import read_tree_cache
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import RepoFile

from pipeline.errors import InputError

Kind = Literal["model", "dataset"]
NAMES = {"model": "model", "dataset": "data set"}


def list_files(repository: str, commit: str, kind: Kind) -> dict[str, str]:
    """The hash of each file of a commit, by path: the SHA-256 of a Git LFS file, the Git blob id of any other.

    Raises:
        InputError: the hub's cache has no listing of the commit, and the hub cannot be reached or does not have it.
    """
    listing = _cached_listing(repository, commit, kind)
    if listing is not None:
        return listing
    try:
        entries = list(HfApi().list_repo_tree(repository, recursive=True, revision=commit, repo_type=kind))
    except Exception as error:  # the hub raises many types of exceptions
        raise _failed(repository, commit, kind, error) from None
    files = [entry for entry in entries if isinstance(entry, RepoFile)]
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files}


def _cached_listing(repository: str, commit: str, kind: Kind) -> dict[str, str] | None:
    listing = read_tree_cache(str(_cache(repository, kind)), commit)
    if listing is None:
        return None
    return {path: entry.lfs_sha256 or entry.blob_id for path, entry in listing.items()}


def _cache(repository: str, kind: Kind) -> Path:
    """The folder of a repository in the hub's cache."""
    return Path(constants.HF_HUB_CACHE).expanduser().resolve() / repo_folder_name(repo_id=repository, repo_type=kind)


def download(repository: str, commit: str, kind: Kind, files: list[str]) -> Path:
    """A folder in the hub's cache with these files of a commit, verified; it may have others, which are not.

    Raises:
        InputError: a file is not in the cache, and the hub cannot be reached or does not have it; or it is damaged.
    """
    # first: where the hub cannot be reached, snapshot_download may take what the cache has of a commit for all of it
    hashes = list_files(repository, commit, kind)
    folder = _cache(repository, kind) / "snapshots" / commit
    is_listed = _cached_listing(repository, commit, kind) is not None
    if not is_listed or not all((folder / file).is_file() for file in files):
        try:  # it also stores the listing
            snapshot_download(repository, repo_type=kind, revision=commit, allow_patterns=[escape(f) for f in files])
        except Exception as error:
            raise _failed(repository, commit, kind, error) from None
    for file in files:
        _verify(folder / file, hashes[file])
    return folder


def _verify(path: Path, expected: str) -> None:
    """Compare a file with its hash: SHA-256 (64 digits) or Git's blob id (40 digits).

    Raises:
        InputError: it is missing, or has another hash.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing")
    if len(expected) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    if digest.hexdigest() != expected:
        raise InputError(
            f"{path} is damaged: its content does not match the hash that the hub has for it; "
            f"`rm {shlex.quote(str(path.resolve()))}` deletes it, and the next run downloads it again"
        )


def _failed(repository: str, commit: str, kind: Kind, error: Exception) -> InputError:
    return InputError(f"cannot download the {NAMES[kind]} {repository}, commit {commit}: {_cause(error)}")


def _cause(error: BaseException) -> str:
    """Why the hub did not answer with what it was asked for, in one line, and what to do."""
    for each in _chain(error):
        if isinstance(each, GatedRepoError):
            return "the repository is gated; accept its conditions on its page, and log in with `hf auth login`"
        if isinstance(each, RepositoryNotFoundError):
            return "there is no such repository, or it is private; check its name, or log in with `hf auth login`"
        if isinstance(each, RevisionNotFoundError):
            return "the repository has no such commit"
        if isinstance(each, RemoteEntryNotFoundError):
            return "the commit has no such file"
        if isinstance(each, HfHubHTTPError):
            return _status(each.response.status_code)
        if isinstance(each, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set, and the hub's cache does not have it; run once without HF_HUB_OFFLINE"
        if isinstance(each, (FileMetadataError, json.JSONDecodeError)):
            return f"{constants.ENDPOINT} did not answer like a hub; perhaps a login page or a proxy did"
        if isinstance(each, httpx2.TransportError):
            return f"the connection to {constants.ENDPOINT} failed ({_first_line(each)}); try again later"
    return _first_line(error)


def _status(code: int) -> str:
    """What an HTTP status of the hub means, and what to do."""
    if code == 401:
        return "the hub does not accept the token (HTTP 401); log in with `hf auth login`"
    if code == 429:
        return "the hub limits the number of requests (HTTP 429); try again later, or log in with `hf auth login`"
    if code >= 500:
        return f"the hub has an internal error (HTTP {code}); try again later"
    return f"the hub refused (HTTP {code}); check the permissions of the token"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    """The first line of an exception's message; the others are advice for users of the hub's Python client."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

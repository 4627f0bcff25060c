"""Files of commits on the small hub of tests/hub.py: up, down, refusing, cut off, and from the cache alone."""

import shlex
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import constants

from pipeline.errors import InputError
from pipeline.hub import download, list_files
from tests.hub import SMALL, commit, offline, switch
from tests.words import refused

OLD, NEW = commit(1), commit(2)
NAME = "owner/name"
# a small file and one in Git LFS
FILES = {
    OLD: {"config.json": b"old", "large.bin": b"o" * 3 * SMALL},
    NEW: {"config.json": b"new", "large.bin": b"n" * 3 * SMALL},
}
KINDS = ["model", "dataset"]


@pytest.fixture
def hub(hub):
    """A hub with two commits of a model and of a data set of the same name."""
    for kind in KINDS:
        for commit_id, files in FILES.items():
            hub.add(kind, NAME, commit_id, {path: kind.encode() + content for path, content in files.items()})
    return hub


def contents(commit_id, kind="model", files=("config.json", "large.bin")):
    folder = download(NAME, commit_id, kind, list(files))
    return {path: (folder / path).read_bytes() for path in files}


def expected(commit_id, kind="model"):
    return {path: kind.encode() + content for path, content in FILES[commit_id].items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["up", "offline", "down", "unauthorized", "gated", "limited", "error", "page"])
def test_files_are_those_of_the_commit_in_every_state_of_the_hub(hub, monkeypatch, state, kind):
    for commit_id in (OLD, NEW):
        assert contents(commit_id, kind) == expected(commit_id, kind)
    switch(hub, state, monkeypatch)
    hub.requests.clear()
    for commit_id in (OLD, NEW, OLD):
        assert contents(commit_id, kind) == expected(commit_id, kind)
    assert not hub.requests  # what is in the cache is not asked for


CAUSES = {
    "offline": "HF_HUB_OFFLINE",
    "down": "http://127.0.0.1: refused",
    "unauthorized": "token 401 `hf auth login`",
    "gated": "gated `hf auth login`",
    "limited": "429",
    "error": "500",
    "page": "page proxy",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", CAUSES)
def test_another_commit_in_the_cache_is_never_used(hub, monkeypatch, state, kind):
    contents(OLD, kind)
    switch(hub, state, monkeypatch)
    with refused(NAME, NEW, *CAUSES[state].split()):
        contents(NEW, kind)


@pytest.mark.parametrize("state", CAUSES)
def test_a_commit_of_which_the_cache_has_a_part_is_an_error_and_then_completed(hub, monkeypatch, state):
    contents(NEW, files=["config.json"])
    with monkeypatch.context() as inner:
        switch(hub, state, inner)
        with refused(NAME, NEW, *CAUSES[state].split()):
            contents(NEW)
    hub.fault = None
    if state == "down":
        hub.up()
    hub.requests.clear()
    assert contents(NEW) == expected(NEW)
    assert hub.downloads() == ["large.bin"]


@pytest.mark.parametrize(
    ("name", "commit_id", "cause"),
    [("owner/other", OLD, "private"), (NAME, commit(3), "no such commit")],
)
def test_a_repository_or_commit_that_the_hub_does_not_have_is_an_error(hub, name, commit_id, cause):
    contents(OLD)
    for function in (list_files, lambda *arguments: download(*arguments, ["config.json"])):
        with refused(name, commit_id, cause):
            function(name, commit_id, "model")


def test_a_folder_of_which_nobody_knows_whether_it_is_complete_is_not_used(hub, monkeypatch):
    """Older clients and single files leave snapshots without a listing of the commit."""
    snapshot = Path(constants.HF_HUB_CACHE) / "models--owner--name/snapshots" / OLD
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes(expected(OLD)["config.json"])
    with monkeypatch.context() as inner:
        offline(inner)
        with pytest.raises(InputError, match=f"{OLD}.*HF_HUB_OFFLINE"):
            contents(OLD)
    assert contents(OLD, files=["config.json"]) == {"config.json": expected(OLD)["config.json"]}
    offline(monkeypatch)
    assert contents(OLD, files=["config.json"]) == {"config.json": expected(OLD)["config.json"]}
    assert hub.downloads() == []


@pytest.mark.parametrize("resets", [1, 3])
def test_connections_that_break_at_first_are_tried_again(hub, resets):
    contents(OLD)
    hub.resets = resets
    assert contents(NEW) == expected(NEW)
    assert len(hub.waits) >= resets


def test_a_download_that_breaks_off_is_continued(hub, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", SMALL)
    hub.cut = SMALL
    assert contents(NEW) == expected(NEW)
    assert hub.downloads().count("large.bin") == 4  # in parts of 2000 of 6005 bytes


def test_a_download_that_breaks_off_for_good_leaves_nothing_that_is_used(hub):
    hub.cut = 0
    with refused(NAME, NEW, "connection", hub.endpoint):
        contents(NEW)
    hub.cut = None
    assert contents(NEW) == expected(NEW)


@pytest.mark.parametrize("body", [b"<title>Please log in</title>", bytes(len(b"model") + 3 * SMALL), b""])
def test_a_body_that_is_not_the_files_is_never_used(hub, body):
    """Where a login page or a proxy answers in the midst of a download, with the file's size or another."""
    hub.swapped = body
    with pytest.raises(InputError, match=r"size|damaged"):
        contents(NEW, files=["large.bin"])
    hub.swapped = None
    for path in Path(constants.HF_HUB_CACHE).rglob("blobs/*"):  # of a body with the file's size
        path.unlink()
    assert contents(NEW) == expected(NEW)


@pytest.mark.parametrize("file", ["config.json", "large.bin"])
@pytest.mark.parametrize("state", ["up", "offline"])
def test_a_damaged_file_is_an_error_with_the_command_that_deletes_it(hub, monkeypatch, file, state):
    path = download(NAME, NEW, "model", list(FILES[NEW])) / file
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with monkeypatch.context() as inner:
        switch(hub, state, inner)
        for _ in range(2):
            with refused(path, "damaged", "`rm") as raised:
                contents(NEW)
        contents(NEW, files=set(FILES[NEW]) - {file})  # the others can be used
    command = shlex.split(str(raised.value).split("`")[1])
    subprocess.run(command, check=True)
    assert contents(NEW) == expected(NEW)


def test_a_truncated_file_is_damaged(hub):
    path = download(NAME, NEW, "model", ["large.bin"]) / "large.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with refused("large.bin", "damaged"):
        contents(NEW)


def test_names_with_the_characters_of_patterns_are_names(hub):
    hub.add("dataset", NAME, NEW, {"a [1].json": b"one", "a 1.json": b"two", "b*.json": b"three"})
    folder = download(NAME, NEW, "dataset", ["a [1].json", "b*.json"])
    assert sorted(path.name for path in folder.iterdir()) == ["a [1].json", "b*.json"]

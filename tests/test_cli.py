import subprocess
import sys
import threading

import pytest
from safetensors import SafetensorError

from pipeline import cli, locks, paths
from pipeline.cli import report_errors
from pipeline.errors import InputError
from pipeline.locks import hold
from tests.words import mentions

EMPTY = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "a"]


def ended(error, capsys):
    """What is printed for an exception, as one line."""

    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        report_errors(main)
    return ended.value.code if isinstance(ended.value.code, str) else capsys.readouterr().err.strip()


@pytest.mark.parametrize("kind", [OSError, SafetensorError])
def test_only_an_error_that_says_so_resumes(kind, capsys):
    error = kind("no space left")
    assert ended(error, capsys) == "error: no space left"
    error.add_note("saved a checkpoint of step 7; the same command resumes")
    assert ended(error, capsys) == "error: no space left; saved a checkpoint of step 7; the same command resumes"


def test_only_an_interrupt_that_says_so_resumes(capsys):
    assert ended(KeyboardInterrupt(), capsys) == "interrupted"
    mentions(ended(KeyboardInterrupt("3 of 9 are cached"), capsys), "interrupted", "3 of 9 are cached", "resumes")


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Runs a stage as its command line does; returns the events, to which the stage adds `works`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage.py"])
    events = []

    def stage():
        cli.run_stage(lambda: events.append("works"), cli.stage_parser("stage", "A stage."))
        return events

    return stage


@pytest.fixture
def other(stage, monkeypatch):
    """Another stage that writes in this workspace; it ends once somebody says that he waits for it."""
    holds, ends = threading.Event(), threading.Event()

    def said(line, **_):
        mentions(line, "waiting for process", "stage", "data")
        ends.set()

    monkeypatch.setattr(locks.log, "info", lambda line, *values: said(line % values))

    def work():
        with hold(paths.DATA, "it writes"):
            holds.set()
            ends.wait(10)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert holds.wait(10)
    yield ends
    ends.set()
    thread.join()


def test_a_stage_waits_for_another_one_in_its_workspace(stage, other):
    assert stage() == ["works"]
    assert other.is_set()


def test_only_the_main_process_of_a_stage_waits(stage, other, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert stage() == ["works"]
    assert not other.is_set()


def test_a_stage_leaves_no_lock_file(stage, tmp_path):
    assert stage() == ["works"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "named", "word"), [("none/out.md", "none", "no folder"), ("folder", "folder", "file")]
)
def test_a_file_that_cannot_be_written_is_refused_before_any_work(name, named, word, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    parser = cli.parser("compare", "")
    parser.add_argument("--out", type=cli.output_file)
    assert parser.parse_args(["--out", str(tmp_path / "new.md")]).out == tmp_path / "new.md"
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--out", str(tmp_path / name)])
    mentions(capsys.readouterr().err, "argument --out", tmp_path / named, word)


def test_an_output_that_is_an_input_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").touch()
    (tmp_path / "link").symlink_to("in/a")
    for out in (tmp_path / "in/a", tmp_path / "link"):
        for path in (tmp_path / "in", tmp_path / "in/a"):
            with pytest.raises(InputError, match=f"--out {out} "):
                cli.refuse_input(out, None, path)
    cli.refuse_input(tmp_path / "in/new", tmp_path / "in")
    cli.refuse_input(None, tmp_path / "in")


def test_a_stage_in_a_copy_of_a_shallow_clone_stops(stage, tmp_path, monkeypatch):
    source, clone = tmp_path / "source", tmp_path / "clone"
    for command in (["init", "-q", source], ["-C", source, *EMPTY], ["-C", source, *EMPTY]):
        subprocess.run(["git", *command], check=True)
    for name, options in (("clone", ["--depth", "1"]), ("whole", [])):
        subprocess.run(["git", "clone", "-q", *options, source.as_uri(), tmp_path / name], check=True)
    monkeypatch.setenv("DVC_ROOT", str(clone))
    with pytest.raises(SystemExit, match="git fetch --unshallow"):
        stage()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "whole"))
    assert stage() == ["works"]
    monkeypatch.chdir(clone)  # not a copy: DVC runs there
    monkeypatch.setenv("DVC_ROOT", str(clone))
    assert stage() == ["works", "works"]

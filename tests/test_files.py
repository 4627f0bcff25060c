import os
import shutil
import stat
from types import SimpleNamespace

import pytest

from pipeline.errors import InputError
from pipeline.files import atomic_write, check_space, in_units, remove_unfinished, replacing


def test_a_file_that_is_not_complete_is_not_there(tmp_path):
    with pytest.raises(ValueError), atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    others = {tmp_path / name for name in ("identity.json", ".hidden", ".identity.json.copy", "a.123.0123abcd")}
    for path in others:
        path.touch()
    child = os.fork()
    if child == 0:
        with atomic_write(tmp_path / "identity.json") as temporary:
            temporary.write_text("half")
            os._exit(1)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == len(others) + 1
    remove_unfinished(tmp_path)
    assert set(tmp_path.iterdir()) == others


def test_a_device_is_written_to_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(tmp_path / "pipe") as path:
        path.write_text("through")
    assert os.read(reader, 100) == b"through"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    os.close(reader)


def test_a_symbolic_link_to_a_file_or_folder_stays(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder"):
        (tmp_path / f"to-{name}").symlink_to(name)
    with atomic_write(tmp_path / "to-file") as path:
        path.write_text("new")
    for content in ("first", "second"):
        with replacing(tmp_path / "to-folder") as path:
            (path / "a").write_text(content)
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "folder/a").read_text() == "second"
    assert all((tmp_path / f"to-{name}").is_symlink() for name in ("file", "folder"))


def test_a_folder_is_restored_after_a_kill_between_the_two_renames(tmp_path):
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old/a").write_text("complete")
    with pytest.raises(ValueError), replacing(tmp_path / "out"):
        raise ValueError
    assert (tmp_path / "out/a").read_text() == "complete"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["out"]


def test_files_of_a_new_folder_have_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "out") as path:
            (path / "model").touch(mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out/model").stat().st_mode) == 0o640


def test_the_bytes_that_are_written_are_named_and_must_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3_000_000))
    check_space(tmp_path, 2_500_000, "windows", temporary=500_000)
    assert capsys.readouterr().out == f"about 2.5 MB of windows will be written to {tmp_path}\n"
    with pytest.raises(InputError, match=rf"{tmp_path} needs about 3\.0 MB for windows.* 3\.0 MB free"):
        check_space(tmp_path, 2_500_000, "windows", temporary=500_001)


@pytest.mark.parametrize(("size", "expected"), [(999, "1 kB"), (10**6, "1.0 MB"), (2_340_000_000, "2.3 GB")])
def test_bytes_are_named_in_units(size, expected):
    assert in_units(size) == expected

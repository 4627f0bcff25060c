import subprocess

import pytest

from pipeline.checksums import SUMS, intact, seal, verified
from tests.damage import flip_bit
from tests.words import refused


@pytest.fixture
def folder(tmp_path):
    """A folder with three sealed files, one of them in a subfolder."""
    folder = tmp_path / "output"
    (folder / "inner").mkdir(parents=True)
    for name in ("a.txt", "b", "inner/c.json"):
        (folder / name).write_text(f"content of {name}")
    seal(folder)
    return folder


def test_coreutils_compares_the_checksums(folder):
    subprocess.run(["sha256sum", "--strict", "--check", SUMS], cwd=folder, check=True, capture_output=True)
    assert [line.split()[1] for line in (folder / SUMS).read_text().splitlines()] == ["a.txt", "b", "inner/c.json"]


def test_a_sealed_folder_and_its_files_are_verified(folder):
    assert verified(folder, "make") == folder
    assert verified(folder / "b", "make") == folder / "b"
    seal(folder)
    verified(folder, "make")


@pytest.mark.parametrize("name", ["a.txt", "inner/c.json"])
def test_one_flipped_bit_is_found(folder, name):
    flip_bit(folder / name)
    with refused(folder / name, "damaged", SUMS, f"delete {folder},", "`dvc repro make`"):
        verified(folder, "make")
    verified(folder / "b", "make")


@pytest.mark.parametrize("position", [i / 40 for i in range(40)])
def test_a_flipped_bit_of_the_checksums_is_found(folder, position):
    flip_bit(folder / SUMS, position)
    with refused("delete", "`dvc repro make`"):
        verified(folder, "make")


@pytest.mark.parametrize("name", ["a.txt", SUMS])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with refused(folder / name, "missing", f"delete {folder},", "`dvc repro make`"):
        verified(folder, "make")


def test_a_missing_folder_is_named(tmp_path):
    with refused(tmp_path / "none", "missing", "`dvc repro make`") as raised:
        verified(tmp_path / "none", "make")
    assert "delete" not in str(raised.value)


def test_sealing_a_file_keeps_the_checksums_of_the_others(folder):
    flip_bit(folder / "a.txt")
    (folder / "b").write_text("new")
    seal(folder / "b")
    verified(folder / "b", "make")
    with refused("a.txt", "damaged"):
        verified(folder / "a.txt", "make")


def test_a_file_without_a_checksum_is_not_verified(folder):
    (folder / "new").touch()
    verified(folder, "make")
    with refused("new", "damaged"):
        verified(folder / "new", "make")


def test_a_copy_is_compared_if_it_has_checksums(folder):
    assert intact(folder) == folder
    flip_bit(next(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS))
    with refused(folder, "damaged"):
        intact(folder)
    (folder / SUMS).unlink()
    assert intact(folder) == folder

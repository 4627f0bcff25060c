"""A checkout has the committed bytes, also on Windows: with other line ends DVC would run every stage again."""

from tests.repositories import create


def test_autocrlf_changes_no_file(tmp_path):
    repository = create(tmp_path / "repository", tmp_path / "cache")
    repository("git", "config", "core.autocrlf", "true")
    data = repository.folder / "data/raw/questions.csv"
    data.write_bytes(b"context,question\r\na,b\r\n")  # with the line ends of Windows
    (repository.folder / "data/raw/more.csv").write_bytes(b"context,question\na,b\n")
    repository.commit()
    clone = tmp_path / "clone"
    repository("git", "-c", "core.autocrlf=true", "clone", "-q", str(repository.folder), str(clone))
    files = repository("git", "ls-files").splitlines()
    assert {"params.yaml", "data/raw/questions.csv", "pipeline/paths.py"} <= set(files)
    assert [name for name in files if (clone / name).read_bytes() != (repository.folder / name).read_bytes()] == []

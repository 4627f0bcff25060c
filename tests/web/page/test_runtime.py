"""How onnxruntime-web is downloaded: once, verified, and with one line of what is wrong."""

import base64
import hashlib
import io
import tarfile

import pytest

from pipeline.web.page import runtime
from tests.words import refused

REFUSED = """npm error code ENOTFOUND
npm error syscall getaddrinfo
npm error network request failed, reason: getaddrinfo ENOTFOUND
npm error A complete log of this run can be found in: /somewhere"""


@pytest.fixture
def archive(monkeypatch):
    """A small package, which the pinned checksum is set to."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, member in runtime.FILES.items():
            info = tarfile.TarInfo(member)
            info.size = len(name)
            file.addfile(info, io.BytesIO(name.encode()))
    data = buffer.getvalue()
    monkeypatch.setattr(runtime, "INTEGRITY", base64.b64encode(hashlib.sha512(data).digest()).decode())
    return data


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Make a program called npm, the only one on the path."""

    def make(script):
        program = tmp_path / "bin" / "npm"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return make


def test_it_is_downloaded_once_without_running_its_scripts(tmp_path, archive, npm):
    (tmp_path / "package.tgz").write_bytes(archive)
    npm(f'echo "$@" > {tmp_path}/arguments\n/bin/cp {tmp_path}/package.tgz {runtime.ARCHIVE}')
    expected = {name: name.encode() for name in runtime.FILES}
    assert runtime.load(tmp_path / "cache") == expected
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.startswith(f"pack onnxruntime-web@{runtime.VERSION} --ignore-scripts")
    npm("exit 1")
    assert runtime.load(tmp_path / "cache") == expected
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [runtime.ARCHIVE]


def test_another_package_is_refused(tmp_path, archive):
    (tmp_path / runtime.ARCHIVE).write_bytes(archive + b"\0")
    with refused(tmp_path / runtime.ARCHIVE, "onnxruntime-web", "checksum", "delete"):
        runtime.load(tmp_path)


def test_without_npm_or_network_one_line_says_so(tmp_path, npm, monkeypatch):
    npm(f"echo '{REFUSED}' >&2; exit 1")
    with refused("npm", "onnxruntime-web", "network request failed"):
        runtime.load(tmp_path / "cache")
    npm("exit 1")
    with refused("npm", "onnxruntime-web", "no reason"):
        runtime.load(tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("npm", "missing", "Node.js"):
        runtime.load(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []

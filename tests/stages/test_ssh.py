"""A DVC remote over SSH, with a real sshd on the loopback interface."""

import getpass
import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.repositories import WITHOUT_TEACHER, clone, ran

SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SSHD, reason="needs sshd (Debian: openssh-server)"),
    pytest.mark.skipif(not importlib.util.find_spec("dvc_ssh"), reason="needs the extra dvc[ssh]"),
]


@pytest.fixture
def server(tmp_path):
    """Start an sshd that accepts a key of this user; returns (port, private key)."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path / 'host'}\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {tmp_path / 'user.pub'}\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
    )
    if getpass.getuser() == "root":
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd needs it; its system service would create it
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port, tmp_path / "user"
    process.terminate()
    process.wait()


def test_a_clone_that_pulls_over_ssh_changes_the_head_without_the_teacher(server, repository, tmp_path):
    port, key = server
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{tmp_path / 'remote'}"
    repository("dvc", "remote", "add", "-d", "team", url)
    repository.commit()
    pulled = clone(repository, tmp_path / "another", tmp_path / "empty cache")
    for each in (repository, pulled):
        each("dvc", "remote", "modify", "--local", "team", "keyfile", str(key))
    repository("dvc", "push", "-q")
    assert len([path for path in (tmp_path / "remote").rglob("*") if path.is_file()]) > 10
    pulled("dvc", "pull", "-q", *WITHOUT_TEACHER)
    pulled.change(head="mlp")
    assert ran(pulled("dvc", "repro", "--allow-missing")) == ["train", "evaluate"]
    assert not (pulled.folder / "data/teacher").exists()

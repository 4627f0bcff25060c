"""A team's remote over SSH: a real sshd, on loopback."""

import getpass
import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.repositories import WITHOUT_TEACHER, Clone, Repository, ran

SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SSHD, reason="needs sshd, of Debian's openssh-server"),
    pytest.mark.skipif(not importlib.util.find_spec("dvc_ssh"), reason="needs the extra dvc[ssh]"),
]


@pytest.fixture
def server(tmp_path):
    """(port, private key) of an sshd that lets this user in by key."""
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
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, made by the service that does not run here
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port, tmp_path / "user"
    process.terminate()
    process.wait()


def test_a_clone_that_pulls_over_ssh_changes_the_head_without_the_teacher(server, tmp_path):
    port, key = server
    repository = Repository(tmp_path / "a clone", tmp_path / "cache")
    repository("dvc", "repro")
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{tmp_path / 'remote'}"
    repository("dvc", "remote", "add", "-d", "team", url)
    repository.commit()
    clone = Clone(repository, tmp_path / "another", tmp_path / "no cache yet")
    for each in (repository, clone):
        each("dvc", "remote", "modify", "--local", "team", "keyfile", str(key))
    repository("dvc", "push", "-q")
    assert len([path for path in (tmp_path / "remote").rglob("*") if path.is_file()]) > 10
    clone("dvc", "pull", "-q", *WITHOUT_TEACHER)
    clone.change(head="mlp")
    assert ran(clone("dvc", "repro", "--allow-missing")) == ["train", "evaluate"]
    assert not (clone.folder / "data/teacher").exists()

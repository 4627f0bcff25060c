"""onnxruntime-web, which runs the student in the page: downloaded by npm, verified, read from the user's cache."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from pipeline.errors import InputError

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# SHA-512 of the package, as in a package-lock.json
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
FILES = {
    "script": "package/dist/ort.wasm.min.js",
    "glue": "package/dist/ort-wasm-simd-threaded.mjs",
    "wasm": "package/dist/ort-wasm-simd-threaded.wasm",
}
OPTIONS = ["--loglevel=error", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
TIMEOUT = 600  # seconds


def load(cache: Path) -> dict[str, bytes]:
    """The files of `FILES`, by name; the package is downloaded if `cache` does not have it.

    No script of the package is run, and none of its dependencies is installed: the files contain them.

    Raises:
        InputError: npm is missing or cannot download the package, or its checksum is wrong.
    """
    path = cache / ARCHIVE
    if not path.exists():
        _download(path)
    if _checksum(path) != INTEGRITY:
        raise InputError(
            f"{path} is not {PACKAGE} {VERSION}: its checksum differs; delete it and run the command again"
        )
    with tarfile.open(path) as archive:
        members = {name: archive.extractfile(member) for name, member in FILES.items()}
        return {name: member.read() for name, member in members.items() if member}


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()


def _download(path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"npm is missing; it downloads {PACKAGE} {VERSION} once; install Node.js")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # without a package.json that npm would read
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", *OPTIONS]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"npm did not download {PACKAGE} {VERSION} in {TIMEOUT} seconds") from None
        downloaded = Path(folder) / ARCHIVE
        if done.returncode or not downloaded.exists():
            raise InputError(f"npm cannot download {PACKAGE} {VERSION}: {_reason(done.stderr)}")
        downloaded.replace(path)


def _reason(errors: str) -> str:
    """The line of npm's errors that says why; the first is a code, the last names a log."""
    lines = [line.removeprefix("npm error ") for line in errors.splitlines()]
    return next((line for line in lines if not line.startswith(("code ", "errno ", "syscall "))), "it gave no reason")

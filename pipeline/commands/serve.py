"""serve: answer questions over HTTP and on a page in the browser.

The page is at /; programs use `POST /answer`, /health and /openapi.json. Listens on this machine only, unless --host
says otherwise. Reads the folders of the students and the teacher; writes nothing. Ctrl-C stops it.
"""

import sys
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.web.service import server
from pipeline.web.service.limits import Limits
from pipeline.web.service.served import load

UNPROTECTED = "there is no password and no encryption"


def tokenizer_of(teacher: Path) -> Path:
    """The folder of a teacher's tokenizer: its own, or data/tokenizer/NAME for data/teacher/NAME."""
    beside = teacher.resolve().parent.parent / paths.tokenizer(teacher.resolve().name).relative_to(paths.TEACHER.parent)
    return beside if beside.is_dir() and not (teacher / "tokenizer.json").exists() else teacher


def main(folders: list[Path], teacher: Path | None, port: int, host: str, **limits: Any) -> None:
    students = load(folders, teacher, teacher and tokenizer_of(teacher))
    with server.listen(host, port) as socket:
        if not server.is_loopback(host):
            print(f"warning: --host {host} lets other machines ask; {UNPROTECTED}", file=sys.stderr)
        names = ", ".join(student.name for student in students)
        print(f"{names}: ask at {server.url(socket)} (Ctrl-C stops)", flush=True)
        server.run(students, Limits(**limits), host, socket)

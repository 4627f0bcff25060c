"""page: write an HTML page that answers in the browser, without a server.

One file, with the student in it: whoever has the page has the student.
Reads a folder that `span-distill export` wrote. Downloads onnxruntime-web with npm the first time;
verifies it and caches it.
"""

from pathlib import Path

from pipeline import cli, paths
from pipeline.files import atomic_write
from pipeline.web.page import runtime
from pipeline.web.page.build import read, render


def main(folder: Path, out: Path, precision: str | None) -> None:
    cli.refuse_input(out, folder)
    student = read(folder, precision)
    page = render(student, runtime.load(paths.writable(paths.cache() / "page"))).encode()
    with atomic_write(out) as temporary:
        temporary.write_bytes(page)
    print(f"{out}: {len(page) / 1e6:.1f} MB; open it in a browser")

"""page: write one HTML page in which a browser answers questions about a text with a student; no server, no network.

Reads a folder that `python -m pipeline.commands.export` wrote. Downloads onnxruntime-web with npm the first time;
verifies it and caches it. The page contains the student, so whoever has the page has the student.
"""

import argparse
from pathlib import Path

from pipeline import cli, paths
from pipeline.files import atomic_write
from pipeline.web.page import runtime
from pipeline.web.page.build import MODELS, read, render

PAGE = Path("page.html")


def arguments() -> argparse.ArgumentParser:
    parser = cli.parser("pipeline.commands.page", __doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="an exported student")
    parser.add_argument("--out", metavar="FILE", type=cli.output_file, default=PAGE, help=f"by default {PAGE}")
    parser.add_argument(
        "--precision", choices=list(MODELS), help="of the model; by default int8, or float32 if that is all there is"
    )
    return parser


def main(folder: Path, out: Path, precision: str | None) -> None:
    student = read(folder, precision)
    page = render(student, runtime.load(paths.writable(paths.cache() / "page"))).encode()
    with atomic_write(out) as temporary:
        temporary.write_bytes(page)
    print(f"{out}: {len(page) / 1e6:.1f} MB; open it in a browser")


if __name__ == "__main__":
    cli.run(main, arguments())

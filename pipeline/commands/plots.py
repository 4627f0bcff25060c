"""plots: write the plots of `dvc plots diff` as an HTML page.

Reads what DVC reads: the plots of dvc.yaml, of the revisions and experiments named. Writes only --out.
"""

import contextlib
import io
import tempfile
from pathlib import Path

from dvc.cli import main as dvc

from pipeline.errors import InputError
from pipeline.report.page import vega

# DVC's own page loads Vega from the web; DVC fills in {plot_divs}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plots</title>
<style>body {{ font-family: system-ui, sans-serif; }} .vega-embed {{ overflow-x: auto; max-width: 100%; }}</style>
<script>{vega}</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def main(names: list[str], out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "template.html"
        template.write_text(PAGE.format(vega=vega()), encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()):  # where the page in this folder is; errors go to stderr
            failed = dvc(["plots", "diff", *names, "--html-template", str(template), "--out", folder])
        if failed:
            raise InputError(f"`dvc plots diff {' '.join(names)}` failed, see above")
        out.write_bytes((Path(folder) / "index.html").read_bytes())
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")

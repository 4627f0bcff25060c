"""The page's scripts in node, without a browser."""

import json
import shutil
import subprocess
from typing import Any

from pipeline.web.page.build import FOLDER

NODE = shutil.which("node")
SCRIPTS = ("tokenizer.js", "windows.js", "decoding.js")


def run(body: str, data: Any) -> Any:
    """The JSON value that `body`, which can use the scripts and `data`, returns."""
    scripts = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS)
    main = (
        'const data = JSON.parse(require("fs").readFileSync(0, "utf8"));\n'
        f"process.stdout.write(JSON.stringify((() => {{ {body} }})()));"
    )
    command = [str(NODE), "-e", f"{scripts}\n{main}"]
    done = subprocess.run(command, input=json.dumps(data).encode(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)

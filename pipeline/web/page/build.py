"""One HTML page that answers questions about a text with an exported student, in the reader's browser."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import files
from pathlib import Path
from typing import Any

from pipeline.about import About, read_about
from pipeline.errors import InputError
from pipeline.models.student import answering
from pipeline.onnx_export.folder import FLOAT32, INT8, load
from pipeline.questions import tokenization
from pipeline.web import html
from pipeline.web.facts import facts
from pipeline.web.page import runtime
from pipeline.web.page.tokenizer import describe

FOLDER = Path(__file__).parent
MODELS = {"int8": INT8, "float32": FLOAT32}
WORKER = ("tokenizer.js", "windows.js", "decoding.js", "worker.js")
# strict-dynamic: what the page's own scripts load may run, that is the worker and its parts; no other script may
DIRECTIVES = {"script-src": "{script} 'strict-dynamic' 'wasm-unsafe-eval'", "worker-src": "blob:"}
LARGEST = 500_000_000  # characters of a packed model; browsers hold no longer text


@dataclass(frozen=True)
class Exported:
    """An exported student that the page can run.

    Attributes:
        facts: what is said of it: head, encoder, size.
        model: the ONNX file.
        setup: its settings and its tokenizer, JSON values for worker.js.
        about: what it was trained on, and examples.
    """

    facts: list[str]
    model: bytes
    setup: dict[str, Any]
    about: About


def read(folder: Path, precision: str | None) -> Exported:
    """The exported student in a folder.

    Args:
        precision: `int8` or `float32`; None for int8, or float32 if there is no int8.

    Raises:
        InputError: there is none, it is damaged or cannot answer, or the page cannot tokenize as it does.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; `span-distill export` writes such a folder")
    precision = precision or next((name for name, path in MODELS.items() if (folder / path).is_file()), "float32")
    file = MODELS[precision]
    if not (folder / file).is_file():
        raise InputError(f"{folder / file} is missing; `span-distill export` writes it")
    config = load(folder, file).config
    setup = {
        "settings": asdict(answering(config, folder)),
        "tokenizer": describe(tokenization.load(folder), folder),
    }
    model, about = (folder / file).read_bytes(), read_about(folder)
    return Exported([*facts(config), f"{precision}, {len(model) / 1e6:.1f} MB"], model, setup, about)


def render(student: Exported, engine: dict[str, bytes]) -> str:
    """The page; the same arguments give the same text.

    It loads nothing: the student, its tokenizer and onnxruntime-web are in it, compressed. Its policy allows its own
    scripts, by their hashes, and those that it makes of its parts; it can connect to nothing.

    Args:
        engine: files of onnxruntime-web, as from `runtime.load`.

    Raises:
        InputError: the model is too large.
    """
    parts = {
        "model": html.pack(student.model),
        "wasm": html.pack(engine["wasm"]),
        "glue": html.pack(engine["glue"]),
        "worker": html.pack(b"\n".join([engine["script"], *((FOLDER / name).read_bytes() for name in WORKER)])),
        "setup": html.pack(json.dumps(student.setup).encode()),
        "examples": html.pack(json.dumps([asdict(example) for example in student.about.examples]).encode()),
        "licenses": html.pack(licenses().encode()),
    }
    if len(parts["model"]) > LARGEST:
        raise InputError(f"the model is too large for a page: {len(student.model) / 1e6:.0f} MB")
    return html.render(
        FOLDER / "template.html",
        DIRECTIVES,
        student=student,
        parts=parts,
        style=html.inline(FOLDER / "page.css"),
        script=html.inline(html.MARKS, FOLDER / "page.js"),
        runtime=f"{runtime.PACKAGE} {runtime.VERSION}",
    )


def licenses() -> str:
    """The licenses of onnxruntime and of its parts. Its Python package has the texts, its npm package does not."""
    found = {path.name: path for path in files("onnxruntime") or [] if str(path.parent) == "onnxruntime"}
    return "\n\n".join(found[name].read_text(encoding="utf-8") for name in ("LICENSE", "ThirdPartyNotices.txt"))

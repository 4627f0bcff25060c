"""One HTML page that answers questions about a text with an exported student, in the reader's browser."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline import pretrained
from pipeline.errors import InputError
from pipeline.questions import tokenization
from pipeline.web.page import runtime
from pipeline.web.page.tokenizer import describe

FOLDER = Path(__file__).parent
TEMPLATES = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
MODELS = {"int8": "onnx/model_quantized.onnx", "float32": "onnx/model.onnx"}
WORKER = ("tokenizer.js", "windows.js", "decoding.js", "worker.js")
SETTINGS = ("max_length", "stride", "max_answer_length", "null_threshold", "confidence_temperature")
LARGEST = 500_000_000  # characters of a packed model; browsers hold no longer text


@dataclass(frozen=True)
class Exported:
    """An exported student that the page can run.

    Attributes:
        name: of its folder.
        facts: what is said of it: head, encoder, size.
        model: the ONNX file.
        setup: its settings and its tokenizer, JSON values for worker.js.
    """

    name: str
    facts: list[str]
    model: bytes
    setup: dict[str, Any]


def read(folder: Path, precision: str | None) -> Exported:
    """The exported student in a folder.

    Args:
        precision: `int8` or `float32`; None for int8, or float32 if there is no int8.

    Raises:
        InputError: there is none, a file is damaged, or the page cannot run it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; `span-distill export` writes such a folder")
    precision, model = read_model(folder, precision)
    config = pretrained.read_json(folder / pretrained.CONFIG)
    setup = {"settings": _settings(config, folder), "tokenizer": describe(tokenization.load(folder), folder)}
    return Exported(folder.resolve().name, _facts(config, precision, len(model)), model, setup)


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
        "model": pack(student.model),
        "wasm": pack(engine["wasm"]),
        "glue": pack(engine["glue"]),
        "worker": pack(b"\n".join([engine["script"], *((FOLDER / name).read_bytes() for name in WORKER)])),
        "setup": pack(json.dumps(student.setup).encode()),
        "licenses": pack(licenses().encode()),
    }
    if len(parts["model"]) > LARGEST:
        raise InputError(f"the model of {student.name} is too large for a page: {len(student.model) / 1e6:.0f} MB")
    page = TEMPLATES.get_template("template.html").render(
        student=student,
        parts=parts,
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup((FOLDER / "page.js").read_text(encoding="utf-8")),
        runtime=f"{runtime.PACKAGE} {runtime.VERSION}",
        policy="POLICY",
    )
    return page.replace("POLICY", policy(page), 1)


def read_model(folder: Path, precision: str | None) -> tuple[str, bytes]:
    """The precision of the model that `read` takes, and its file; raises as `read`."""
    found = [name for name, path in MODELS.items() if (folder / path).is_file()]
    if (precision or "float32") not in found and not (precision is None and found):
        path = folder / MODELS[precision or "float32"]
        raise InputError(f"{path} is missing; `span-distill export` writes it")
    precision = precision or found[0]
    pretrained.check_file(folder / MODELS[precision])
    return precision, (folder / MODELS[precision]).read_bytes()


def _settings(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """How the student answers: the lengths of windows and answers, the threshold and the temperature."""
    answering = config.get("answering")
    if not isinstance(answering, dict):
        answering = {}
    missing = [name for name in SETTINGS if name not in answering]
    if missing:
        raise InputError(f"{folder / pretrained.CONFIG} has no answering.{missing[0]}; `span-distill export` adds it")
    return {name: answering[name] for name in SETTINGS}


def _facts(config: dict[str, Any], precision: str, size: int) -> list[str]:
    """What is said of a student: head, encoder, size."""
    layers, hidden = config.get("num_hidden_layers"), config.get("hidden_size")
    encoder = f"encoder {config.get('model_type')}"
    if layers and hidden:
        encoder += f", {layers} {'layer' if layers == 1 else 'layers'} of {hidden}"
    return [f"head {config.get('head')}", encoder, f"{precision}, {size / 1e6:.1f} MB"]


def pack(data: bytes) -> str:
    """Gzip in base64; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()


def licenses() -> str:
    """The license of onnxruntime, and those of what it contains; its Python package has the texts, the npm one not."""
    found = {path.name: path for path in files("onnxruntime") or [] if str(path.parent) == "onnxruntime"}
    return "\n\n".join(found[name].read_text(encoding="utf-8") for name in ("LICENSE", "ThirdPartyNotices.txt"))


def policy(page: str) -> str:
    """A content security policy that allows the inline scripts and styles of a page, workers, and no connection."""
    sources = {}
    for tag in ("script", "style"):
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        sources[tag] = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {sources['script']} 'wasm-unsafe-eval' blob:; worker-src blob:; "
        f"style-src {sources['style']}; base-uri 'none'; form-action 'none'"
    )

"""What the page is made of, and what is refused; without a browser."""

import base64
import gzip
import hashlib
import json
import re
import shutil

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.questions.tokenization import train
from pipeline.web.page.build import FOLDER, MODELS, WORKER, read, read_model, render

ENGINE = {"script": b"var ort;", "glue": b"export default 1;", "wasm": b"\0asm"}
ANSWERING = {"max_length": 64, "stride": 16, "max_answer_length": 30, "null_threshold": None}
CONFIG = {
    "model_type": "bert",
    "head": "cnn3",
    "num_hidden_layers": 6,
    "hidden_size": 384,
    "answering": {**ANSWERING, "confidence_temperature": 1.5},
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder as the export makes it; the models are no models, since nothing here runs them."""
    folder = tmp_path_factory.mktemp("export") / "a <b>student"
    (folder / "onnx").mkdir(parents=True)
    for name, path in MODELS.items():
        (folder / path).write_bytes(np.random.default_rng(0).bytes(1000) + name.encode())
    (folder / "config.json").write_text(json.dumps(CONFIG))
    train(["some text"], vocab_size=50).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "copy")


@pytest.fixture(scope="module")
def text(original):
    return render(read(original, None), ENGINE)


def part(text, name):
    return gzip.decompress(base64.b64decode(re.search(rf'id="part-{name}">([^<]*)<', text)[1]))


def test_the_parts_are_in_the_page(original, text):
    assert part(text, "model") == (original / MODELS["int8"]).read_bytes()
    assert (part(text, "wasm"), part(text, "glue")) == (ENGINE["wasm"], ENGINE["glue"])
    assert all((FOLDER / name).read_bytes() in part(text, "worker") for name in WORKER)
    setup = json.loads(part(text, "setup"))
    assert setup["settings"] == CONFIG["answering"]
    assert setup["tokenizer"]["special"] == {"before": [2], "between": [3], "after": [3]}
    licenses = part(text, "licenses").decode()
    assert "MIT License" in licenses and "protobuf" in licenses and "Eigen" in licenses


def test_the_student_is_named_as_text(text):
    assert "Student <b>a &lt;b&gt;student</b>: head cnn3; encoder bert, 6 layers of 384; int8, 0.0 MB" in text


def test_the_same_folder_gives_the_same_page(original, text):
    assert render(read(original, None), ENGINE) == text


def test_the_policy_allows_the_scripts_of_the_page_and_no_connection(text):
    allowed = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    directives = {name: values for name, *values in map(str.split, allowed.split(";"))}
    hashes = {}
    for tag in ("script", "style"):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        hashes[tag] = f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
    assert directives == {
        "default-src": ["'none'"],
        "script-src": [hashes["script"], "'wasm-unsafe-eval'", "blob:"],
        "worker-src": ["blob:"],
        "style-src": [hashes["style"]],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    assert not re.findall(r"https?://|src=|url\(|@import", text)


def test_float32_is_taken_by_option_or_if_there_is_no_int8(folder):
    float32 = ("float32", (folder / MODELS["float32"]).read_bytes())
    assert read_model(folder, "float32") == float32
    (folder / MODELS["int8"]).unlink()
    assert read_model(folder, None) == float32
    with pytest.raises(InputError, match=r"model_quantized.onnx is missing; .*span-distill export"):
        read_model(folder, "int8")
    (folder / MODELS["float32"]).unlink()
    with pytest.raises(InputError, match=r"model.onnx is missing; .*span-distill export"):
        read_model(folder, None)


def test_a_folder_that_is_no_export_is_refused_in_one_line(folder):
    def refused(message, where=folder):
        with pytest.raises(InputError, match=message) as error:
            read(where, None)
        assert "\n" not in str(error.value)

    refused("nowhere is missing; .*span-distill export", folder / "nowhere")
    (folder / "config.json").write_text(json.dumps({**CONFIG, "answering": ANSWERING}))
    refused("config.json has no answering.confidence_temperature; .*span-distill export")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    refused("config.json has no answering.max_length; ")
    (folder / "config.json").write_text("{")
    refused("config.json is damaged")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / MODELS["int8"]).write_text("version https://git-lfs.github.com/spec/v1")
    refused("is a Git LFS pointer")

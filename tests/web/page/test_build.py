"""What the page is made of, and what is refused; without a browser."""

import base64
import gzip
import json
import re
import shutil

import numpy as np
import pytest

from pipeline.about import About, Example
from pipeline.checksums import seal
from pipeline.web.page.build import FOLDER, MODELS, WORKER, Exported, read, render
from tests import tiny
from tests.web.test_html import content_security_policy
from tests.words import refused

ENGINE = {"script": b"var ort;", "glue": b"export default 1;", "wasm": b"\0asm"}
EXAMPLE = Example("Who </script>?", "Me & you.", "Me")
STUDENT = Exported(
    ["head cnn3", "encoder bert with 6 layers of 384", "int8, 1.0 MB"],
    np.random.default_rng(0).bytes(1000),
    {"settings": {"max_length": 64}},
    About("5 questions of a <b>.json", [EXAMPLE]),
)


@pytest.fixture(scope="module")
def text():
    return render(STUDENT, ENGINE)


def part(text, name):
    return gzip.decompress(base64.b64decode(re.search(rf'id="part-{name}">([^<]*)<', text)[1]))


def test_the_parts_are_in_the_page(text):
    assert part(text, "model") == STUDENT.model
    assert (part(text, "wasm"), part(text, "glue")) == (ENGINE["wasm"], ENGINE["glue"])
    assert all((FOLDER / name).read_bytes() in part(text, "worker") for name in WORKER)
    assert json.loads(part(text, "setup")) == STUDENT.setup
    assert json.loads(part(text, "examples")) == [vars(EXAMPLE)]
    licenses = part(text, "licenses").decode()
    assert "MIT License" in licenses and "protobuf" in licenses and "Eigen" in licenses


def test_it_says_what_the_student_is_and_was_trained_on(text):
    assert "head cnn3; encoder bert with 6 layers of 384; int8, 1.0 MB" in text
    assert "Trained on 5 questions of a &lt;b&gt;.json" in text


def test_without_examples_there_is_no_button_for_them(text):
    without = render(Exported(STUDENT.facts, STUDENT.model, STUDENT.setup, About()), ENGINE)
    assert 'id="example"' in text and 'id="example"' not in without
    assert "Trained on" in text and "Trained on" not in without


def test_the_same_student_gives_the_same_page(text):
    assert render(STUDENT, ENGINE) == text


def test_the_policy_allows_the_scripts_of_the_page_and_no_connection(text):
    directives, hashes = content_security_policy(text)
    assert directives == {
        "default-src": ["'none'"],
        "script-src": [*hashes["script"], "'strict-dynamic'", "'wasm-unsafe-eval'"],
        "worker-src": ["blob:"],
        "style-src": hashes["style"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    assert len(hashes["script"]) == len(hashes["style"]) == 1
    assert not re.findall(r"https?://|src=|url\(|@import", text)


@pytest.mark.slow
def test_an_export_is_read(exported):
    student = read(exported.folder, None)
    assert student.model == (exported.folder / MODELS["int8"]).read_bytes()
    assert student.setup["settings"] == json.loads((exported.folder / "config.json").read_text())["answering"]
    assert student.setup["tokenizer"]["special"] == {"before": [2], "between": [3], "after": [3]}
    assert student.facts == ["head cnn3", "encoder bert with 1 layer of 32", f"int8, {len(student.model) / 1e6:.1f} MB"]
    assert student.about.trained_on.startswith("100 questions") and len(student.about.examples) == 2


@pytest.mark.slow
def test_float32_is_taken_by_option_or_if_there_is_no_int8(exported, tmp_path):
    folder = shutil.copytree(exported.folder, tmp_path / "copy")
    float32 = (folder / MODELS["float32"]).read_bytes()
    assert read(folder, "float32").model == float32
    (folder / MODELS["int8"]).unlink()
    seal(folder)
    assert read(folder, None).model == float32
    with refused("model_quantized.onnx", "missing", "`span-distill export`"):
        read(folder, "int8")
    (folder / MODELS["float32"]).unlink()
    with refused("model.onnx", "missing", "`span-distill export`"):
        read(folder, None)
    with refused(folder / "nowhere", "missing", "`span-distill export`"):
        read(folder / "nowhere", None)


@pytest.mark.slow
def test_an_export_that_is_damaged_or_that_the_page_cannot_run_is_refused_in_one_line(exported, tmp_path):
    def check(*words):
        with refused(*words):
            read(folder, None)

    folder = shutil.copytree(exported.folder, tmp_path / "copy")
    with open(folder / MODELS["int8"], "ab") as file:
        file.write(b"\0")
    check("model_quantized.onnx", "damaged")
    shutil.copy(exported.folder / MODELS["int8"], folder / MODELS["int8"])
    config = json.loads((folder / "config.json").read_text())
    for change in ({"max_length": None}, {"stride": 48}, {"confidence_temperature": 0}):
        (folder / "config.json").write_text(json.dumps({**config, "answering": {**config["answering"], **change}}))
        seal(folder)
        check(*change)
    (folder / "config.json").write_text(json.dumps(config))
    tiny.byte_level(["a text"], 260, trim_offsets=True).save_pretrained(folder)
    seal(folder)
    check("WordPiece")

"""An exported folder in transformers.js, from npm: its question-answering pipeline reads it as it is."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from pipeline import paths
from pipeline.answering.answerer import Answerer
from pipeline.models.student import answering
from pipeline.onnx_export.folder import write_export
from tests.onnx_export import students

PACKAGE = "@huggingface/transformers@4.3.2"
TIMEOUT = 600  # seconds
ASK = """
import { env, pipeline } from "@huggingface/transformers";
import { readFileSync } from "fs";
const [folder, name, dtype] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = folder;
const ask = await pipeline("question-answering", name, {dtype});
const answers = [];
for (const [question, context] of JSON.parse(readFileSync(0, "utf8"))) answers.push(await ask(question, context));
process.stdout.write(JSON.stringify({longest: ask.tokenizer.model_max_length, answers}));
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node_modules():
    """The folder in which the package is installed: in the user's cache, once, from the network."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no node and npm on this machine")
    folder = paths.cache() / "tests" / PACKAGE.rpartition("/")[2]
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        unfinished.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", PACKAGE, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=unfinished, capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode:
            pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr[-200:]}")
        # what node on this machine does not need is nine tenths of the package
        for left_out in ("onnxruntime-web", "onnxruntime-node/bin/*/darwin", "onnxruntime-node/bin/*/win32"):
            for path in (unfinished / "node_modules").glob(left_out):
                shutil.rmtree(path)
        unfinished.rename(folder)
    (folder / "ask.mjs").write_text(ASK)
    return folder


def letters(text):
    """What is left of a text that transformers.js puts together of tokens."""
    normal = students.tokenizer().backend_tokenizer.normalizer.normalize_str(text)
    return "".join(normal.replace("##", "").split())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A student, and the folder in which its folder `export` is."""
    student, folder = students.student("lstm64x2"), tmp_path_factory.mktemp("exported")
    write_export(student, students.tokenizer(), folder / "export", reduce_range=False)
    return student, folder


@pytest.mark.parametrize("dtype", ["fp32", "q8"])
def test_it_answers_questions_up_to_the_length_of_a_window_and_longer(node_modules, exported, dtype):
    (student, folder), tokenizer = exported, students.tokenizer()
    settings = answering(student.config, folder)
    room = settings.max_length - tokenizer.num_special_tokens_to_add(pair=True)
    pairs = []
    for record in students.records():
        words = record["context"].split()
        lengths = [len(tokenizer.tokenize(record["question"] + " " + " ".join(words[:n]))) for n in range(len(words))]
        longest = max(n for n, length in enumerate(lengths) if length <= room)
        pairs += [(record["question"], " ".join(words[:longest])), (record["question"], record["context"] * 3)]
    done = subprocess.run(
        ["node", "ask.mjs", str(folder), "export", dtype],
        cwd=node_modules,
        input=json.dumps(pairs).encode(),
        capture_output=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr.decode()[-1000:]
    found = json.loads(done.stdout)
    assert found["longest"] == settings.max_length
    assert len(found["answers"]) == len(pairs) and all(answer["score"] > 0 for answer in found["answers"])
    if dtype == "fp32":  # transformers.js limits no answer's length
        answerer = Answerer(student, tokenizer, replace(settings, max_answer_length=settings.max_length))
        expected = answerer.answers(pairs[::2])
        equal = [
            letters(answer["answer"]) == letters(replies[0].text)
            for answer, replies in zip(found["answers"][::2], expected, strict=True)
        ]
        assert sum(equal) == len(equal)

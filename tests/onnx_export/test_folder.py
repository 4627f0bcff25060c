"""The command that exports, and the folder that it writes."""

import contextlib
import io
import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer

from pipeline import paths, pretrained
from pipeline.about import About, Example, read_about, write_about
from pipeline.answering import cost
from pipeline.checksums import SUMS, seal
from pipeline.commands import export
from pipeline.errors import InputError
from pipeline.models.inference import predict
from pipeline.models.student import Student
from pipeline.onnx_export import folder
from pipeline.questions import tokenization
from pipeline.questions.features import write_features
from pipeline.questions.records import write_records
from pipeline.questions.windows import pack, windows
from pipeline.scores.spans import answers
from tests.commands.command_line import options
from tests.onnx_export import students
from tests.tiny import content
from tests.words import refused

FILES = {
    *("config.json", "tokenizer.json", "tokenizer_config.json", "about.json", "SHA256SUMS"),
    *("onnx/model.onnx", "onnx/model_quantized.onnx"),
}


def run(*arguments):
    export.main(**options("export", *arguments))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A saved student, its export with int8, and what the command printed; tests must not change them."""
    base = tmp_path_factory.mktemp("exported")
    student, tokenizer = students.student("lstm64x2"), students.tokenizer()
    student.save_pretrained(base / "student")
    tokenizer.backend_tokenizer.enable_truncation(20)
    tokenizer.backend_tokenizer.enable_padding()
    tokenizer.save_pretrained(base / "student")
    return SimpleNamespace(student=base / "student", out=base / "out")


@pytest.fixture(scope="module")
def written(exported):
    printed, noise = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(noise):
        run(exported.student, "--quantize", "int8", "--out", exported.out)
    return SimpleNamespace(**vars(exported), printed=printed.getvalue(), noise=noise.getvalue())


@pytest.fixture
def fast(monkeypatch):
    """Export takes no time; the logits are those of the student."""
    monkeypatch.setattr(folder, "export", lambda student: student)
    monkeypatch.setattr(folder, "export_int8", lambda student, reduce_range: student)
    monkeypatch.setattr(folder.onnx_ir, "save", lambda program, path: path.write_bytes(b"onnx"))
    monkeypatch.setattr(folder, "load", lambda *_: students.student("lstm64x2"))


def features(out):
    """The windows of validation questions, by the exported tokenizer and settings."""
    settings = json.loads((out / "config.json").read_text())["answering"]
    records = students.records()
    tokenizer = tokenization.load(out)
    return records, tokenizer, pack(windows(records, tokenizer, settings["max_length"], settings["stride"]))


@pytest.mark.slow
def test_an_export_has_the_files_that_transformers_js_reads(written):
    assert {name.removeprefix(f"{written.out}/") for name in content(written.out)} == FILES
    assert [path.name for path in written.out.parent.iterdir() if path.name != "student"] == ["out"]
    config = json.loads((written.out / "config.json").read_text())
    assert config["model_type"] == "bert" and config["architectures"] == ["BertForQuestionAnswering"]
    assert config["head"] == "lstm64x2" and config["answering"] == students.ANSWERING
    backend = Tokenizer.from_file(str(written.out / "tokenizer.json"))
    assert backend.truncation is None and backend.padding is None
    settings = json.loads((written.out / "tokenizer_config.json").read_text())
    assert settings["model_max_length"] == students.ANSWERING["max_length"]
    assert tokenization.fingerprint(tokenization.load(written.out)) == tokenization.fingerprint(students.tokenizer())


@pytest.mark.slow
def test_an_exported_student_gives_the_students_answers(written):
    records, tokenizer, windows = features(written.out)
    contexts = [record["context"] for record in records]
    student = Student.load(written.student)
    logits = [predict(model, windows, tokenizer.pad_token_id) for model in (student, folder.load(written.out))]
    ours, theirs = ([(a.text, a.start) for (a,) in answers(windows, contexts, *each, 1, 30)] for each in logits)
    assert len(set(ours)) > 10
    assert ours == theirs
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-4)


@pytest.mark.slow
def test_onnxruntime_has_the_threads_of_torch(written):
    _, tokenizer, windows = features(written.out)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        student = folder.load(written.out)
        predict(student, windows, tokenizer.pad_token_id)  # two threads, each with its own batches
        found = {number: each.get_session_options().intra_op_num_threads for number, each in student._sessions.items()}
    finally:
        torch.set_num_threads(threads)
    assert found == {2: 2, 1: 1}


@pytest.mark.slow
def test_int8_runs_and_is_near(written):
    _, tokenizer, windows = features(written.out)
    student, int8 = Student.load(written.student), folder.load(written.out, folder.INT8)
    expected, found = (np.stack(predict(model, windows, tokenizer.pad_token_id)) for model in (student, int8))
    assert 0 < np.abs(found - expected).max() < 0.2 * np.abs(expected).max()


@pytest.mark.slow
def test_the_command_prints_sizes_and_parity_and_nothing_else(written):
    student, float32, int8 = written.printed.splitlines()
    assert student.startswith(f"{written.student}/model.safetensors: ")
    assert float32.startswith(f"{written.out}/onnx/model.onnx: 0.") and "MB; logits differ by at most" in float32
    assert int8.startswith(f"{written.out}/onnx/model_quantized.onnx: 0.")
    assert written.noise == ""


@pytest.mark.slow
def test_the_files_are_scored_beside_the_student(written, workspace, monkeypatch):
    monkeypatch.setattr(cost, "timings", lambda call, *_, **__: (call(), [0.001])[1])
    records, tokenizer = students.records(), students.tokenizer()
    for path in (paths.tokenizer("student"), paths.features("student", "validation").parent, paths.DATASET):
        path.mkdir(parents=True)
    tokenizer.save_pretrained(paths.tokenizer("student"))
    seal(paths.tokenizer("student"))
    write_features(pack(windows(records, tokenizer, 48, 12)), paths.features("student", "validation"))
    write_records(records, paths.DATASET / "validation.parquet")
    models = {"torch": Student.load(written.student)}
    models |= {file.stem: folder.load(written.out, file) for file in (folder.FLOAT32, folder.INT8)}
    head, _, *rows = export.scores(models, tokenizer).splitlines()
    assert "F1" in head
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[:3]]
    assert [row[0] for row in cells] == ["torch", "model", "model_quantized"]
    assert cells[1][1:3] == cells[0][1:3] and cells[1][3:5] == ["+0.00 [+0.00, +0.00]", "100.0 %"]


@pytest.mark.parametrize("asked", [True, False])
def test_examples_are_exported_only_if_asked_for(asked, exported, fast, tmp_path):
    student = shutil.copytree(exported.student, tmp_path / "student")
    about = About("2 questions", [Example("Who?", "Me.", "Me")])
    write_about(about, student)
    run(student, "--out", tmp_path / "out", *(["--examples"] if asked else []))
    assert read_about(tmp_path / "out") == about.published(asked)


def test_an_earlier_export_is_replaced_and_nothing_else(exported, fast, tmp_path):
    out = tmp_path / "new" / "out"
    run(exported.student, "--out", out, "--quantize", "int8")
    run(exported.student, "--out", out)
    assert {path.name for path in out.rglob("*.onnx")} == {"model.onnx"}
    (out / "notes.txt").write_text("mine")
    with refused(out, "notes.txt", "--out"):
        run(exported.student, "--out", out)
    with refused(exported.student, "model.safetensors", "--out"):
        run(exported.student, "--out", exported.student)
    (tmp_path / "file").touch()
    with refused(tmp_path / "file", "--out", "folder"):
        run(exported.student, "--out", tmp_path / "file")


@pytest.mark.parametrize("error", [InputError, KeyboardInterrupt])
def test_an_export_that_fails_leaves_the_earlier_one(error, exported, fast, tmp_path, monkeypatch):
    run(exported.student, "--out", tmp_path / "out")
    before = content(tmp_path)

    def fail(*_):
        raise error

    monkeypatch.setattr(folder, "load", fail)
    with pytest.raises(error):
        run(exported.student, "--out", tmp_path / "out")
    assert content(tmp_path) == before


def test_what_a_killed_export_left_is_removed(exported, fast, tmp_path):
    for left_over in (".out.unfinished", ".out.old"):
        (tmp_path / left_over).mkdir()
    run(exported.student, "--out", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_logits_that_differ_are_an_error_and_nothing_is_written(exported, fast, tmp_path, monkeypatch):
    other = students.student("lstm64x2")
    other.head.output.bias.data += 0.01
    monkeypatch.setattr(folder, "load", lambda *_: other)
    with pytest.raises(InputError, match=r"logits .* \d.*nothing .*written"):
        run(exported.student, "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "expected"), [("yes", True), ("no", False), ("auto", True)])
def test_the_range_is_reduced_as_asked_for(option, expected, exported, fast, tmp_path, monkeypatch):
    reduced = []
    monkeypatch.setattr(export, "cpu_overflows", lambda: True)
    monkeypatch.setattr(folder, "export_int8", lambda student, reduce_range: reduced.append(reduce_range))
    run(exported.student, "--out", tmp_path / "out", "--quantize", "int8", "--reduce-range", option)
    assert reduced == [expected]


def test_a_folder_without_a_student_is_an_error(tmp_path):
    with refused(tmp_path / "missing/config.json", "missing"):
        run(tmp_path / "missing")
    (tmp_path / pretrained.CONFIG).write_text('{"model_type": "bert"}')
    with refused(tmp_path, "no student"):
        run(tmp_path)


def changed(**values):
    """A change of some values of `answering`."""

    def change(out):
        config = json.loads((out / "config.json").read_text())
        config["answering"] = {**config["answering"], **values} if values else [1]
        (out / "config.json").write_text(json.dumps(config))

    return change


def edited(edit):
    """A change of the ONNX model by a function."""

    def change(out):
        model = onnx.load(out / folder.FLOAT32)
        edit(model)
        onnx.save(model, out / folder.FLOAT32)

    return change


def rename(values, name):
    values[0].name = name


def weights(model, name):
    return next(tensor for tensor in model.graph.initializer if name in tensor.name)


def with_nan(model):
    tensor = weights(model, "head.output.bias")
    values = np.full_like(onnx.numpy_helper.to_array(tensor), np.nan)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def shorter(name):
    """Fewer rows of a table of embeddings."""

    def edit(model):
        tensor = weights(model, name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)[:30].copy(), tensor.name))

    return edit


def elsewhere(out):
    """The weights in another file, as ONNX can have them."""
    model = onnx.load(out / folder.FLOAT32)
    onnx.save(model, out / folder.FLOAT32, save_as_external_data=True, location="weights", size_threshold=0)


def another_tokenizer(out):
    tokenization.train((f"word{i}" for i in range(500)), 1000).save_pretrained(out)


MODEL = {
    "empty": lambda out: (out / folder.FLOAT32).write_bytes(b""),
    "text": lambda out: (out / folder.FLOAT32).write_text("an ONNX model"),
    "truncated": lambda out: os.truncate(out / folder.FLOAT32, 20_000),
    "weights elsewhere": elsewhere,
    "another input": edited(lambda model: model.graph.input.append(onnx.helper.make_tensor_value_info("x", 1, [1]))),
    "one output": edited(lambda model: model.graph.output.pop()),
    "not finite": edited(with_nan),
    "few positions": edited(shorter("position_embeddings")),
    "a small vocabulary": edited(shorter("word_embeddings")),
    "another tokenizer": another_tokenizer,
    "a pointer": lambda out: (out / folder.FLOAT32).write_bytes(pretrained.LFS_POINTER),
}
SETTINGS = [
    *({"max_length": value} for value in (0, -1, 48.0, "48", None, True, 65, 10**9)),
    *({"stride": value} for value in (-1, 48, 44, 1.5)),
    *({"max_answer_length": value} for value in (0, "30")),
    *({"null_threshold": value} for value in ("0", float("nan"), float("inf"))),
    *({"confidence_temperature": value} for value in (0, -1, None, float("nan"), float("inf"), "1")),
    {},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [*MODEL.values(), *(changed(**values) for values in SETTINGS)], ids=[*MODEL, *map(str, SETTINGS)]
)
def test_an_export_that_cannot_answer_is_refused_in_one_line(written, tmp_path, change):
    """Although it has the right checksums."""
    out = shutil.copytree(written.out, tmp_path / "out")
    change(out)
    seal(out)
    with pytest.raises(InputError, match=r"model\.onnx|config\.json|tokenizer") as error:
        folder.load(out)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FILES - {SUMS}))
def test_a_damaged_file_is_an_error(written, tmp_path, name):
    out = shutil.copytree(written.out, tmp_path / "out")
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(content)
    with refused(name, "damaged", "`span-distill export`"):
        folder.load(out)


@pytest.mark.slow
def test_a_missing_file_or_checksum_is_an_error(written, tmp_path):
    out = shutil.copytree(written.out, tmp_path / "out")
    (out / folder.INT8).unlink()
    with refused("model_quantized.onnx", "missing"):
        folder.load(out)
    seal(out)
    folder.load(out)
    with refused("model_quantized.onnx", "missing"):
        folder.load(out, folder.INT8)
    shutil.copy(out / folder.FLOAT32, out / folder.INT8)
    with refused(SUMS, "model_quantized.onnx"):
        folder.load(out, folder.INT8)
    (out / SUMS).unlink()
    with refused(SUMS, "missing"):
        folder.load(out)

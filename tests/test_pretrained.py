"""Model folders from elsewhere: damaged, foreign and hostile ones."""

import ast
import builtins
import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, BertConfig, BertForQuestionAnswering, BertForSequenceClassification

from pipeline.errors import InputError
from pipeline.models import encoders
from pipeline.models.student import Student
from pipeline.questions import tokenization
from tests import hub as hubs
from tests.hub import commit, offline
from tests.words import mentions, refused

ROOT = Path(__file__).parents[1]
SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 132\n"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return BertForQuestionAnswering(BertConfig(vocab_size=200, **SIZES))


@pytest.fixture
def folder(tmp_path, model, tokenizer):
    """A model folder."""
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def student(tmp_path, model):
    """A student's folder."""
    Student.from_encoder(model.base_model, "mlp", 0).save_pretrained(tmp_path / "student")
    return tmp_path / "student"


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def load_all(folder):
    """Load whatever can be loaded from a folder; return the errors."""
    errors = []
    for load in (tokenization.load, encoders.load_qa_model, Student.load):
        try:
            load(folder)
        except InputError as error:
            errors.append(str(error))
    return errors


@pytest.mark.parametrize("model_type", ["of_its_own", "bert", "span_student"])
def test_code_in_a_model_folder_is_never_run(folder, model_type, tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    code = f"open({str(canary)!r}, 'w')\nimport transformers\n"
    code += "class Config(transformers.BertConfig): model_type = 'of_its_own'\n"
    code += "class Model(transformers.BertForQuestionAnswering): pass\nclass Words(transformers.BertTokenizer): pass\n"
    (folder / "code.py").write_text(code)
    classes = {"AutoConfig": "code.Config", "AutoModelForQuestionAnswering": "code.Model", "AutoModel": "code.Model"}
    encoder = json.loads((folder / "config.json").read_text()) | {"auto_map": classes}
    change(folder / "config.json", model_type=model_type, auto_map=classes, encoder_config=encoder)
    classes = {"AutoTokenizer": ["code.Words", "code.Words"]}
    change(folder / "tokenizer_config.json", tokenizer_class="Words", auto_map=classes)
    questions = []

    def answer(question=""):
        questions.append(question)
        return "y"

    monkeypatch.setattr(builtins, "input", answer)
    load_all(folder)
    assert not canary.exists() and not questions
    if model_type == "of_its_own":  # the canary sings: transformers alone asks, and runs the code
        with refused("config.json", "'of_its_own'", "code", "never"):
            encoders.load_qa_model(folder)
        monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
        AutoConfig.from_pretrained(folder)
        assert canary.exists() and questions


def test_nothing_is_loaded_with_remote_code_or_elsewhere():
    loading = {"from_pretrained", "from_config", "pipeline"}
    for path in (ROOT / "pipeline").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            name = getattr(getattr(call, "func", None), "attr", None) or getattr(
                getattr(call, "func", None), "id", None
            )
            if isinstance(call, ast.Call) and name in loading:
                if ast.unparse(call.func) in ("Answerer.from_pretrained", "Student.from_pretrained"):  # our own
                    continue
                assert path.name in ("pretrained.py", "student.py")
                assert "trust_remote_code=False" in ast.unparse(call), f"{path}:{call.lineno}"


def test_weights_of_another_file_are_not_read(folder, tmp_path):
    expected = encoders.load_qa_model(folder).state_dict()
    shutil.copytree(folder, tmp_path / "other")
    change_weights(tmp_path / "other", lambda weights: weights["qa_outputs.bias"].add_(1))
    for name in ("../other/model.safetensors", "other.safetensors"):
        shutil.copy(tmp_path / "other/model.safetensors", folder / "other.safetensors")
        change(folder / "config.json", transformers_weights=name)
        assert torch.equal(encoders.load_qa_model(folder).qa_outputs.bias, expected["qa_outputs.bias"])


def test_an_adapter_is_refused(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "../other"}')
    for load in (tokenization.load, encoders.load_qa_model):
        with refused(folder, "PEFT", "merge"):
            load(folder)


@pytest.mark.parametrize(
    "name", ["../../other.safetensors", "/other.safetensors", "sub/model.safetensors", "pytorch_model.bin", "", 7, None]
)
def test_an_index_names_safetensors_files_of_its_own_folder_only(folder, name):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    names = dict.fromkeys(load_file(folder / "model-1.safetensors"), "model-1.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    encoders.load_qa_model(folder)
    index.write_text(json.dumps({"weight_map": names | {"qa_outputs.bias": name}}))
    for load in (encoders.load_qa_model, encoders.fingerprint):
        with refused(index, repr(name), "safetensors", "same folder"):
            load(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"weight_map": {}}', "weight_map"),
        ('{"weight_map": [1]}', "weight_map"),
        ("[]", "JSON object"),
        ('{"weight_map": {"qa_outputs.bias": "model-2.safetensors"}}', "model-2.safetensors missing"),
        ('{"weight_map": {"another": "model-1.safetensors"}}', "another weights"),
    ],
)
def test_a_damaged_index_is_an_error(folder, content, words):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(content)
    with refused(folder, *words.split()):
        encoders.load_qa_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_git_lfs_pointer_is_an_error_that_says_so(folder, name):
    (folder / name).write_text(POINTER)
    errors = load_all(folder)
    mentions(next(error for error in errors if str(folder / name) in error), "Git LFS", "`git lfs pull`")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "config.json JSON object"),
        ("null", "config.json JSON object"),
        ("{", "config.json damaged"),
        ('{"a":' * 100000 + "1" + "}" * 100000, "config.json damaged"),
        ("1" * 5000, "config.json damaged"),
        ("{}", "config.json model_type None"),
        ('{"model_type": ["bert"]}', "config.json model_type ['bert']"),
        ('{"model_type": "bert", "hidden_size": "wide"}', "config.json hidden_size"),
        ('{"model_type": "bert", "hidden_size": 10, "num_attention_heads": 3}', "hidden size 10 heads 3"),
        ('{"model_type": "vit"}', "question-answering model_type vit"),
        ('{"model_type": "bert", "quantization_config": {"quant_method": "gptq"}}', "config.json quantized"),
    ],
)
def test_a_damaged_config_is_an_error_in_one_line(folder, content, words):
    (folder / "config.json").write_text(content)
    with refused(*words.split()):
        encoders.load_qa_model(folder)
    assert not [error for error in load_all(folder) if "\n" in error]


@pytest.mark.parametrize("name", ["encoder.embeddings.word_embeddings.weight", "head.output.bias"])
def test_a_student_without_some_of_its_weights_is_an_error(student, name):
    Student.load(student)
    change_weights(student, lambda weights: weights.pop(name))
    with refused(student, "no weights", name):
        Student.load(student)


def test_a_folder_of_another_model_is_not_a_student(folder):
    with refused(folder, "no student", "model_type", "'bert'"):
        Student.load(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_an_error(folder, student, value):
    for path, name, load in (
        (folder, "bert.encoder.layer.1.output.dense.bias", encoders.load_qa_model),
        (student, "head.output.bias", Student.load),
    ):
        change_weights(path, lambda weights, name=name: weights[name].__setitem__(1, value))
        with refused(path, name, "finite"):
            load(path)


def test_weights_of_any_type_are_checked_and_loaded_as_float32(folder):
    change_weights(folder, lambda weights: weights.update({name: w.half() for name, w in weights.items()}))
    assert encoders.load_qa_model(folder).qa_outputs.weight.dtype == torch.float32
    tiny = torch.full((2,), 0x7F, dtype=torch.uint8).view(torch.float8_e4m3fn)  # NaN
    change_weights(folder, lambda weights: weights.update({"qa_outputs.bias": tiny}))
    with refused("qa_outputs.bias", "finite"):
        encoders.load_qa_model(folder)


def test_weights_of_more_layers_than_the_config_says_are_an_error(folder, student):
    for layers in (1, 0):
        change(folder / "config.json", num_hidden_layers=layers)
        with refused(folder, "more layers", "config.json", f"layer.{layers}."):
            encoders.load_qa_model(folder)
    encoder = json.loads((student / "config.json").read_text())["encoder_config"] | {"num_hidden_layers": 1}
    change(student / "config.json", encoder_config=encoder)
    with refused(student, "more layers", "config.json", "encoder.encoder.layer.1."):
        Student.load(student)


def test_weights_of_another_shape_are_an_error(folder):
    change(folder / "config.json", vocab_size=300)
    with refused("word_embeddings.weight", "(200, 16)", "config.json", "(300, 16)"):
        encoders.load_qa_model(folder)


def test_a_damaged_weight_file_is_an_error_with_its_name(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-10])
    with refused(folder / "model.safetensors", "damaged"):
        encoders.load_qa_model(folder)


def test_a_classifier_of_three_labels_can_be_fine_tuned(folder, capsys):
    names = {0: "contradiction", 1: "neutral", 2: "entailment"}
    BertForSequenceClassification(BertConfig(vocab_size=200, id2label=names, **SIZES)).save_pretrained(folder)
    model = encoders.load_qa_model(folder, trained_output=False)
    ignored = [f"{layer}.{name}" for layer in ("bert.pooler.dense", "classifier") for name in ("bias", "weight")]
    mentions(capsys.readouterr().out, folder, "ignores", *ignored)
    assert model.qa_outputs.out_features == 2 == model.config.num_labels
    model.save_pretrained(folder)
    assert encoders.load_qa_model(folder).config.num_labels == 2
    assert capsys.readouterr().out == ""


@pytest.fixture
def on_hub(hub, folder):
    """A hub with two commits of a model: its bias is 1 in the first, and 2 in the second."""
    for path in ("pytorch_model.bin", "onnx/model.safetensors", "onnx/tokenizer.json"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(b"x")
    for digit in (1, 2):
        change_weights(folder, lambda weights, digit=digit: weights["qa_outputs.bias"].fill_(digit))
        hub.add("model", "owner/name", commit(digit), folder)
    return hub


def bias(digit):
    return encoders.load_qa_model("owner/name", commit(digit)).qa_outputs.bias.tolist()


def test_a_hub_model_is_the_one_of_its_commit(on_hub, folder, monkeypatch):
    expected = tokenization.fingerprint(tokenization.load(folder))
    for _ in range(2):  # from the hub, then from the cache
        assert [bias(1), bias(2), bias(1)] == [[1, 1], [2, 2], [1, 1]]
        assert tokenization.fingerprint(tokenization.load("owner/name", commit(1))) == expected
        offline(monkeypatch)
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(on_hub.downloads()) == names  # no pickle, nothing of a subfolder


@pytest.mark.parametrize("state", ["down", "offline", "unauthorized", "gated", "limited", "error", "page"])
def test_a_hub_model_of_which_the_tokenizer_alone_is_in_the_cache_is_an_error(on_hub, monkeypatch, state):
    bias(1), tokenization.load("owner/name", commit(2))
    hubs.switch(on_hub, state, monkeypatch)
    tokenization.load("owner/name", commit(2))
    with refused("owner/name", commit(2)):
        bias(2)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_file_of_a_hub_model_is_an_error(on_hub, file):
    bias(1)
    load = tokenization.load if file == "tokenizer.json" else encoders.load_qa_model
    load("owner/name", commit(1))
    (path,) = Path(constants.HF_HUB_CACHE).rglob(f"snapshots/{commit(1)}/{file}")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # a byte of the last weight: the file can be loaded
    path.write_bytes(content)
    with refused(path, "damaged", "`rm", path.resolve()):
        load("owner/name", commit(1))
    path.resolve().unlink()
    load("owner/name", commit(1))


def test_a_hub_model_without_safetensors_is_an_error_that_says_how_to_convert_it(on_hub):
    on_hub.repositories["model", "owner/name"][commit(1)].pop("model.safetensors")
    with refused("model.safetensors", "pytorch_model.bin", "save_pretrained"):
        bias(1)


def test_a_missing_folder_is_an_error(tmp_path):
    for load in (encoders.load_qa_model, tokenization.load):
        with refused("data/raw/none", "missing", "config.json", "model.safetensors", "tokenizer.json"):
            load("data/raw/none")

"""The stages with several teachers, and with questions without answers."""

import json
import shutil

import numpy as np
import pytest
from safetensors import safe_open
from transformers import (
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    DistilBertTokenizer,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

from pipeline import paths
from pipeline.about import read_about
from pipeline.checksums import seal
from pipeline.commands import cache
from pipeline.logits.targets import read_teacher, student_targets
from pipeline.logits.verify import problems
from pipeline.models import encoders
from pipeline.models.hardware import PRECISION_VARIABLE
from pipeline.questions import synthetic, tokenization
from pipeline.questions.features import read_features
from pipeline.questions.records import read_records
from pipeline.stages import backbone, dataset, evaluate, logits, shrink, teacher, tokenize, train
from tests.tiny import TINY, byte_level, content, run_all, write_params
from tests.words import mentions, refused

pytestmark = pytest.mark.slow

LARGE = {"model": "new", "revision": None}
TWO = {"large": LARGE, "other": {**LARGE, "seed": 7}}


@pytest.fixture
def two_teachers(with_logits, monkeypatch):
    """A workspace with the logits of the teacher `large`, and a fine-tuned teacher `other`."""
    write_params(teacher={"models": TWO})
    run_all(tokenize, teacher, name="other")
    return with_logits


def computed(out):
    """{teacher: windows to compute}, from the output of the logits stage."""
    lines = [line.split() for line in out.splitlines() if "to compute" in line]
    return {line[0].removesuffix(":"): int(line[-3]) for line in lines}


def test_another_teacher_computes_only_its_own_windows(two_teachers, capsys):
    before = content(paths.LOGITS / "large")
    capsys.readouterr()
    logits.main()
    counts = computed(capsys.readouterr().out)
    keys = {key.tobytes() for split in ("train", "validation") for key in windows("other", split).keys}
    assert counts == {"large": 0, "other": len(keys)}
    assert content(paths.LOGITS / "large") == before
    assert (paths.LOGITS / "other/manifest.json").exists()
    scores = json.loads(paths.TEACHER_METRICS.read_text())
    assert scores.keys() == {"large", "other", "mean"}
    assert scores["mean"].keys() == scores["large"].keys()

    run_all(backbone, shrink, train, evaluate)
    both = content(paths.STUDENT)
    write_params()
    capsys.readouterr()
    run_all(tokenize, logits, train)
    for folder in (paths.TEACHER, paths.FEATURES, paths.TOKENIZER, paths.LOGITS):
        assert not (folder / "other").exists()
    assert set(computed(capsys.readouterr().out).values()) == {0}
    assert content(paths.LOGITS) == before
    assert both != content(paths.STUDENT)


def windows(model, split="train"):
    return read_features(paths.features(model, split))


def test_verify_checks_the_store_of_each_teacher(two_teachers, monkeypatch, capsys):
    logits.main()
    with pytest.raises(SystemExit) as ended:
        cache.main("verify", [paths.LOGITS])
    assert ended.value.code == 0
    shard = next((paths.LOGITS / "other").glob("*.safetensors"))
    shard.unlink()
    with pytest.raises(SystemExit) as ended:
        cache.main("verify", [paths.LOGITS])
    assert ended.value.code == 1
    assert str(shard) in capsys.readouterr().out


def test_teachers_with_different_tokenizers_train_one_student(with_logits, monkeypatch, capsys):
    folder = paths.RAW / "roberta"
    texts = [record["context"] for record in read_records(paths.DATASET / "train.parquet")]
    tokenizer = byte_level(texts, 400, trim_offsets=True)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 1}
    places = {"max_position_embeddings": 70, "pad_token_id": tokenizer.pad_token_id, "type_vocab_size": 1}
    RobertaForQuestionAnswering(RobertaConfig(vocab_size=len(tokenizer), **sizes, **places)).save_pretrained(folder)
    write_params(teacher={"models": {"large": LARGE, "roberta": {"model": "data/raw/roberta", "revision": None}}})
    capsys.readouterr()
    run_all(tokenize, teacher, logits, backbone, shrink, train, evaluate, name="roberta")
    out = capsys.readouterr().out
    (same,) = (line for line in out.splitlines() if "tokenizer of" in line)  # not roberta
    mentions(same, "student", "large")
    assert out.count("aligned") == 2  # for the mean's scores and for training
    assert not np.array_equal(windows("roberta").keys[:8], windows("large").keys[:8])
    assert json.loads(paths.EVAL_METRICS.read_text())["questions"] == 8


def test_students_are_trained_only_on_the_teachers_in_the_parameters(two_teachers):
    write_params()
    run_all(backbone, shrink, train)
    expected = content(paths.STUDENT)
    shutil.copytree(paths.LOGITS / "large", paths.LOGITS / "a copy")
    train.main()
    assert content(paths.STUDENT) == expected
    write_params(teacher={"models": TWO})
    with refused("data/logits/other", "no logits"):
        train.main()


def test_windows_have_segments_only_for_models_that_take_them(with_logits, monkeypatch, capsys):
    """BERT and DistilBERT with one vocabulary have different windows, and the logits need no alignment."""
    config = {**TINY["teacher"]["config"], "vocab_size": len(tokenization.load(paths.tokenizer("large")))}
    tokenizer = DistilBertTokenizer.from_pretrained(
        paths.tokenizer("large"), model_input_names=["input_ids", "attention_mask"]
    )
    tokenizer.save_pretrained(paths.RAW / "distilbert")
    sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 64}
    DistilBertForQuestionAnswering(DistilBertConfig(vocab_size=config["vocab_size"], **sizes)).save_pretrained(
        paths.RAW / "distilbert"
    )
    write_params(backbone={"model": "data/raw/distilbert", "layers": None})
    capsys.readouterr()
    run_all(tokenize, logits, backbone, shrink, train, evaluate)
    out = capsys.readouterr().out
    assert "tokenizer of" not in out and "aligned" not in out
    assert windows("large").token_type_ids.any() and not windows("student").token_type_ids.any()
    teacher = read_teacher(*paths.teacher_paths("large", "train"))
    targets = student_targets([teacher], paths.features("student", "train"), str, paths.targets_cache())
    for one, expected in zip(targets.logits, teacher.logits(str), strict=True):
        assert np.array_equal(one, expected)


def test_a_teacher_that_is_not_in_the_parameters_raises(with_logits):
    with refused("'small'", "teacher.models", "large"):
        teacher.main("small")


def test_pulled_logits_are_not_recomputed(with_logits, monkeypatch, capsys):
    expected = content(paths.LOGITS)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(with_logits / "a new machine's cache"))
    capsys.readouterr()
    logits.main()
    assert computed(capsys.readouterr().out) == {"large": 0}
    assert content(paths.LOGITS) == expected

    # another teacher does not use them
    model = encoders.load_qa_model(paths.TEACHER / "large")
    model.qa_outputs.bias.data[0] += 1
    model.save_pretrained(paths.TEACHER / "large")
    seal(paths.TEACHER / "large")
    logits.main()
    assert computed(capsys.readouterr().out)["large"] > 24
    assert not content(paths.LOGITS).keys() & expected.keys() - {"data/logits/large/manifest.json"}


def test_shards_and_manifest_record_the_precision(with_logits, monkeypatch, capsys):
    same_tokenizer = {"vocab_records": 20}
    write_params(dataset={"train_size": 20}, tokenize=same_tokenizer)
    shutil.rmtree(paths.LOGITS)
    run_all(dataset, tokenize, logits)
    write_params(tokenize=same_tokenizer)
    monkeypatch.setenv(PRECISION_VARIABLE, "bfloat16")
    run_all(dataset, tokenize, logits)
    manifest = json.loads((paths.LOGITS / "large/manifest.json").read_text())
    precisions = {shard["file"]: shard["precision"] for shard in manifest["shards"]}
    for name, precision in precisions.items():
        with safe_open(paths.LOGITS / "large" / name, "numpy") as file:
            assert json.loads(file.metadata()["span_distill"])["precision"] == precision
    assert [precision for precision in precisions.values() if precision == ["float32"]]
    assert [precision for precision in precisions.values() if "bfloat16" in precision]
    assert list(problems(paths.LOGITS / "large")) == []


def unlabelled_questions(train_labelled=8, validation_labelled=6):
    """Write SQuAD JSON with 24 training and 8 validation questions; only the first ones have answers.

    Returns the `dataset` section for them.
    """
    paths.RAW.mkdir(parents=True, exist_ok=True)
    for split, size, labelled in (("train", 24, train_labelled), ("validation", 8, validation_labelled)):
        paragraphs = []
        for i, record in enumerate(synthetic.corpus(split, size, seed=0)):
            answers = record["answers"]
            pairs = zip(answers["text"], answers["answer_start"], strict=True)
            question = {"id": record["id"], "question": record["question"]}
            if i < labelled:
                question["answers"] = [{"text": text, "answer_start": start} for text, start in pairs]
            paragraphs.append({"context": record["context"], "qas": [question]})
        document = {"data": [{"title": "invented", "paragraphs": paragraphs}]}
        (paths.RAW / f"{split}.json").write_text(json.dumps(document))
    return {
        "source": "files",
        "train_file": "data/raw/train.json",
        "validation_file": "data/raw/validation.json",
        "train_size": None,
        "validation_size": None,
    }


def test_questions_without_answers_are_used_for_training_and_not_scored(workspace, capsys):
    files = unlabelled_questions()
    vocabulary = {"vocab_records": 8}
    write_params(dataset=files, tokenize=vocabulary, distill={"alpha": 0.5, "temperature": 2.0})
    run_all(dataset, tokenize, teacher, logits, backbone, shrink, train, evaluate)
    out = capsys.readouterr().out
    mentions(out, "train: 24 questions", "data/raw/train.json", "16 unlabelled")
    mentions(out, "validation: 6 questions", "data/raw/validation.json", "2 unlabelled, left out")
    assert json.loads(paths.EVAL_METRICS.read_text())["questions"] == 6
    assert json.loads(paths.TEACHER_METRICS.read_text())["large"]["questions"] == 6
    features = windows("student")
    assert len(set(features.record[~features.labelled])) == 16
    trained = json.loads((paths.CURVES / "summary.json").read_text())
    assert trained["windows"] == 2 * len(features)

    # the teacher is fine-tuned on the eight labelled questions only
    with_unlabelled = content(paths.TEACHER)
    write_params(dataset={**files, "train_size": 8}, tokenize=vocabulary)
    run_all(dataset, tokenize, teacher)
    assert content(paths.TEACHER) == with_unlabelled

    # without distillation, the unlabelled questions are left out
    write_params(dataset=files, tokenize=vocabulary, distill={"alpha": 0.0, "temperature": 1.0})
    run_all(dataset, tokenize, teacher, backbone, shrink, train)
    mentions(capsys.readouterr().out, "16 unlabelled questions", "left out", "distill.alpha")
    assert read_about(paths.STUDENT).trained_on == "8 questions of data/raw/train.json"
    assert json.loads((paths.CURVES / "summary.json").read_text())["windows"] == 2 * features.labelled.sum()


def test_training_without_any_answer_needs_a_fine_tuned_teacher(with_logits, monkeypatch):
    shutil.copytree(paths.TEACHER / "large", paths.RAW / "teacher")
    shutil.copytree(paths.tokenizer("large"), paths.RAW / "teacher", dirs_exist_ok=True)
    fine_tuned = {"models": {"large": {"model": "data/raw/teacher", "revision": None}}, "config": None}
    settings = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "keep": "last"}
    files = unlabelled_questions(train_labelled=0, validation_labelled=8)
    write_params(dataset=files, teacher={**fine_tuned, "train": settings})
    run_all(dataset, tokenize)
    with refused("training", "answer", "teacher.train.epochs"):
        teacher.main("large")
    write_params(dataset=files, teacher={**fine_tuned, "train": {**settings, "epochs": 0}})
    run_all(teacher, logits, backbone, shrink, train, evaluate)
    assert json.loads(paths.EVAL_METRICS.read_text())["questions"] == 8
    write_params(dataset=files, distill={"alpha": 0.0, "temperature": 1.0})
    with refused("training", "answer", "distill.alpha 0"):
        train.main()

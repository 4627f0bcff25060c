"""teacher: load or create a teacher, and fine-tune it on the labels if teacher.train.epochs is 1 or more.

Reads a hub model or a model folder in data/raw, or initializes new weights; reads data/tokenizer, and data/features to
fine-tune. Resumes from its checkpoint if it was interrupted. Copies a teacher that is a file of answers.
Writes data/teacher/NAME.
"""

import shutil
from pathlib import Path

import numpy as np

from pipeline import cli, paths
from pipeline.checksums import checksum, seal, verified
from pipeline.errors import InputError
from pipeline.models import encoders, inference
from pipeline.models.hardware import on_device, run_environment
from pipeline.params import Teacher, load
from pipeline.processes import processes
from pipeline.questions import tokenization
from pipeline.questions.features import question_ids, read_features
from pipeline.questions.records import open_records
from pipeline.training.checkpoints import Checkpoint, run_key
from pipeline.training.dropout import with_dropout
from pipeline.training.loop import Trainer
from pipeline.training.losses import span_cross_entropy


def main(name: str) -> None:
    params = load(paths.PARAMS).teacher
    if name not in params.models:
        raise InputError(f"there is no teacher '{name}'; teacher.models has {', '.join(params.models)}")
    if answers := params.models[name].answers:
        if processes().is_main_process:
            copy_answers(Path(answers), name)
        return
    paths.writable(paths.training_cache())
    tokenizer = tokenization.load(verified(paths.tokenizer(name), "tokenize"))
    if params.train.epochs:
        fine_tune(on_device(initial_model(params, name, len(tokenizer))), params, name, tokenizer.pad_token_id)
    elif processes().is_main_process:
        model = initial_model(params, name, len(tokenizer))
        model.save_pretrained(paths.empty_folder(paths.TEACHER / name))
        seal(paths.TEACHER / name)


def copy_answers(file: Path, name: str) -> None:
    """Copy a file of answers to data/teacher/NAME.

    Raises:
        InputError: it is missing, or a folder.
    """
    if not file.is_file():
        problem = "is not a file" if file.exists() else "is missing"
        raise InputError(f"{file}, teacher.models.{name}.answers, {problem}; put it there and run `dvc add {file}`")
    paths.empty_folder(paths.TEACHER / name)
    shutil.copyfile(file, paths.answers(name))
    seal(paths.TEACHER / name)


def fine_tune(model: encoders.PreTrainedModel, params: Teacher, name: str, pad_token_id: int) -> None:
    """Fine-tune a model on the labels, and save it as data/teacher/NAME.

    Raises:
        InputError: no training question has an answer.
    """
    path = paths.features(name, "train")
    features = read_features(path)
    labelled = features.labelled
    if not labelled.any():
        raise InputError(
            "no training question has an answer to fine-tune the teacher on; set teacher.train.epochs to 0 if it is "
            "already fine-tuned"
        )
    windows = None if labelled.all() else np.flatnonzero(labelled)
    questions = question_ids(features, open_records(paths.DATASET / "train.parquet"))
    inference.check_windows(model, features, questions, pad_token_id)
    seed = params.models[name].seed
    config = model.config
    model = with_dropout(model, params.train.dropout, params.train.attention_dropout)
    settings = {"seed": seed, "train": params.train.model_dump(), **run_environment(model, params.train.precision)}
    key = run_key("teacher", settings, model, checksum(path))
    checkpoint = Checkpoint(paths.training_cache(), key)
    with checkpoint.held():
        Trainer(
            model,
            features,
            pad_token_id,
            params.train,
            seed,
            loss=lambda logits, batch: {"loss": span_cross_entropy(logits, batch.labels, batch.answer_mask).mean()},
            checkpoint=checkpoint,
            questions=questions,
            windows=windows,
        ).train()
        if processes().is_main_process:
            model.config = config
            model.save_pretrained(paths.empty_folder(paths.TEACHER / name))
            seal(paths.TEACHER / name)
            checkpoint.remove()


def initial_model(params: Teacher, name: str, vocab_size: int) -> encoders.PreTrainedModel:
    """Return the teacher before fine-tuning: new weights, or a loaded model."""
    teacher = params.models[name]
    assert teacher.model is not None
    if teacher.model == "new":
        return encoders.new_qa_model(params.config or {}, vocab_size, teacher.seed)
    return encoders.load_qa_model(
        teacher.model, teacher.revision, trained_output=params.train.epochs == 0, seed=teacher.seed
    )


if __name__ == "__main__":
    arguments = cli.stage_parser("teacher", __doc__)
    arguments.add_argument("name", metavar="NAME", help="a key of teacher.models in params.yaml")
    cli.run_stage(main, arguments)

"""One flipped bit in a file that a stage reads: the stage names it and how to rebuild it, or is not affected."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import paths
from pipeline.checksums import SUMS
from pipeline.errors import InputError
from pipeline.experiments.run import WORKSPACE, read_run
from pipeline.stages import backbone, evaluate, logits, shrink, teacher, tokenize, train
from tests.damage import flip_bit
from tests.test_dvc import STAGES
from tests.tiny import content, run_all
from tests.words import mentions, refused

PRODUCERS = {
    "dataset": "dataset",
    "tokenizer": "tokenize",
    "features": "tokenize",
    "teacher": "teacher@large",
    "logits": "logits",
    "backbone": "backbone",
    "encoder": "shrink",
    "student": "train",
}


def files(kind, stage):
    """{path: bytes} of the files in data/ that a stage of dvc.yaml has as `deps` or `outs`; without curves of times."""
    entries = [entry if isinstance(entry, str) else next(iter(entry)) for entry in STAGES[stage][kind]]
    folders = [Path(entry.replace("${key}", "large")) for entry in entries if entry.startswith("data/")]
    return content(*(folder for folder in folders if folder != paths.CURVES))


@pytest.mark.slow
@pytest.mark.parametrize("stage", [tokenize, teacher, logits, backbone, shrink, train, evaluate])
def test_one_flipped_bit_is_named_by_the_stage_that_reads_it(with_logits, stage):
    run_all(train, evaluate)
    name = stage.__name__.split(".")[-1]
    outputs = files("outs", name)
    named = 0
    for file in map(Path, files("deps", name)):
        intact = file.read_bytes()
        flip_bit(file)
        try:
            run_all(stage)
        except InputError as error:
            where = file.parent if file.name == SUMS else file
            mentions(str(error), where, f"`dvc repro {PRODUCERS[file.parts[1]]}`")
            assert "resumes" not in str(error)
            named += 1
        else:
            assert files("outs", name) == outputs, f"{file} changed the outputs"
        file.write_bytes(intact)
    assert named > 0


@pytest.mark.slow
def test_a_damaged_table_of_scores_is_named(with_logits):
    run_all(train, evaluate)
    assert len(read_run(WORKSPACE).scores) == 8
    flip_bit(paths.question_scores(paths.PREDICTIONS))
    with refused("questions.parquet", SUMS, "delete data/predictions", "`dvc repro evaluate`"):
        read_run(WORKSPACE)


@pytest.mark.slow
def test_the_command_in_the_error_rebuilds_the_file(repository):
    file = repository.folder / "data/features/student/train.safetensors"
    intact = file.read_bytes()
    repository("dvc", "status")  # DVC stores size and modification time
    flip_bit(file)
    command = [sys.executable, "-m", "pipeline.stages.train"]
    failed = subprocess.run(command, cwd=repository.folder, env=repository.environment, capture_output=True, text=True)
    assert failed.returncode == 1
    mentions(failed.stderr, "error: data/features/student/train.safetensors", "damaged")
    mentions(failed.stderr, "delete data/features/student,", "`dvc repro tokenize`")
    repository("dvc", "repro", "tokenize")
    assert file.read_bytes() != intact, "DVC sees the damage, and the deletion is not needed"
    shutil.rmtree(file.parent)
    repository("dvc", "repro", "tokenize")
    assert file.read_bytes() == intact

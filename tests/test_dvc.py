"""dvc.yaml is consistent with the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import params
from pipeline.imports import ROOT, code
from pipeline.stages import train

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
# a foreach stage has its definition under `do`
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE["stages"].items()}
# stages that can run with several processes
DISTRIBUTED = {"teacher", "logits", "train"}


def modules(dep):
    """The modules of a dep: the file itself, or all modules in a folder."""
    files = (ROOT / dep).glob("*.py") if (ROOT / dep).is_dir() else [ROOT / dep]
    return [str(path.relative_to(ROOT)) for path in files if path.name != "__init__.py"]


@pytest.mark.parametrize("stage", STAGES)
def test_the_deps_of_a_stage_are_its_imports(stage):
    listed = [file for dep in STAGES[stage]["deps"] if dep.startswith("pipeline/") for file in modules(dep)]
    assert len(listed) == len(set(listed))
    assert sorted(map(Path, listed)) == code(f"pipeline.stages.{stage}")


def test_a_stage_whose_output_holds_the_dep_of_another_is_not_restored_from_the_run_cache():
    """Else DVC fails to look up the dep in an experiment; tests/stages/test_queue.py runs one."""
    holders = {
        name
        for name, stage in STAGES.items()
        for output in stage["outs"]
        for other in STAGES.values()
        if any(dep.startswith(f"{_path(output)}/") for dep in other["deps"])
    }
    assert holders == {"sources", "tokenize"}
    for name in holders:
        assert any(isinstance(output, dict) and output[_path(output)]["persist"] for output in STAGES[name]["outs"])


def _path(output):
    return output if isinstance(output, str) else next(iter(output))


@pytest.mark.slow
def test_the_dataset_stage_does_not_import_torch():
    """torch and transformers take seconds to import."""
    code = "import sys, pipeline.stages.dataset; sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_no_stage_imports_pandas():
    """It takes half a second to import, and only comparisons of students use it."""
    for file in set().union(*(code(f"pipeline.stages.{stage}") for stage in STAGES)):
        assert not re.search(r"^\s*(import|from) pandas\b", (ROOT / file).read_text(encoding="utf-8"), re.M), file


def test_stages_and_modules_correspond():
    modules = {path.stem for path in (ROOT / "pipeline/stages").glob("*.py")} - {"__init__"}
    assert set(STAGES) == modules
    for name, stage in STAGES.items():
        started = "\\${LAUNCH:-python}" if name in DISTRIBUTED else "python"
        assert stage["cmd"] == f"{started} -m pipeline.stages.{name}" + " ${key}" * (name == "teacher")


def test_what_a_teacher_is_trained_with_is_known_to_the_stage_that_reads_it():
    """The logits depend on the folder of all teachers: hashes of single teachers say nothing of an interrupted run."""
    assert all(
        any(param.startswith(part) for part in STAGES["logits"]["params"]) for param in STAGES["teacher"]["params"]
    )


def test_a_change_of_heads_or_pruning_does_not_rerun_the_data_stages():
    for stage in ("dataset", "tokenize", "teacher", "logits", "backbone"):
        files = {file for dep in STAGES[stage]["deps"] if dep.startswith("pipeline/") for file in modules(dep)}
        assert not files & {"pipeline/models/heads.py", "pipeline/models/student.py", "pipeline/training/pruning.py"}


def test_every_stage_has_a_description():
    assert all(stage["desc"] for stage in STAGES.values())


def test_every_parameter_is_tracked_by_a_stage():
    tracked = {name.split(".")[0] for stage in STAGES.values() for name in stage["params"]}
    assert tracked == set(params.Params.model_fields)


def test_parameters_tracked_by_key_are_required():
    """DVC fails with its own message if a parameter that a stage tracks is missing."""
    tracked = {name for stage in STAGES.values() for name in stage["params"] if "." in name and "$" not in name}
    assert len(tracked) > 3
    for name in tracked:
        section, key = name.split(".")
        assert params.Params.model_fields[section].annotation.model_fields[key].is_required(), name


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_preset_has_every_tracked_parameter(preset):
    values = yaml.safe_load(preset.read_text())
    for stage in STAGES.values():
        for name in stage["params"]:
            value = values
            for key in name.replace("${key}", next(iter(values["teacher"]["models"]))).split("."):
                assert key in value, name
                value = value[key]


def test_every_curve_is_plotted_by_step():
    plotted = {
        (plot["x"], *source) for named in PIPELINE["plots"] for plot in named.values() for source in plot["y"].items()
    }
    files = {"train": train.TRAIN_CURVE, "validation": train.VALIDATION_CURVE}
    expected = {
        ("step", f"data/curves/{name}.tsv", column)
        for name, columns in files.items()
        for column in set(columns) - {"step", "minutes"}
    }
    assert plotted == expected


def test_a_size_of_the_encoder_reruns_the_stages_after_it_alone():
    stale = {name for name, stage in STAGES.items() if "shrink" in stage["params"]}
    for _ in STAGES:
        written = {_path(output) for name in stale for output in STAGES[name]["outs"]}
        stale |= {name for name, stage in STAGES.items() if written & set(stage["deps"])}
    assert stale == {"shrink", "train", "evaluate"}

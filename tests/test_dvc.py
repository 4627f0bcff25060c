"""dvc.yaml against the code."""

import ast
from pathlib import Path

import pytest
import yaml

from pipeline import params
from pipeline.stages import train

ROOT = Path(__file__).parents[1]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
# a stage that there is for each teacher stands under `do`
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE["stages"].items()}
# they hold no part of a result: DVC tracks the values of parameters and the outputs themselves
UNTRACKED = {f"pipeline/{name}.py" for name in ("cli", "errors", "params", "paths")}
# several processes may take part in these
SHARED_OUT = {"teacher", "logits", "train"}


def source(module):
    path = ROOT / (module.replace(".", "/") + ".py")
    return path if path.exists() else None


def imported(path):
    """The modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import, which this test does not follow"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.startswith("pipeline.") and source(name))


def closure(module):
    """The files that running a module imports, itself included."""
    found, to_do = set(), [module]
    while to_do:
        path = source(to_do.pop())
        if path not in found:
            found.add(path)
            to_do += imported(path)
    return {str(path.relative_to(ROOT)) for path in found}


def modules(dep):
    """The modules that a dep stands for: a file itself, a folder all in it."""
    files = (ROOT / dep).glob("*.py") if (ROOT / dep).is_dir() else [ROOT / dep]
    return [str(path.relative_to(ROOT)) for path in files if path.name != "__init__.py"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_deps_are_its_imports(stage):
    listed = [file for dep in STAGES[stage]["deps"] if dep.startswith("pipeline/") for file in modules(dep)]
    assert len(listed) == len(set(listed))
    assert set(listed) == closure(f"pipeline.stages.{stage}") - UNTRACKED


def test_every_stage_is_a_module_and_every_module_a_stage():
    modules = {path.stem for path in (ROOT / "pipeline/stages").glob("*.py")} - {"__init__"}
    assert set(STAGES) == modules
    for name, stage in STAGES.items():
        started = "\\${LAUNCH:-python}" if name in SHARED_OUT else "python"
        assert stage["cmd"] == f"{started} -m pipeline.stages.{name}" + " ${key}" * (name == "teacher")


def test_a_head_a_loss_or_a_comparison_does_not_reach_the_teacher():
    for stage in ("dataset", "tokenize", "teacher", "logits", "backbone"):
        files = {file for dep in STAGES[stage]["deps"] if dep.startswith("pipeline/") for file in modules(dep)}
        assert not files & {"pipeline/models/heads.py", "pipeline/models/student.py", "pipeline/training/pruning.py"}


def test_every_stage_says_what_it_does():
    assert all(stage["desc"] for stage in STAGES.values())


def test_every_parameter_is_tracked_by_a_stage():
    tracked = {name.split(".")[0] for stage in STAGES.values() for name in stage["params"]}
    assert tracked == set(params.Params.model_fields)


def test_what_is_tracked_by_its_own_name_cannot_be_left_out():
    """DVC refuses a stage whose parameter is missing, in its own words."""
    tracked = {name for stage in STAGES.values() for name in stage["params"] if "." in name and "$" not in name}
    assert len(tracked) > 3
    for name in tracked:
        section, key = name.split(".")
        assert params.Params.model_fields[section].annotation.model_fields[key].is_required(), name


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_preset_has_every_parameter_that_is_tracked_by_its_own_name(preset):
    values = yaml.safe_load(preset.read_text())
    for stage in STAGES.values():
        for name in stage["params"]:
            found = values
            for key in name.replace("${key}", next(iter(values["teacher"]["models"]))).split("."):
                assert key in found, name
                found = found[key]


def test_every_curve_is_drawn_by_step_and_by_minute():
    drawn = {
        (plot["x"], *source) for named in PIPELINE["plots"] for plot in named.values() for source in plot["y"].items()
    }
    files = {"train": train.TRAIN_CURVE, "validation": train.VALIDATION_CURVE}
    expected = {
        (x, f"data/curves/{name}.tsv", column)
        for name, columns in files.items()
        for column in set(columns) - {"step", "minutes"}
        for x in ("step", "minutes")
    }
    assert drawn == expected

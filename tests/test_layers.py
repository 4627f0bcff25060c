"""The layers of the package: which folder may import which. docs/design.md shows the same layers."""

from pathlib import Path

import pytest

from pipeline.imports import ROOT, imported

# from bottom to top; folders of one layer do not import each other
LAYERS = [
    {"base"},
    {"questions"},
    {"models", "scores"},
    {"logits", "training", "shrinking", "comparison", "answering", "onnx_export"},
    {"web"},
    {"report"},
    {"experiments"},
    {"stages", "commands"},
]
# paths of artifacts and command lines: for these folders, not for the library
TOP_ONLY = {"pipeline.paths", "pipeline.cli"}
TOP = {"experiments", "stages", "commands"}
FILES = sorted((ROOT / "pipeline").rglob("*.py"))


def folder(path: Path) -> str:
    """`questions` for pipeline/questions/squad.py, `base` for pipeline/files.py; `__main__` runs the commands."""
    inside = path.relative_to(ROOT / "pipeline").parts
    if inside == ("__main__.py",):
        return "commands"
    return inside[0] if len(inside) > 1 else "base"


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name in names)


def test_every_folder_is_in_a_layer():
    assert {folder(path) for path in FILES} == set().union(*LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_from_lower_layers(path):
    here = folder(path)
    for name in imported(path):
        there = folder(ROOT / (name.replace(".", "/") + ".py"))
        assert there == here or layer(there) < layer(here), f"{here} imports {name}"
        if here not in TOP | {"base"}:
            assert name not in TOP_ONLY, f"{path} imports {name}"


def test_no_stage_imports_another():
    for path in (ROOT / "pipeline/stages").glob("*.py"):
        assert not [name for name in imported(path) if name.startswith("pipeline.stages.")], path

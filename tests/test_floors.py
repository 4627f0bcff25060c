"""The floors of the package: which folder may import which. docs/design.md draws the same picture."""

from pathlib import Path

import pytest

from tests.test_dvc import ROOT, imported

# from the ground up; folders of one floor stand side by side and do not see each other
FLOORS = [
    {"ground"},
    {"questions"},
    {"models", "scores"},
    {"logits", "training"},
    {"stages", "commands"},
]
# modules that know where artifacts lie, or how a command starts, are not for the library
ONLY_ON_TOP = {"pipeline.paths", "pipeline.cli"}
FILES = sorted((ROOT / "pipeline").rglob("*.py"))


def folder(path: Path) -> str:
    """`questions` for pipeline/questions/squad.py, `ground` for pipeline/files.py."""
    inside = path.relative_to(ROOT / "pipeline").parts
    return inside[0] if len(inside) > 1 else "ground"


def floor(name: str) -> int:
    return next(i for i, names in enumerate(FLOORS) if name in names)


def test_every_folder_has_a_floor():
    assert {folder(path) for path in FILES} == set().union(*FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    here = folder(path)
    for name in imported(path):
        there = folder(ROOT / (name.replace(".", "/") + ".py"))
        assert there == here or floor(there) < floor(here), f"{here} imports {name}"
        if floor(here) < len(FLOORS) - 1 and here != "ground":
            assert name not in ONLY_ON_TOP, f"{path} imports {name}"


def test_no_stage_imports_another():
    for path in (ROOT / "pipeline/stages").glob("*.py"):
        assert not [name for name in imported(path) if name.startswith("pipeline.stages.")], path
